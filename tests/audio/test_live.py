import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmingle.audio.live import LiveResampler, _table
from unmingle.audio.resample import resample

RATES = [(48_000, 8_000), (8_000, 48_000), (44_100, 16_000), (16_000, 11_025), (8_000, 8_000)]
ODD = [(96_001, 8_000), (8_000, 383_999), (44_101, 16_000), (16_000, 4_001)]


def whole(samples, from_rate, to_rate, cuts=()):
    live = LiveResampler(from_rate, to_rate)
    state, parts = live.init_state(samples.shape[0]), []
    for block in np.split(samples, list(cuts), axis=1):
        part, state = live.step(block, state)
        parts.append(part)
    return np.concatenate([*parts, live.finish(state)], axis=1)


def tone(frequency, rate, seconds=0.2):
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate).astype(np.float32)[np.newaxis]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES + ODD)
def test_a_tone_stays_the_tone_that_it_is(from_rate, to_rate):
    frequency = 0.4 * min(from_rate, to_rate)
    samples = tone(frequency, from_rate)
    out = whole(samples, from_rate, to_rate)
    n = -(-samples.shape[1] * to_rate // from_rate)  # all at times before the end of the input
    assert out.shape == (1, n)
    expected = tone(frequency, to_rate, seconds=n / to_rate)
    middle = slice(out.shape[1] // 4, -out.shape[1] // 4)
    assert np.abs(out - expected)[:, middle].max() < 2e-3


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48_000, 8_000), (8_000, 48_000)])
def test_what_the_lower_rate_cannot_hold_is_gone(from_rate, to_rate):
    if from_rate > to_rate:
        out = whole(tone(4_800, from_rate), from_rate, to_rate)
        assert np.abs(out[:, 200:-200]).max() < 2e-3
    else:  # no images above the old half rate
        out = whole(tone(3_000, from_rate), from_rate, to_rate)[0]
        spectrum = np.abs(np.fft.rfft(out * np.hanning(out.size)))
        frequencies = np.fft.rfftfreq(out.size, 1 / to_rate)
        assert spectrum[frequencies > 4_600].max() < 2e-3 * spectrum.max()


def test_it_agrees_with_soxr_on_speech_like_noise():
    random = np.random.default_rng(0)
    smooth = resample(random.normal(size=(1, 4_000)).astype(np.float32), from_rate=4_000, to_rate=48_000)
    out, expected = whole(smooth, 48_000, 8_000), resample(smooth, from_rate=48_000, to_rate=8_000)
    error = (out - expected)[:, 300:-300]
    assert np.sqrt(np.mean(error**2)) < 5e-3 * np.sqrt(np.mean(expected**2))


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 700), max_size=8).map(sorted), rates=st.sampled_from(RATES + ODD))
def test_blocks_do_not_show(cuts, rates):
    samples = np.random.default_rng(0).normal(size=(2, 700)).astype(np.float32)
    np.testing.assert_allclose(whole(samples, *rates, cuts), whole(samples, *rates), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES + ODD)
def test_no_sample_comes_later_than_the_delay_says(from_rate, to_rate):
    live = LiveResampler(from_rate, to_rate)
    state = live.init_state(1)
    lags = []
    for _ in range(600):
        _, state = live.step(np.zeros((1, 1), np.float32), state)
        lags.append(state.taken / from_rate - state.given / to_rate)
    assert max(lags) <= live.delay_seconds + 1e-9
    assert max(lags) >= live.delay_seconds - 1 / from_rate - 1 / to_rate
    assert live.delay_seconds <= 24 / min(from_rate, to_rate) + 1 / from_rate


def test_a_state_is_a_value():
    live = LiveResampler(48_000, 8_000)
    _, state = live.step(np.ones((1, 500), np.float32), live.init_state(1))
    once, _ = live.step(np.ones((1, 300), np.float32), state)
    again, _ = live.step(np.ones((1, 300), np.float32), state)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, 1.0, atol=1e-6)


@pytest.mark.parametrize(("from_rate", "to_rate"), ODD)
def test_odd_rates_lose_nothing_by_a_small_table(from_rate, to_rate, monkeypatch):
    noise = np.random.default_rng(0).uniform(-1, 1, size=(1, from_rate // 20)).astype(np.float32)
    out = whole(noise, from_rate, to_rate)
    monkeypatch.setattr("unmingle.audio.live._FINENESS", 8192)
    _table.cache_clear()
    finer = whole(noise, from_rate, to_rate)
    _table.cache_clear()
    assert np.sqrt(np.mean((out - finer) ** 2)) < 1e-5 * np.sqrt(np.mean(finer**2))


@pytest.mark.parametrize(("from_rate", "to_rate"), [*ODD, (383_999, 8_000), (16_000, 383_999)])
def test_tables_are_small_whatever_the_rates_and_shared(from_rate, to_rate):
    _table.cache_clear()
    tracemalloc.start()
    try:
        first = LiveResampler(from_rate, to_rate)
        kept, peak = tracemalloc.get_traced_memory()
        again = LiveResampler(from_rate, to_rate)
    finally:
        tracemalloc.stop()
    assert kept < 400_000
    assert peak < 8_000_000
    assert first._table is again._table


@pytest.mark.parametrize("model_rate", [8_000, 16_000])
@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000])
def test_usual_rates_have_taps_for_every_position(rate, model_rate):
    for pair in [(rate, model_rate), (model_rate, rate)]:
        live = LiveResampler(*pair)
        if rate != model_rate:
            assert live._table.shape[0] == live._ratio.denominator + 1
