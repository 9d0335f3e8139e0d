import numpy as np
import pytest

from unmingle.audio.levels import FLOOR_DBFS, gain_from_db, peak, power_dbfs, rms_dbfs


def test_a_full_scale_square_is_0_dbfs_and_a_sine_3_less():
    time = np.arange(16_000) / 16_000
    assert rms_dbfs(np.sign(np.sin(2 * np.pi * 100 * (time + 1e-6))).astype(np.float32)) == pytest.approx(0, abs=1e-6)
    assert rms_dbfs(np.sin(2 * np.pi * 100 * time).astype(np.float32)) == pytest.approx(-3.01, abs=0.01)


def test_silence_and_nothing_are_at_the_floor():
    assert rms_dbfs(np.zeros(10, np.float32)) == rms_dbfs(np.zeros(0, np.float32)) == power_dbfs(0.0) == FLOOR_DBFS


def test_twenty_decibels_are_a_factor_of_ten():
    assert gain_from_db(20.0) == pytest.approx(10.0)


def test_the_peak_of_nothing_is_zero():
    assert peak(np.zeros((1, 0), np.float32)) == 0.0
    assert peak(np.array([[0.1, -0.7]], np.float32)) == pytest.approx(0.7)
