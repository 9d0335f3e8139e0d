"""Streams: the same as at once, however the sound comes in; as late as they say; saved and taken up again."""

import json
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

import unmingle
from unmingle.audio.levels import LOUDEST
from unmingle.checkpoint import save_checkpoint
from unmingle.errors import CheckpointError, ConfigError, SampleRateError, ShapeError, SignalError
from unmingle.inference.handle import Model
from unmingle.inference.stream import Stream
from unmingle.layers.state import named_tensors
from unmingle.models import build_model
from unmingle.presets import TDANetConfig, TFACMConfig

CONFIG = TFACMConfig(
    window=64, hop=32, channels=8, n_blocks=2, kernel=4, query_width=33, segment_size=6, attn_context=9, dropout=0.0
)
RATES = [8_000, 16_000, 11_025]


def handle(config=CONFIG):
    torch.manual_seed(0)
    return Model.from_network(build_model(config), name="tiny")


@pytest.fixture(scope="module")
def model():
    return handle()


def sound(seconds=0.15, rate=8_000, seed=0):
    return np.random.default_rng(seed).normal(size=round(seconds * rate)).astype(np.float32)


def streamed(stream, samples, cuts=()):
    parts = [stream.push(block) for block in np.split(samples, list(cuts))]
    return np.concatenate([*parts, stream.flush()], axis=1)


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(0, 1200), max_size=12).map(sorted), hops=st.sampled_from([1, 2, 5]))
def test_blocks_of_any_size_give_what_the_network_gives_at_once(model, cuts, hops):
    samples = sound()
    expected = model.run(samples[np.newaxis])[0]
    out = streamed(Stream(model, sample_rate=8_000, hops=hops), samples, cuts)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 1600), max_size=8).map(sorted), rate=st.sampled_from(RATES[1:]))
def test_at_another_rate_the_blocks_do_not_show_either(model, cuts, rate):
    samples = sound(0.1, rate)
    stream = Stream(model, sample_rate=rate)
    at_once = streamed(stream, samples)
    assert at_once.shape == (2, samples.size)
    stream.reset()
    np.testing.assert_allclose(streamed(stream, samples, cuts), at_once, rtol=0, atol=1e-5)


def test_another_rate_changes_the_rate_and_nothing_else(model):
    from unmingle.audio.resample import resample

    voice = resample(sound(0.5, 5_000)[np.newaxis], from_rate=5_000, to_rate=16_000)[0]
    narrow = resample(voice[np.newaxis], from_rate=16_000, to_rate=8_000)
    expected = resample(model.run(narrow)[0], from_rate=8_000, to_rate=16_000)
    out = streamed(Stream(model, sample_rate=16_000), voice)
    error, signal = (np.abs(np.fft.rfft(part[:, 1_000:-1_000])) for part in (out - expected, expected))
    flat = round(signal.shape[1] * 3_000 / 8_000)  # above, the two ways of changing rates fall off differently
    assert np.linalg.norm(error[:, :flat]) < 0.02 * np.linalg.norm(signal[:, :flat])


@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.parametrize("rate", RATES)
def test_an_estimate_is_out_when_the_latency_says(model, rate, hops):
    stream = Stream(model, sample_rate=rate, hops=hops)
    lags = []
    for sample in sound(0.06, rate):
        stream.push(sample[np.newaxis])
        lags.append((stream.state.taken - stream.state.given) / rate)
    grid = 1 / 8_000 + 1 / rate
    assert max(lags) <= stream.latency_seconds + 1e-9
    assert max(lags) >= stream.latency_seconds - 3 * grid


def test_the_latency_is_the_window_and_the_step(model):
    assert Stream(model, sample_rate=8_000).latency_seconds == pytest.approx(64 / 8_000)
    assert Stream(model, sample_rate=8_000, hops=3).latency_seconds == pytest.approx((64 + 2 * 32) / 8_000)
    assert model.latency_seconds == pytest.approx(64 / 8_000)
    assert Stream(model, sample_rate=48_000).latency_seconds == pytest.approx(64 / 8_000 + 0.006, abs=2e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025])
@pytest.mark.parametrize("length", [0, 1, 5, 33, 70])
def test_as_many_samples_come_back_as_went_in_however_few(model, length, rate):
    stream = Stream(model, sample_rate=rate)
    samples = sound()[:length]
    first = stream.push(samples)
    out = np.concatenate([first, stream.flush()], axis=1)
    assert out.shape == (2, length)
    assert np.isfinite(out).all()
    if length and rate == 8_000:
        np.testing.assert_allclose(out, model.run(samples[np.newaxis])[0], rtol=0, atol=1e-5)


