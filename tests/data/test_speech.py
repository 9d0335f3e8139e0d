"""Folders, manifests and Lhotse cuts of single voices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmingle.data import speech as speech_files
from unmingle.data.voices import join_voices
from unmingle.errors import AudioReadError, ManifestError, MissingFileError, SignalError, UnmingleError

RATE = 8000


def names(path: Path, **options: object) -> list[tuple[str, str | None]]:
    return list(speech_files.genders_and_speakers(speech_files.read_cuts(path, **options)))  # type: ignore[arg-type]


def test_a_manifest_names_speakers_and_genders(speech: Path) -> None:
    assert names(speech) == [("anna", "F")] * 3 + [("berta", "F"), ("carl", "M"), ("dirk", "M")]


def test_a_folder_names_speakers_by_its_folders(speech: Path) -> None:
    (speech.parent / "speech" / ".hidden.wav").touch()
    (speech.parent / "speech" / "notes.txt").touch()
    assert names(speech.parent / "speech") == [(name, None) for name in ["anna"] * 3 + ["berta", "carl", "dirk"]]


def test_paths_may_be_relative_to_the_folder_above(speech: Path) -> None:
    moved = speech.parent / "lists" / speech.name
    moved.parent.mkdir()
    shutil.copy(speech, moved)
    assert len(names(moved)) == 6


def test_corpora_can_be_left_out(speech: Path) -> None:
    assert [name for name, _ in names(speech, exclude_corpora=["anna", "dirk"])] == ["berta", "carl"]
    with pytest.raises(ManifestError, match="once the corpora anna, berta, carl, dirk are left out"):
        names(speech, exclude_corpora=["anna", "berta", "carl", "dirk"])


def test_lhotse_cuts_are_speech_too(speech: Path) -> None:
    import lhotse

    path = speech.with_name("cuts.jsonl.gz")
    lhotse.CutSet.from_cuts(speech_files.read_cuts(speech)).to_file(path)
    assert names(path) == names(speech)
    assert [name for name, _ in names(path, exclude_corpora=["anna", "dirk"])] == ["berta", "carl"]
    with speech_files.libsndfile():
        assert len(speech_files.load(speech_files.read_cuts(path)[0], RATE)) == 1.5 * RATE


@pytest.mark.parametrize(("subtype", "suffix"), [("PCM_16", "flac"), ("OPUS", "opus"), ("VORBIS", "ogg")])
def test_compressed_speech_is_read_without_another_program(
    subtype: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "anna").mkdir()
    tone = 0.3 * np.sin(np.arange(16_000) / 10)
    form = "FLAC" if suffix == "flac" else "OGG"
    soundfile.write(tmp_path / "anna" / f"a.{suffix}", tone, 16_000, subtype=subtype, format=form)
    (cut,) = speech_files.read_cuts(tmp_path)
    with speech_files.libsndfile():
        samples = speech_files.load(cut, 16_000)
    assert samples.shape == (16_000,)
    assert np.corrcoef(samples, tone)[0, 1] > 0.99


def test_other_rates_are_resampled_to_the_length_promised(speech: Path) -> None:
    cut = speech_files.read_cuts(speech)[0]
    with speech_files.libsndfile():
        for rate in (8000, 11_025, 16_000, 44_100):
            samples = speech_files.load(cut, rate)
            assert len(samples) == speech_files.samples_at(cut, rate)
            assert len(samples) == pytest.approx(1.5 * rate, abs=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("{", "line 1: not JSON"),
        ("[1]", "wanted a JSON object"),
        ('{"speaker": "a"}', "line 1: wanted a text under 'path'"),
        ('{"path": "a.wav"}', "line 1: wanted a text under 'speaker'"),
        ('{"path": "a.wav", "speaker": null}', "line 1: wanted a text under 'speaker', got None"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_where(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "speech.jsonl"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        speech_files.read_cuts(path)


def test_voices_that_nobody_knows_count_as_one_speaker_of_their_corpus(tmp_path: Path) -> None:
    rows = [{"path": f"{name}.wav", "speaker": None, "corpus": "street"} for name in "ab"]
    rows.append({"path": "c.wav", "speaker": "carl", "corpus": "studio"})
    manifest = tmp_path / "speech.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    joined = tmp_path / "joined.jsonl"
    join_voices([manifest], joined)
    for path in (manifest, joined):
        files = speech_files.list_speech(path)
        assert [file.speaker for file in files] == ["unknown of street", "unknown of street", "carl"]
        assert speech_files.speaker_corpora(path) == {"unknown of street": "street", "carl": "studio"}


def test_files_without_a_speaker_are_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(10), RATE)
    with pytest.raises(ManifestError, match="each speaker's files into a folder"):
        speech_files.read_cuts(tmp_path)
    assert len(speech_files.read_cuts(tmp_path, speakers=False)) == 1


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no folder or manifest"):
        speech_files.read_cuts(tmp_path / "nothing")
    manifest = tmp_path / "speech.jsonl"
    manifest.write_text(json.dumps({"path": "gone.wav", "speaker": "a"}))
    with pytest.raises(UnmingleError, match=r"gone\.wav"):
        speech_files.read_cuts(manifest)
    (tmp_path / "gone.wav").write_text("this is text")
    with pytest.raises(AudioReadError, match=r"gone\.wav"):
        speech_files.read_cuts(manifest)
    with pytest.raises(ManifestError, match="holds no audio"):
        speech_files.read_cuts(tmp_path.joinpath("empty").mkdir() or tmp_path / "empty")


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "a.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    (cut,) = speech_files.read_cuts(tmp_path)
    with speech_files.libsndfile(), pytest.raises(SignalError, match="NaN"):
        speech_files.load(cut, RATE)
