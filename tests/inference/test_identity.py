"""Following voices through tracks that an ideal network gives in any order: real readers, cut and set into turns."""

from pathlib import Path

import numpy as np
import pytest

from unmingle.audio.io import read_audio
from unmingle.errors import ConfigError, SignalError
from unmingle.inference.engine import Heard
from unmingle.inference.identity import identify, possible_names
from unmingle.inference.report import SeparationOptions
from unmingle.inference.store import TrackStore
from unmingle.voices import activity
from unmingle.voices.encoder import average, embed
from unmingle.voices.enrolment import Enrolled

RATE = 16_000
EXAMPLES = Path(__file__).parents[2] / "examples" / "two-voices"
AUTO = SeparationOptions(n_speakers="auto")


@pytest.fixture(scope="module")
def readers() -> np.ndarray:
    """(2, 8 s) a woman and a man, both speaking all the time."""
    first, second = (read_audio(EXAMPLES / f"reference_{number}.flac").samples[0] for number in (1, 2))
    return np.stack([first[RATE : 9 * RATE], second[4 * RATE : 12 * RATE]])


@pytest.fixture(autouse=True)
def by_loudness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers whether silero-vad is installed or not, and faster ones."""
    monkeypatch.setattr(activity, "_silero", lambda: None)


def turns(readers: np.ndarray, *spans: tuple[int, float, float, float], seconds: float) -> np.ndarray:
    """(2, time): voice, from second `start`, as heard there, at second `at`, so long."""
    sources = np.zeros((2, round(seconds * RATE)), np.float32)
    for voice, start, at, length in spans:
        piece = readers[voice, round(start * RATE) : round((start + length) * RATE)]
        sources[voice, round(at * RATE) : round(at * RATE) + len(piece)] = piece
    return sources


def heard(tracks: np.ndarray, *, leak: float = 0.05) -> Heard:
    store = TrackStore(len(tracks))
    store.append((tracks + leak * tracks[::-1]).astype(np.float32))
    return Heard(store, RATE, [None] * len(tracks))


@pytest.fixture(scope="module")
def conversation(readers: np.ndarray) -> np.ndarray:
    """Turns, a pause of 10 s, turns; both at once from 20 to 22 s."""
    spans = [(0, 0, 0.5, 4), (1, 0, 5, 4), (0, 4, 19, 3), (1, 4, 20, 4)]
    return turns(readers, *spans, seconds=24.5)


def energies(routed: np.ndarray, start: float, stop: float) -> np.ndarray:
    return np.square(routed[:, round(start * RATE) : round(stop * RATE)]).sum(axis=1)


def test_a_voice_comes_back_to_its_track_after_a_pause(conversation):
    tracks = conversation.copy()
    tracks[:, 12 * RATE :] = tracks[::-1, 12 * RATE :]  # the network forgot the order in the pause
    plan = identify(heard(tracks), AUTO)
    assert (plan.counted, plan.names) == (2, ["spk1", "spk2"])
    routed = plan.routing(tracks, start=0)
    np.testing.assert_allclose(routed.sum(axis=0), tracks.sum(axis=0), atol=1e-5)
    error = np.square(routed - conversation).sum() / np.square(conversation).sum()
    assert error < 0.1
    assert max(turn.end for turn in plan.turns) == pytest.approx(24, abs=0.7)
    assert min(turn.confidence for turn in plan.turns) > 0.5


def test_a_swap_within_speech_is_undone_where_the_number_is_given(conversation):
    tracks = conversation.copy()
    tracks[:, 12 * RATE :] = tracks[::-1, 12 * RATE :]
    plan = identify(heard(tracks), SeparationOptions())
    assert plan.followed
    assert np.square(plan.routing(tracks, start=0) - conversation).sum() < 0.1 * np.square(conversation).sum()


def test_one_voice_gets_one_track_however_the_network_splits_it(readers):
    voice = np.concatenate([readers[0], readers[0]])
    tracks = np.stack([0.8 * voice, 0.2 * voice])
    tracks[:, 8 * RATE :] = tracks[::-1, 8 * RATE :]
    plan = identify(heard(tracks, leak=0.0), AUTO)
    assert (plan.counted, plan.names) == (1, ["spk1"])
    np.testing.assert_allclose(plan.routing(tracks, start=0)[0], voice, atol=1e-5)


def test_two_voices_that_always_speak_together_are_two(readers):
    plan = identify(heard(readers), AUTO)
    assert plan.counted == 2
    assert not plan.followed  # nothing is known that the network does not know


def test_nobody_is_one_track_and_no_turn():
    rng = np.random.default_rng(0)
    hum = (1e-6 * rng.standard_normal((2, 5 * RATE))).astype(np.float32)
    plan = identify(heard(hum), AUTO)
    assert (plan.names, plan.turns, plan.counted) == (["spk1"], [], 0)


def test_one_window_stays_as_the_network_gave_it(conversation):
    plan = identify(heard(conversation[:, : 10 * RATE]), SeparationOptions())
    assert not plan.followed
    assert {turn.track for turn in plan.turns} == {"spk1", "spk2"}


@pytest.mark.parametrize("asked", [3, 5])
def test_fewer_voices_than_asked_for_are_said_and_never_fewer_tracks_than_the_network_has(readers, asked):
    voice = np.concatenate([readers[0], readers[0]])
    plan = identify(heard(np.stack([0.8 * voice, 0.2 * voice]), leak=0.0), SeparationOptions(n_speakers=asked))
    assert len(plan.names) >= 2
    assert f"{asked} people were asked for, but only {len(plan.names)} voices" in plan.warnings[0]


def test_more_voices_than_tracks_take_turns(readers):
    third = np.interp(np.arange(0, readers.shape[1], 1.35), np.arange(readers.shape[1]), readers[0])
    voices = np.zeros((3, 30 * RATE), np.float32)
    for number, (voice, at) in enumerate([(readers[0], 0), (readers[1], 9), (third, 18)]):
        voices[number, at * RATE : at * RATE + len(voice)] = voice
    tracks = np.stack([voices[0] + voices[2], voices[1]])
    plan = identify(heard(tracks, leak=0.0), AUTO)
    assert plan.counted == 3
    assert "3 voices with a model that separates 2" in plan.conversions[0]
    assert np.square(plan.routing(tracks, start=0) - voices).sum() < 0.1 * np.square(voices).sum()


def test_enrolled_voices_name_their_tracks_and_others_are_told(readers, conversation):
    known = [Enrolled(name, average(embed(voice, sample_rate=RATE))) for name, voice in zip("ab", readers, strict=True)]
    plan = identify(heard(conversation), AUTO, known[1:])
    assert plan.names == ["spk1", "b"]
    assert {turn.track for turn in plan.turns} == {"spk1", "b"}
    alone = identify(heard(conversation[[0, 0]] * 0.5), AUTO, known)
    assert alone.names == ["a"]
    assert "b is not heard" in alone.warnings[0]


def test_only_those_who_are_wanted_are_given(readers, conversation):
    known = [Enrolled("anna", average(embed(readers[0], sample_rate=RATE)))]
    options = SeparationOptions(n_speakers="auto", enroll=(("anna", "anna.wav"),), only=("anna",))
    plan = identify(heard(conversation), options, known)
    assert (plan.given, plan.track_names(residual=True)) == ([0], ["anna", "residual"])
    assert possible_names(options, n_src=2) == ["anna"]
    stranger = [Enrolled("anna", -known[0].vector)]
    with pytest.raises(SignalError, match=r"anna is not heard: the nearest voice has a likeness of -?0\.\d\d, 0\.35"):
        identify(heard(conversation), options, stranger)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_speakers": 0}, "n_speakers is 0"),
        ({"max_speakers": 99}, "max_speakers is 99"),
        ({"only": ("bob",)}, "nobody is enrolled"),
        ({"enroll": (("a/b", "x.wav"),)}, "becomes part of a file's name"),
        ({"enroll": (("spk1", "x.wav"),)}, "but not spk1"),
        ({"enroll": (("bob", "x.wav"), ("bob", "y.wav"))}, "two voices are called bob"),
        ({"enroll": (("alice", "x.wav"),), "only": ("alcie",)}, "did you mean 'alice'"),
    ],
)
def test_impossible_wishes_are_refused_in_words(options, message):
    with pytest.raises(ConfigError, match=message):
        SeparationOptions(**options)
