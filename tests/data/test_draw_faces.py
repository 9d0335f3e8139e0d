"""Mouths drawn for voices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmingle.data.articulation import Movement, movement_of
from unmingle.data.crops import read_crops
from unmingle.data.draw_faces import draw_faces
from unmingle.data.mouths import Look, draw_mouths
from unmingle.data.speech import list_speech
from unmingle.data.voices import join_voices
from unmingle.errors import ManifestError, MissingFileError, OutputExistsError

STILL = np.zeros(40, np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mouth(crops: np.ndarray) -> np.ndarray:
    """How many pixels around the middle are no skin, per frame: an open mouth shows its dark and its teeth."""
    window = crops[:, 32:68, 26:70].astype(float)
    return (np.abs(window - np.median(crops)) > 0.3 * np.median(crops)).sum((1, 2))


def test_lips_open_when_the_voice_is_loud_and_close_when_it_pauses() -> None:
    time = np.arange(3 * 8000) / 8000
    syllables = (np.sin(2 * np.pi * 1.5 * time) > 0).astype(float)  # a third of a second on, a third off
    voice = 0.2 * syllables * np.sin(2 * np.pi * 200 * time) + 1e-4 * rng().normal(size=len(time))
    openings = [movement_of(voice, 8000, rng(seed)).opening for seed in range(5)]
    heard = syllables.reshape(75, 320).mean(1)
    for opening in openings:
        assert opening.shape == (75,)
        assert 0 <= opening.min() <= opening.max() <= 1
        assert np.corrcoef(opening, heard)[0, 1] > 0.7
    assert np.abs(openings[0] - openings[1]).max() > 0.05


def test_lips_spread_for_bright_sounds() -> None:
    noise = rng().normal(size=16_000)
    bright = np.diff(noise, prepend=0) * 0.1
    dull = np.cumsum(noise) * 0.01
    assert movement_of(bright, 16_000, rng(1)).spread.mean() > movement_of(dull, 16_000, rng(1)).spread.mean() + 0.3


def test_silence_gives_a_mouth_that_hardly_moves() -> None:
    movement = movement_of(np.zeros(8000), 8000, rng())
    assert np.isfinite(movement.opening).all()
    assert np.isfinite(movement.spread).all()


def test_the_picture_follows_the_movement() -> None:
    opening = (0.5 + 0.5 * np.sin(np.arange(40) / 3)).astype(np.float32)
    for seed in range(4):
        crops = draw_mouths(Movement(opening, STILL), Look.of(rng(seed)), rng(seed))
        assert crops.shape == (40, 96, 96)
        assert crops.dtype == np.uint8
        assert 40 < crops.mean() < 220
        assert crops.std() > 8
        assert np.corrcoef(mouth(crops), opening)[0, 1] > 0.5


def test_people_look_different_and_clips_of_one_person_alike() -> None:
    closed = Movement(STILL, STILL)
    anna, anna_again, carl = (
        draw_mouths(closed, Look.of(rng(look)), rng(clip)) for look, clip in ((1, 5), (1, 6), (2, 7))
    )
    assert abs(anna.mean() - anna_again.mean()) < abs(anna.mean() - carl.mean())
    assert not np.array_equal(anna, anna_again)


def test_every_voice_gets_a_face_of_its_length(speech: Path, tmp_path: Path) -> None:
    manifest, lines = draw_faces(speech, tmp_path / "faces")
    files = list_speech(manifest)
    assert lines == len(files) == 6
    for file in files:
        assert file.video is not None
        assert len(read_crops(file.video)) == round(soundfile.info(file.path).duration * 25)
    assert [file.gender for file in files] == ["F", "F", "F", "F", "M", "M"]
    row = json.loads(manifest.read_text().splitlines()[0])
    assert row["path"] == "../speech/anna/0.wav"


def test_drawing_goes_on_and_gives_the_same_faces(speech: Path, tmp_path: Path) -> None:
    manifest, _ = draw_faces(speech, tmp_path / "a")
    videos = [file.video for file in list_speech(manifest)]
    before = videos[0].stat().st_mtime_ns
    videos[1].unlink()
    np.save(videos[2], np.zeros((3, 96, 96), np.uint8))
    draw_faces(speech, tmp_path / "a")
    assert videos[0].stat().st_mtime_ns == before
    again, _ = draw_faces(speech, tmp_path / "b")
    for one, other in zip(list_speech(manifest), list_speech(again), strict=True):
        assert np.array_equal(read_crops(one.video), read_crops(other.video))
    with pytest.raises(OutputExistsError):
        draw_faces(speech, tmp_path / "a", seed=1)


def test_a_speaker_with_much_to_say_can_be_cut_short(speech: Path, tmp_path: Path) -> None:
    manifest, lines = draw_faces(speech, tmp_path / "faces", seconds_per_speaker=3.6)
    assert lines == 5  # of anna's 1.5, 2 and 2.5 seconds the first two
    assert [file.speaker for file in list_speech(manifest)].count("anna") == 2


def test_manifests_are_joined_wherever_they_lie(talkers: Path, speech: Path, tmp_path: Path) -> None:
    drawn, _ = draw_faces(speech, tmp_path / "deep" / "faces", seconds_per_speaker=0)
    target = tmp_path / "all" / "speech.jsonl"
    assert join_voices([talkers, drawn], target) == 6 + 4
    files = list_speech(target)
    assert all(file.path.is_file() and file.video is not None and file.video.is_file() for file in files)
    assert files[-1].corpus == "dirk"
    with pytest.raises(MissingFileError):
        join_voices([tmp_path / "none.jsonl"], target)
    (tmp_path / "bad.jsonl").write_text('{"speaker": "x"}\n')
    with pytest.raises(ManifestError, match=r"bad\.jsonl, line 1"):
        join_voices([tmp_path / "bad.jsonl"], target)
    (tmp_path / "bad.jsonl").write_text('{"path": "x.wav", "video": 5}\n')
    with pytest.raises(ManifestError, match="one path under 'video', got 5"):
        join_voices([tmp_path / "bad.jsonl"], target)
    (tmp_path / "unseen.jsonl").write_text('{"path": "x.wav", "speaker": "x", "video": null}\n')
    assert join_voices([tmp_path / "unseen.jsonl"], tmp_path / "joined.jsonl") == 1
