"""The index format of the papers' code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from unmingle.data.index import write_index
from unmingle.data.manifest import read_manifest
from unmingle.errors import ManifestError


def index(folder: Path, lists: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in lists.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return folder


def rows(part: str, *names: str) -> list[list[object]]:
    return [[f"/corpus/{part}/{name}.wav", 800] for name in names]


@pytest.mark.parametrize("mixture", ["mix", "mix_clean", "mix_both"])
def test_an_index_folder_is_a_manifest(mixture: str, tmp_path: Path) -> None:
    lists = {mixture: rows(mixture, "b", "a"), "s1": rows("s1", "a", "b"), "s2": rows("s2", "b", "a")}
    folder = index(tmp_path / "tt", lists)
    for path in (folder, folder / f"{mixture}.json"):
        entries = read_manifest(path, sample_rate=8000)
        assert [entry.id for entry in entries] == ["a", "b"]
        assert entries[0].mixture == Path(f"/corpus/{mixture}/a.wav")
        assert entries[0].sources == (Path("/corpus/s1/a.wav"), Path("/corpus/s2/a.wav"))
        assert entries[0].extra["samples"] == 800


def test_an_index_survives_a_round_trip(mixtures: Callable[..., Path], tmp_path: Path) -> None:
    split = mixtures()
    lists = {part: [[str(split / part / f"{n}.wav"), 8000] for n in ("a_b", "c_d")] for part in ("mix", "s1", "s2")}
    entries = read_manifest(index(tmp_path / "lists", lists))
    assert entries[0].sample_rate == 8000  # asked of the file
    write_index(tmp_path / "again", entries)
    assert json.loads((tmp_path / "again" / "mix.json").read_text()) == lists["mix"]
    assert read_manifest(tmp_path / "again") == entries


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"s1": rows("s1", "a")}, "holds none of mix.json"),
        ({"mix": rows("mix", "a")}, "no s1.json"),
        ({"mix": rows("mix", "a"), "s1": rows("s1", "b")}, "s1.json does not list the file names"),
        ({"mix": [], "s1": []}, "lists no files"),
        ({"mix": ["a.wav"], "s1": []}, "not a JSON list of"),
        ({"mix": rows("mix", "a"), "s1": rows("s1", "a")}, "does not state a sample rate"),
    ],
)
def test_lists_that_do_not_fit_are_an_error(lists: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(index(tmp_path / "tt", lists))


def test_the_audio_visual_lists_name_mouth_crops(tmp_path: Path) -> None:
    seen = {name: [[f"{name}/a.wav", f"mouths/{name}.npz", 800]] for name in ("s1", "s2")}
    split = index(tmp_path / "tt", {"mix": [["mix/a.wav", 800]], **seen})
    (entry,) = read_manifest(split, sample_rate=8000)
    assert entry.video == (split / "mouths" / "s1.npz", split / "mouths" / "s2.npz")
    assert entry.sources == (split / "s1" / "a.wav", split / "s2" / "a.wav")
    assert entry.extra["samples"] == 800
