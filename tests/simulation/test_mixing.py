"""Levels, lengths and ratios."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmingle.simulation.mixing import (
    at_level,
    balanced_levels,
    fit_lengths,
    interpolate,
    level_db,
    noise_at_snr,
    on_int16_grid,
    ratio_db,
    recolour,
    repeat_to,
    rms,
)

RNG = np.random.default_rng(0)


@given(snr_db=st.floats(-30, 60), loudness=st.floats(1e-3, 10), seed=st.integers(0, 99))
def test_the_measured_ratio_is_the_one_asked_for(snr_db: float, loudness: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    speech = loudness * rng.normal(size=500)
    noise = noise_at_snr(speech, rng.normal(size=500), snr_db)
    assert 10 * np.log10((speech**2).sum() / (noise**2).sum()) == pytest.approx(snr_db, abs=1e-6)


def test_a_sine_of_amplitude_one_has_minus_three_decibels() -> None:
    assert level_db(np.sin(2 * np.pi * np.arange(1000) / 100)) == pytest.approx(-3.0103, abs=1e-4)


def test_silence_has_no_level_and_is_not_amplified() -> None:
    silence = np.zeros(10)
    assert level_db(silence) == -np.inf
    assert rms(at_level(silence, 0)) == 0
    assert rms(noise_at_snr(np.ones(10), silence, 10)) == 0
    assert rms(noise_at_snr(silence, np.ones(10), 10)) == 0


def test_levels_differ_as_asked_and_average_zero() -> None:
    assert balanced_levels([3.0]) == [1.5, -1.5]
    levels = balanced_levels([3.0, -6.0])
    assert sum(levels) == pytest.approx(0)
    assert [levels[0] - level for level in levels[1:]] == pytest.approx([3.0, -6.0])


def test_min_cuts_to_the_shortest() -> None:
    fitted = fit_lengths([np.arange(1, 6.0), np.arange(1, 4.0)], "min")
    np.testing.assert_array_equal(fitted, [[1, 2, 3], [1, 2, 3]])


def test_max_appends_silence_up_to_the_longest() -> None:
    fitted = fit_lengths([np.arange(1, 6.0), np.arange(1, 4.0)], "max")
    np.testing.assert_array_equal(fitted, [[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]])


def test_short_noise_is_repeated() -> None:
    np.testing.assert_array_equal(repeat_to(np.array([1.0, 2.0]), 5), [1, 2, 1, 2, 1])
    np.testing.assert_array_equal(repeat_to(np.zeros(0), 3), [0, 0, 0])


def test_sums_on_the_grid_are_exact() -> None:
    parts = 0.2 * RNG.uniform(-1, 1, size=(3, 1000))
    on_grid = on_int16_grid(parts)
    assert (on_grid.sum(0) == on_int16_grid(on_grid.sum(0) / 32768)).all()


def test_speed_moves_the_pitch() -> None:
    tone = np.sin(2 * np.pi * 100 * np.arange(9000) / 8000)
    faster = interpolate(tone, speed=1.05, length=8000)
    assert np.argmax(np.abs(np.fft.rfft(faster))) == 105
    np.testing.assert_allclose(interpolate(tone, speed=1.0, length=8000), tone[:8000], atol=1e-6)


def test_the_ratio_of_a_signal_to_itself_is_zero() -> None:
    assert ratio_db(np.ones(4), -np.ones(4)) == 0


def tone(hertz: float, phase: float = 0.0, rate: int = 16_000) -> np.ndarray:
    return np.cos(2 * np.pi * hertz * np.arange(rate) / rate + phase).astype(np.float32)


@pytest.mark.parametrize("hertz", [100, 1000, 5000])
def test_a_phase_turns_every_tone_alike_and_leaves_its_level(hertz: float) -> None:
    turned = recolour(tone(hertz), phase=0.7, octaves_db=[], sample_rate=16_000)
    np.testing.assert_allclose(turned, tone(hertz, 0.7), atol=1e-4)
    assert turned.dtype == np.float32


def test_octaves_are_raised_and_lowered_each_by_its_gain() -> None:
    octaves = [1.0, -3.0, 6.0, 2.0]  # at 8, 4, 2 and 1 kHz
    for hertz, decibels in {4000: -3.0, 2000: 6.0, 1000: 2.0, 100: 2.0, 2000 * 2**0.5: 1.5}.items():
        raised = recolour(tone(round(hertz)), phase=0.0, octaves_db=octaves, sample_rate=16_000)
        assert level_db(raised) - level_db(tone(round(hertz))) == pytest.approx(decibels, abs=0.01)
