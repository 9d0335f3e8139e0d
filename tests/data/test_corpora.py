"""Published corpora, laid out as they are published, become manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from unmingle.data.corpora import prepare
from unmingle.data.manifest import read_manifest
from unmingle.data.speech import genders_and_speakers, read_cuts
from unmingle.errors import ConfigError, ManifestError, MissingFileError, OutputExistsError

Mixtures = Callable[..., Path]


def test_a_folder_becomes_a_speech_manifest(speech: Path, tmp_path: Path) -> None:
    (prepared,) = prepare("folder", speech.parent / "speech", tmp_path / "manifests")
    assert prepared.n_lines == 6
    row = json.loads(prepared.manifest.read_text().splitlines()[0])
    assert row == {"path": "../speech/anna/0.wav", "speaker": "anna", "seconds": 1.5}
    assert [name for name, _ in genders_and_speakers(read_cuts(prepared.manifest))][:3] == ["anna"] * 3


def test_librispeech_becomes_a_speech_manifest_per_part(tmp_path: Path) -> None:
    chapter = tmp_path / "LibriSpeech" / "dev-clean" / "84" / "121123"
    chapter.mkdir(parents=True)
    soundfile.write(chapter / "84-121123-0000.flac", np.zeros(16_000), 16_000)
    (chapter / "84-121123.trans.txt").write_text("84-121123-0000 GO DO YOU HEAR\n")
    speakers = "; ID | SEX | ...\n84   | F | dev-clean | 8.02  | Christie Nowak\n"
    (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").write_text(speakers)
    (prepared,) = prepare("librispeech", tmp_path, tmp_path / "manifests")
    assert prepared.manifest.name == "librispeech-dev-clean.jsonl"
    row = json.loads(prepared.manifest.read_text())
    assert (row["speaker"], row["gender"], row["seconds"], row["text"]) == ("84", "F", 1.0, "GO DO YOU HEAR")
    assert list(genders_and_speakers(read_cuts(prepared.manifest))) == [("84", "F")]


@pytest.mark.parametrize(
    ("corpus", "mixture", "name", "speakers", "noisy"),
    [
        ("libri2mix", "mix_clean", "1034-121119-0005_2414-128291-0020", ("1034", "2414"), False),
        ("wsj0-2mix", "mix", "01aa010k_1.3053_02bp0310_-1.3053", ("01a", "02b"), False),
        ("wham", "mix_both", "01aa010k_1.3053_02bp0310_-1.3053", ("01a", "02b"), True),
        ("lrs2-2mix", "mix", "6330-00012_0.5_6331-00001_-0.5", (), False),
    ],
)
def test_a_corpus_of_mixtures_becomes_a_manifest_per_split(
    corpus: str, mixture: str, name: str, speakers: tuple[str, ...], noisy: bool, mixtures: Mixtures, tmp_path: Path
) -> None:
    for split in ("tr", "tt"):
        mixtures([name], split=f"corpus/wav8k/min/{split}", mixture=mixture, noisy=noisy)
    prepared = prepare(corpus, tmp_path / "corpus", tmp_path / "out")
    assert [one.manifest.name for one in prepared] == ["wav8k-min-tr.jsonl", "wav8k-min-tt.jsonl"]
    (entry,) = read_manifest(prepared[0].manifest)
    folder = tmp_path / "corpus" / "wav8k" / "min" / "tr"
    assert (entry.id, entry.sample_rate, entry.speakers) == (name, 8000, speakers)
    assert entry.extra == {"samples": 8000}
    assert entry.mixture == folder / mixture / f"{name}.wav"
    assert entry.sources == (folder / "s1" / f"{name}.wav", folder / "s2" / f"{name}.wav")
    assert entry.noise == (folder / "noise" / f"{name}.wav" if noisy else None)


def test_another_kind_of_mixture_can_be_asked_for(mixtures: Mixtures, tmp_path: Path) -> None:
    split = mixtures(mixture="mix_clean")
    (prepared,) = prepare("wham", split, tmp_path / "out", mixture="mix_clean")
    assert prepared.manifest.name == "tt.jsonl"
    with pytest.raises(ConfigError, match="mix_single holds one voice"):
        prepare("wham", split, tmp_path / "out", mixture="mix_single")


def test_mixtures_in_rooms_have_sources_in_rooms(mixtures: Mixtures, tmp_path: Path) -> None:
    split = mixtures(mixture="mix_both_reverb", noisy=True)
    for source in ("s1", "s2"):
        (split / source).rename(split / f"{source}_reverb")
    (prepared,) = prepare("whamr", split, tmp_path / "out")
    entry = read_manifest(prepared.manifest)[0]
    assert [path.parent.name for path in entry.sources] == ["s1_reverb", "s2_reverb"]
    with pytest.raises(ManifestError, match="holds 'mix_both_anechoic' beside 's1_anechoic'"):
        prepare("whamr", split, tmp_path / "out", mixture="mix_both_anechoic")


def test_index_lists_are_splits_too(mixtures: Mixtures, tmp_path: Path) -> None:
    split = mixtures()
    lists = tmp_path / "lists" / "cv"
    lists.mkdir(parents=True)
    for part in ("mix", "s1", "s2"):
        rows = [[str(split / part / f"{name}.wav"), 8000] for name in ("a_b", "c_d")]
        (lists / f"{part}.json").write_text(json.dumps(rows))
    (prepared,) = prepare("lrs2-2mix", tmp_path / "lists", tmp_path / "out")
    assert (prepared.manifest.name, prepared.n_lines) == ("cv.jsonl", 2)
    assert read_manifest(prepared.manifest)[0].mixture == split / "mix" / "a_b.wav"


def test_a_layout_that_does_not_fit_is_an_error(mixtures: Mixtures, tmp_path: Path) -> None:
    split = mixtures()
    with pytest.raises(ManifestError, match="holds 'mix_clean' beside"):
        prepare("libri2mix", split, tmp_path)
    (split / "s2" / "c_d.wav").unlink()
    with pytest.raises(ManifestError, match=r"lacks 1 of 2 files, the first is c_d\.wav"):
        prepare("lrs2-2mix", split, tmp_path)
    with pytest.raises(ManifestError, match="dev-clean"):
        prepare("librispeech", split, tmp_path)
    with pytest.raises(MissingFileError):
        prepare("wham", tmp_path / "nowhere", tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'wham'"):
        prepare("wahm", tmp_path, tmp_path)


def test_a_manifest_that_holds_something_else_is_not_replaced_unasked(speech: Path, tmp_path: Path) -> None:
    (prepared,) = prepare("folder", speech.parent / "speech", tmp_path / "out")
    prepare("folder", speech.parent / "speech", tmp_path / "out")  # the same once more harms nobody
    prepared.manifest.write_text("{}\n")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        prepare("folder", speech.parent / "speech", tmp_path / "out")
    prepare("folder", speech.parent / "speech", tmp_path / "out", overwrite=True)
    assert prepared.manifest.read_text() != "{}\n"
