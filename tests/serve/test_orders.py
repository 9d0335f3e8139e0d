"""What a form can ask for, over a real socket: how many people, whose voices, how loud."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.inference.handle import Model
from unmingle.presets import TDANetConfig
from unmingle.voices import activity

VOICES = Path(__file__).parents[2] / "examples" / "two-voices"
RATE = 16_000


@pytest.fixture(scope="module")
def readers():
    """Two real voices, as WAV files in memory."""
    sounds = [sf.read(VOICES / f"reference_{number}.flac", dtype="float32")[0] for number in (1, 2)]
    return [as_wav(sound[4 * RATE : 8 * RATE]) for sound in sounds]


@pytest.fixture(autouse=True)
def by_loudness(monkeypatch):
    """The same answers whether silero-vad is installed or not, and faster ones."""
    monkeypatch.setattr(activity, "_silero", lambda: None)


def as_wav(samples):
    file = io.BytesIO()
    sf.write(file, samples, RATE, format="WAV")
    return file.getvalue()


def give_all_to_the_first(mixture):
    return np.stack([mixture, np.zeros_like(mixture)], axis=1)


@pytest.fixture(scope="module")
def hearing(serving):
    """A server whose model separates two voices at 16 kHz, and hears one."""
    model = Model("first", TDANetConfig(sample_rate=RATE), engine=give_all_to_the_first)
    with serving(model=model, max_sound_seconds=30.0) as one:
        yield one


def order(running, data, **wishes):
    """The report, and the files that the server kept for it until then."""
    report = running.post(data, answer="json", **wishes).json()
    kept = [path.name for path in running.leftovers()]
    assert running.client.delete(f"v1/separations/{report['id']}").status_code == 204
    return report, kept


def test_auto_counts_the_people(hearing, readers):
    report, _ = order(hearing, readers[0], n_src="auto", max_speakers="3")
    assert [track["name"] for track in report["tracks"]] == ["spk1"]
    assert report["n_speakers"] == 1
    assert (report["settings"]["n_speakers"], report["settings"]["max_speakers"]) == ("auto", 3)


def test_an_enrolled_voice_names_its_track_and_its_recording_goes(hearing, readers):
    voices = {"alice": readers[0], "bob": readers[1]}
    report, kept = order(hearing, readers[0], voices=voices, n_src="auto", only=["alice"])
    assert [(track["name"], track["path"]) for track in report["tracks"]] == [("alice", "talk_alice.wav")]
    assert any("bob is not heard" in warning for warning in report["warnings"])
    assert report["settings"]["enroll"] == [["alice", "voice.wav"], ["bob", "voice.wav"]]
    assert kept == ["talk_alice.wav"]


def test_a_voice_that_alone_is_wanted_and_is_not_heard_is_an_error(hearing, readers):
    answer = hearing.post(readers[0], voices={"bob": readers[1]}, n_src="auto", only=["bob"])
    assert answer.status_code == 422
    assert "bob is not heard" in answer.json()["error"]
    assert not hearing.leftovers()


SOUND, SILENCE = b"", as_wav(np.zeros(RATE, np.float32))
BAD_ORDERS = {
    "no number": ({"n_src": "some"}, {}, "n_src is 'some'; wanted auto, or a number of speakers from 1 to 10"),
    "too many": ({"n_src": "11"}, {}, "from 1 to 10"),
    "nobody": ({"max_speakers": "0"}, {}, "max_speakers is '0'; wanted a number of speakers from 1 to 10"),
    "no loudness": ({"loudness_lufs": "quiet"}, {}, "loudness_lufs is 'quiet'; wanted a number such as -16"),
    "two loudnesses": ({"loudness_lufs": "-16", "level_dbfs": "-26"}, {}, "give one of them"),
    "the same twice": ({"gate": ["true", "false"]}, {}, "two fields 'gate'"),
    "a stranger alone": ({"only": ["alcie"]}, {"alice": SOUND}, "did you mean 'alice'"),
    "nobody's track alone": ({"only": ["alice"]}, {}, "nobody is enrolled"),
    "a name that leads elsewhere": ({}, {"../alice": SOUND}, "a voice cannot be called '../alice'"),
    "no name": ({}, {"": SOUND}, "a voice cannot be called ''"),
    "a voice that is a word": ({"enroll.alice": "alice.wav"}, {}, "'enroll.alice' came as a word; send a file"),
    "no sound": ({}, {"alice": b"no sound at all"}, "voice.wav is not an audio or video file"),
    "silence": ({}, {"alice": SILENCE}, "voice.wav, enrolled as alice, holds 0.0 s of speech"),
}


@pytest.mark.parametrize(("words", "voices", "sentence"), BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_wishes_that_make_no_sense_are_refused_in_words(hearing, readers, words, voices, sentence):
    answer = hearing.post(readers[0], voices=voices, **words)
    assert answer.status_code == (415 if sentence.endswith("video file") else 422)
    assert sentence in answer.json()["error"]
    assert str(hearing.folder) not in answer.text
    assert ".voice" not in answer.text
    assert not hearing.leftovers()


def test_voices_obey_the_limits_of_recordings(serving, hearing, readers, wav):
    long = hearing.post(readers[0], voices={"alice": as_wav(np.zeros(31 * RATE, np.float32))})
    assert (long.status_code, long.json()["error"]) == (
        413,
        "voice.wav lasts 31.0 s; this server takes at most 30 s",
    )
    many = hearing.post(readers[0], voices={f"voice-{number}": SOUND for number in range(11)})
    assert many.status_code == 400
    assert "Maximum number of files is 11" in many.json()["error"]
    with serving(max_upload_bytes=100_000) as small:
        assert small.post(wav(), voices={"alice": b"\0" * 99_000}).status_code == 413
        assert not small.leftovers()
    assert not hearing.leftovers()
