from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.errors import AudioReadError, MissingFileError, SignalError
from unmingle.voices import activity
from unmingle.voices.encoder import embed
from unmingle.voices.enrolment import Enrolled, enrol, match

READER = Path(__file__).parents[2] / "examples" / "two-voices" / "reference_1.flac"
RATE = 16_000


@pytest.fixture(autouse=True)
def by_loudness(monkeypatch):
    monkeypatch.setattr(activity, "_silero", lambda: None)


@pytest.fixture(scope="module")
def voice():
    return sf.read(READER, dtype="float32")[0]


def write(path: Path, samples: np.ndarray) -> Path:
    sf.write(path, samples, RATE)
    return path


def test_a_voice_is_known_again_from_other_words(tmp_path, voice):
    enrolled = enrol("anna", write(tmp_path / "anna.wav", voice[: 5 * RATE]))
    assert enrolled.name == "anna"
    names, likeness = match([enrolled], embed(voice[5 * RATE : 8 * RATE], sample_rate=RATE)[:1])
    assert names == {0: "anna"}
    assert likeness["anna"] > 0.5


def test_a_channel_with_its_polarity_reversed_does_not_silence_a_voice(tmp_path, voice):
    one = enrol("anna", write(tmp_path / "one.wav", voice[: 5 * RATE]))
    two = enrol("anna", write(tmp_path / "two.wav", np.stack([voice[: 5 * RATE], -voice[: 5 * RATE]], axis=1)))
    np.testing.assert_allclose(one.vector, two.vector, atol=1e-3)


def test_each_name_goes_to_the_likest_voice_and_to_one_only():
    centres = np.eye(3, 64, dtype=np.float32)
    near = Enrolled("near", centres[1])
    farther = Enrolled("farther", (0.9 * centres[1] + 0.43 * centres[0]).astype(np.float32))
    stranger = Enrolled("stranger", np.eye(1, 64, 9, dtype=np.float32)[0])
    names, likeness = match([farther, near, stranger], centres)
    assert names == {1: "near", 0: "farther"}
    assert likeness["stranger"] == 0.0
    assert match([near], centres[:0]) == ({}, {"near": 0.0})


def test_an_enrolment_without_enough_speech_is_refused_in_words(tmp_path, voice):
    with pytest.raises(SignalError, match=r"anna, holds 0\.0 s of speech; at least 2 s"):
        enrol("anna", write(tmp_path / "silent.wav", np.zeros(5 * RATE)))
    with pytest.raises(SignalError, match="anna"):
        enrol("anna", write(tmp_path / "short.wav", voice[RATE : 2 * RATE]))


def test_an_enrolment_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(MissingFileError, match="nobody"):
        enrol("bob", tmp_path / "nobody.wav")
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(AudioReadError):
        enrol("bob", tmp_path / "text.wav")
