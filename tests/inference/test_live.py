import signal

import numpy as np
import pytest
import torch

from unmingle.errors import DeviceError, OutputError
from unmingle.inference.handle import Model
from unmingle.inference.live import fitting, pace, run_live
from unmingle.inference.stream import Stream
from unmingle.models import build_model
from unmingle.presets import TFACMConfig

CONFIG = TFACMConfig(
    window=64, hop=32, channels=8, n_blocks=1, kernel=4, query_width=33, segment_size=6, attn_context=9
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model.from_network(build_model(CONFIG), name="tiny")


class Watch:
    """A clock that only passes when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def blocks(n=10, size=80, channels=1):
    random = np.random.default_rng(0)
    return [random.normal(size=(channels, size)).astype(np.float32) for _ in range(n)]


def test_all_that_comes_in_comes_out(model):
    out = []
    stream = Stream(model, sample_rate=8_000)
    report = run_live(stream, blocks(channels=2), out.append, timed=False)
    mono = np.concatenate(blocks(channels=2), axis=1).mean(axis=0)
    np.testing.assert_allclose(np.concatenate(out, axis=1), model.run(mono[np.newaxis])[0], rtol=0, atol=1e-5)
    assert report.samples == 800
    assert report.seconds == 0.1
    assert report.busy_seconds >= 0
    assert not report.lag_seconds


def test_a_file_is_played_at_the_speed_of_sound():
    watch = Watch()
    times = [watch.now for _ in pace(blocks(3), 8_000, clock=watch, sleep=watch.sleep)]
    assert times == pytest.approx([100.01, 100.02, 100.03])


def test_one_who_is_late_is_not_made_to_wait():
    watch = Watch()
    times = []
    for _ in pace(blocks(4), 8_000, clock=watch, sleep=watch.sleep):
        times.append(watch.now)
        watch.now += 0.015 if len(times) == 1 else 0.001
    assert times == pytest.approx([100.01, 100.025, 100.03, 100.04])


def test_the_measured_latency_is_the_algorithmic_one_and_what_computing_takes(model):
    watch = Watch()
    stream = Stream(model, sample_rate=8_000)
    push = stream.push

    def slow(samples):
        watch.now += 0.002
        return push(samples)

    stream.push = slow
    report = run_live(
        stream,
        pace(blocks(40, size=32), 8_000, clock=watch, sleep=watch.sleep),
        lambda _: None,
        timed=True,
        clock=watch,
    )
    # A block of one hop: its last sample has just come in, so the hop itself is not waited for again.
    expected = stream.latency_seconds - 32 / 8_000 + 0.002
    assert np.median(report.lag_seconds) == pytest.approx(expected)
    assert np.median(report.block_seconds) == pytest.approx(0.002)
    assert report.real_time_factor == pytest.approx(0.5)


def test_samples_that_are_no_numbers_are_silence_and_counted(model):
    spoiled = blocks()
    spoiled[3][0, 5:8] = [np.nan, np.inf, -np.inf]
    out = []
    report = run_live(Stream(model, sample_rate=8_000), spoiled, out.append, timed=False)
    assert report.replaced == 3
    assert np.isfinite(np.concatenate(out, axis=1)).all()


def test_ctrl_c_ends_the_sound_and_keeps_what_came(model):
    def interrupted():
        yield from blocks(5)
        raise KeyboardInterrupt

    out = []
    report = run_live(Stream(model, sample_rate=8_000), interrupted(), out.append, timed=False)
    assert report.interrupted
    assert np.concatenate(out, axis=1).shape == (2, 400)


@pytest.fixture
def interruptible():
    """Ctrl-C as a terminal has it; a job in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_within_the_work_waits_until_every_track_has_its_block(model):
    tracks = [[], []]

    def sink(out):
        for number, track in enumerate(tracks):
            track.append(out[number])
            if number == 0 and len(track) == 4:
                signal.raise_signal(signal.SIGINT)

    stream = Stream(model, sample_rate=8_000)
    report = run_live(stream, blocks(), sink, timed=False)
    assert report.interrupted
    assert report.samples == 320
    mono = np.concatenate(blocks(4), axis=1)
    wanted = model.run(mono)[0]
    np.testing.assert_allclose([np.concatenate(track) for track in tracks], wanted, rtol=0, atol=1e-5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_does_not_wait(model):
    def sink(_):
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_live(Stream(model, sample_rate=8_000), blocks(), sink, timed=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_source_that_fails_ends_the_sound_and_keeps_what_came(model):
    def unplugged():
        yield from blocks(5)
        raise DeviceError("the microphone is gone")

    out = []
    report = run_live(Stream(model, sample_rate=8_000), unplugged(), out.append, timed=False)
    assert isinstance(report.failure, DeviceError)
    assert np.concatenate(out, axis=1).shape == (2, 400)


def test_a_source_that_fails_at_once_is_an_error(model):
    def unplugged():
        raise DeviceError("the microphone is gone")
        yield

    with pytest.raises(DeviceError):
        run_live(Stream(model, sample_rate=8_000), unplugged(), lambda _: None, timed=False)


def test_an_error_of_the_sink_is_not_the_end_of_the_sound(model):
    def full(_):
        raise OutputError("no space")

    with pytest.raises(OutputError, match="no space"):
        run_live(Stream(model, sample_rate=8_000), blocks(), full, timed=False)


def test_sound_without_end_is_cut_before_a_wav_file_is_full():
    heard = fitting(blocks(4), 8_000, longest=240)
    assert sum(next(heard).shape[1] for _ in range(3)) == 240
    with pytest.raises(OutputError, match="another recording"):
        next(heard)
