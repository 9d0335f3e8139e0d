import numpy as np
import pytest

from unmingle.audio.levels import FLOOR_DBFS, gain_from_db, peak, power_dbfs


def test_a_full_scale_square_is_0_dbfs_and_a_sine_3_less():
    assert power_dbfs(1.0) == 0
    assert power_dbfs(0.5) == pytest.approx(-3.01, abs=0.01)


def test_silence_is_at_the_floor():
    assert power_dbfs(0.0) == power_dbfs(1e-20) == FLOOR_DBFS


def test_twenty_decibels_are_a_factor_of_ten():
    assert gain_from_db(20.0) == pytest.approx(10.0)


def test_the_peak_of_nothing_is_zero():
    assert peak(np.zeros((1, 0), np.float32)) == 0.0
    assert peak(np.array([[0.1, -0.7]], np.float32)) == pytest.approx(0.7)
