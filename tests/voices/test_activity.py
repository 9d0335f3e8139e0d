from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from unmingle.audio.io import read_audio
from unmingle.voices import activity
from unmingle.voices.activity import TICK_SECONDS, SpeechFinder

RATE = 16_000
READER = Path(__file__).parents[2] / "examples" / "two-voices" / "reference_1.flac"


def find(samples: np.ndarray, *, cuts: tuple[int, ...] = ()) -> np.ndarray:
    finder = SpeechFinder(RATE)
    for piece in np.split(samples, cuts):
        finder.push(piece)
    finder.push(samples[:0], last=True)
    return finder.found()


@pytest.fixture(params=["silero-vad", "loudness"])
def method(request, monkeypatch):
    if request.param == "loudness":
        monkeypatch.setattr(activity, "_silero", lambda: None)
    elif find_spec("silero_vad") is None:
        pytest.skip("the extra `voices` is not installed")
    assert SpeechFinder(RATE).method == request.param


@pytest.mark.usefixtures("method")
def test_speech_is_told_from_the_pause_after_it():
    voice = read_audio(READER).samples[0][RATE : 4 * RATE]
    rng = np.random.default_rng(0)
    samples = np.concatenate([voice, np.zeros(2 * RATE)]) + 1e-4 * rng.standard_normal(5 * RATE)
    samples = samples.astype(np.float32)
    speech = find(samples)
    assert len(speech) == pytest.approx(5 / TICK_SECONDS, abs=1)
    assert speech[:30].mean() > 0.8
    assert speech[34:].mean() < 0.1
    np.testing.assert_array_equal(find(samples, cuts=(100, 7000, 33_333)), speech)


@pytest.mark.skipif(find_spec("silero_vad") is None, reason="the extra `voices` is not installed")
def test_faint_speech_is_heard_when_its_level_is_known():
    voice = 1e-4 * read_audio(READER).samples[0][RATE : 3 * RATE]
    finder = SpeechFinder(RATE, loud_power=float(np.percentile(np.square(voice), 90)))
    finder.push(voice)
    finder.push(voice[:0], last=True)
    assert finder.found().mean() > 0.7


def test_speech_goes_on_while_it_may_be_speech_and_begins_nowhere_else(monkeypatch):
    probable = [0.05] * 20 + [0.2] * 20 + [0.7] * 10 + [0.2] * 20 + [0.05] * 30 + [0.3] * 30 + [0.05] * 30
    scores = iter(probable)
    monkeypatch.setattr(activity, "_silero", lambda: lambda *_: next(scores))
    speech = find(np.zeros(512 * len(probable), np.float32))
    edges = (np.flatnonzero(np.diff(speech.astype(int))) + 1) * TICK_SECONDS
    assert edges == pytest.approx([20 * 0.032, 70 * 0.032], abs=2 * TICK_SECONDS)


@pytest.mark.usefixtures("method")
def test_silence_and_nothing_are_no_speech():
    assert not find(np.zeros(RATE, np.float32)).any()
    assert len(find(np.zeros(0, np.float32))) == 0