def test_streams_in_several_threads_share_a_network_and_nothing_else(model):
    samples = [sound(0.2, seed=seed) for seed in range(4)]
    results = {}

    def work(number):
        stream = Stream(model, sample_rate=8_000)
        results[number] = streamed(stream, samples[number], range(0, 1_600, 237))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_allclose(results[number], model.run(samples[number][np.newaxis])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("cut", [1, 333, 777])
def test_a_stream_is_saved_in_mid_word_and_taken_up_by_another(model, rate, cut):
    samples = sound(rate=rate)
    whole = streamed(Stream(model, sample_rate=rate), samples, [cut])
    first, second = Stream(model, sample_rate=rate), Stream(model, sample_rate=rate)
    before = first.push(samples[:cut])
    data = first.save()
    assert isinstance(data, bytes)
    second.restore(data)
    after = np.concatenate([second.push(samples[cut:]), second.flush()], axis=1)
    np.testing.assert_allclose(np.concatenate([before, after], axis=1), whole, rtol=0, atol=1e-6)


def test_saved_bytes_of_another_stream_or_damaged_ones_are_refused(model):
    stream = Stream(model, sample_rate=8_000)
    stream.push(sound())
    data, before = stream.save(), stream.state
    for other in (
        Stream(model, sample_rate=16_000),
        Stream(handle(TFACMConfig(**{**vars(CONFIG), "hop": 16})), sample_rate=8_000),
    ):
        with pytest.raises(CheckpointError, match="another model or rate"):
            other.restore(data)
    for damaged in (b"", b"text", data[:200], data[:-10], b"\0" * 100):
        with pytest.raises(CheckpointError, match="saved stream"):
            stream.restore(damaged)
    tensors, metadata = load(data), header(data)
    for change in ({"about": "text"}, {"counters": "{}"}, {"counters": "[1]"}, {"counters": '{"arriving": 3}'}):
        with pytest.raises(CheckpointError, match="saved stream is damaged"):
            stream.restore(save(tensors, metadata=metadata | change))
    assert stream.state is before


def header(data):
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def test_what_cannot_be_taken_is_refused_and_the_stream_goes_on(model):
    stream, samples = Stream(model, sample_rate=8_000), sound()
    first = stream.push(samples[:500])
    poisoned = samples[500:600].copy()
    for value in (np.nan, np.inf, 1e20):
        poisoned[7] = value
        with pytest.raises(SignalError, match="1 of the 100 samples"):
            stream.push(poisoned)
    with pytest.raises(SignalError, match="1 of the 1 samples"):
        stream.push(np.array([1e308]))
    for wrong in (samples.reshape(2, -1), (samples * 32_767).astype(np.int16)):
        with pytest.raises(ShapeError, match=r"\(time,\)"):
            stream.push(wrong)
    out = np.concatenate([first, stream.push(samples[500:]), stream.flush()], axis=1)
    np.testing.assert_allclose(out, model.run(samples[np.newaxis])[0], rtol=0, atol=1e-5)


def test_an_ended_stream_says_so_until_it_begins_anew(model):
    stream = Stream(model, sample_rate=8_000)
    once = streamed(stream, sound())
    for late in (stream.flush, stream.save, lambda: stream.push(sound())):
        with pytest.raises(SignalError, match="reset"):
            late()
    stream.reset()
    np.testing.assert_allclose(streamed(stream, sound(), [100]), once, rtol=0, atol=1e-6)


def test_a_tensor_in_gives_a_tensor(model):
    out = Stream(model, sample_rate=8_000).push(torch.from_numpy(sound()))
    assert isinstance(out, torch.Tensor)
    assert out.dtype == torch.float32


def test_the_end_is_of_the_kind_that_was_pushed(model):
    stream = Stream(model, sample_rate=8_000)
    assert isinstance(stream.flush(), np.ndarray)
    stream.reset()
    assert isinstance(torch.cat([stream.push(torch.zeros(500)), stream.flush()], dim=1), torch.Tensor)


def test_a_model_that_does_not_stream_is_refused():
    offline = TDANetConfig(sample_rate=8000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
    published = TFACMConfig(**{**vars(CONFIG), "form": "published", "attn_context": None})
    for config in (offline, published):
        with pytest.raises(ConfigError, match="does not stream"):
            Stream(handle(config), sample_rate=8_000)
        assert handle(config).latency_seconds is None


def test_absurd_settings_are_refused(model):
    with pytest.raises(SampleRateError, match="the stream is at 100 Hz"):
        Stream(model, sample_rate=100)
    for hops in (0, 1.5):
        with pytest.raises(ConfigError, match=f"hops is {hops}"):
            Stream(model, sample_rate=8_000, hops=hops)
    for rate in (8000.5, "8000"):
        with pytest.raises(SampleRateError, match="whole number"):
            Stream(model, sample_rate=rate)
    assert Stream(model, sample_rate=8000.0).sample_rate == 8_000


def test_the_loudest_that_is_taken_does_not_stay_in_the_stream(model):
    stream = Stream(model, sample_rate=8_000)
    stream.push(np.full(500, LOUDEST, np.float32))
    assert np.isfinite(stream.push(sound())).all()


def test_a_model_may_be_named(tmp_path, model):
    save_checkpoint(tmp_path / "live.safetensors", model.network, name="live")
    assert Stream(tmp_path / "live.safetensors", sample_rate=8_000).n_src == model.n_src


def held(stream):
    """Bytes that a stream remembers."""
    state = stream.state
    arrays = (state.arriving.past, state.waiting, state.leaving.past)
    return sum(tensor.nbytes for _, tensor in named_tensors(state.network)) + sum(array.nbytes for array in arrays)


@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_what_a_stream_remembers_does_not_grow(model, rate):
    stream = Stream(model, sample_rate=rate)
    sizes = set()
    for seed in range(12):
        stream.push(sound(0.08, rate, seed))
        sizes.add(held(stream) - stream.state.waiting.nbytes)
    assert len(sizes) == 1


@pytest.mark.slow
def test_ten_minutes_take_no_more_memory_than_ten_seconds():
    from pathlib import Path

    def resident():
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    stream = Stream(handle(TFACMConfig(**{**vars(CONFIG), "window": 128, "segment_size": 50})), sample_rate=16_000)
    marks = []
    for second in range(600):
        stream.push(sound(1.0, 16_000, second))
        if second in (60, 599):
            marks.append(resident())
    assert marks[1] - marks[0] < 20e6


def test_the_front_door_has_it():
    assert unmingle.Stream is Stream
