"""Manifests: a round trip loses nothing, and a line that cannot be used is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unmingle.data.manifest import _KEYS, Entry, entry_to_row, read_manifest, write_manifest
from unmingle.errors import ManifestError, MissingFileError

LINE = {"id": "a", "sample_rate": 8000, "mixture": "mix/a.wav", "sources": ["s1/a.wav", "s2/a.wav"]}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    (entry,) = read_manifest(written(tmp_path, LINE))
    assert entry.mixture == tmp_path / "mix" / "a.wav"
    assert entry.sources == (tmp_path / "s1" / "a.wav", tmp_path / "s2" / "a.wav")
    assert (entry.noise, entry.video, entry.speakers, entry.text, dict(entry.extra)) == (None, (), (), (), {})
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "manifest.jsonl", tmp_path / "moved")
    assert read_manifest(tmp_path / "moved" / "manifest.jsonl")[0].mixture == tmp_path / "moved" / "mix" / "a.wav"


def test_every_key_of_the_format_survives(tmp_path: Path) -> None:
    row = {
        **LINE,
        "noise": "noise/a.wav",
        "video": ["v/1.mp4", "../elsewhere/2.mp4"],
        "speakers": ["Åsa", "Бен"],
        "text": ["one\u2028line", "two\x85"],
        "pair": "MF",
        "levels": {"deep": [1, None]},
    }
    path = written(tmp_path, row)
    entries = read_manifest(path)
    assert entries[0].extra == {"pair": "MF", "levels": {"deep": [1, None]}}
    write_manifest(tmp_path / "again.jsonl", entries)
    assert json.loads((tmp_path / "again.jsonl").read_text(encoding="utf-8")) == row
    assert read_manifest(tmp_path / "again.jsonl") == entries


words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
others = words.filter(lambda word: word not in _KEYS)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(words, min_size=1, max_size=4, unique=True),
    n_src=st.integers(1, 4),
    rate=st.integers(1, 96_000),
    noisy=st.booleans(),
    extra=st.dictionaries(others, st.integers() | words | st.none() | st.lists(st.floats(allow_nan=False)), max_size=3),
)
def test_any_manifest_survives_a_round_trip(
    tmp_path: Path, ids: list[str], n_src: int, rate: int, noisy: bool, extra: dict[str, object]
) -> None:
    entries = [
        Entry(
            id=name,
            sample_rate=rate,
            mixture=tmp_path / "mixture" / f"{name}.wav",
            sources=tuple(tmp_path / f"s{n}" / f"{name}.wav" for n in range(n_src)),
            noise=tmp_path / "noise.wav" if noisy else None,
            speakers=tuple(f"{name}-{n}" for n in range(n_src)),
            extra=extra,
        )
        for name in ids
    ]
    write_manifest(tmp_path / "deep" / "manifest.jsonl", entries)
    assert read_manifest(tmp_path / "deep" / "manifest.jsonl") == entries


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def entries() -> object:
        yield Entry("a", 8000, tmp_path / "a.wav", (tmp_path / "b.wav",))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_manifest(tmp_path / "manifest.jsonl", entries())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 3}, "line 1: wanted a text under 'id', got 3"),
        ({"sample_rate": "8000"}, "wanted a whole number under 'sample_rate'"),
        ({"sample_rate": 0}, "wanted a rate in Hz under 'sample_rate', got 0"),
        ({"sample_rate": True}, "wanted a rate in Hz under 'sample_rate', got True"),
        ({"mixture": None}, "wanted a text under 'mixture'"),
        ({"sources": "s1.wav"}, "wanted a list of paths under 'sources'"),
        ({"sources": []}, "`sources` is empty"),
        ({"sources": [1]}, "wanted a list of texts under 'sources'"),
        ({"speakers": ["a"]}, "1 speakers for 2 sources"),
        ({"noise": ["n.wav"]}, "wanted a path under 'noise'"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(written(tmp_path, {**LINE, **change}))


def test_what_else_a_line_holds_never_replaces_what_is_known(tmp_path: Path) -> None:
    entry = Entry("a", 8000, tmp_path / "a.wav", (tmp_path / "b.wav",), extra={"id": "b", "pair": "MF"})
    assert entry_to_row(entry, tmp_path) == {
        "id": "a", "sample_rate": 8000, "mixture": "a.wav", "sources": ["b.wav"], "pair": "MF"
    }  # fmt: skip


def test_a_misspelt_key_is_recognised(tmp_path: Path) -> None:
    row = {key.replace("mixture", "mixtures"): value for key, value in LINE.items()}
    with pytest.raises(ManifestError, match="'mixture', there is no such key; did you mean 'mixtures'"):
        read_manifest(written(tmp_path, row))


def test_ids_are_unique(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="mixtures 1 and 2 have the same id, 'a'"):
        read_manifest(written(tmp_path, LINE, LINE))


def test_no_mixtures_and_no_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="lists no mixtures"):
        read_manifest(written(tmp_path))
    with pytest.raises(MissingFileError):
        read_manifest(tmp_path / "gone.jsonl")
