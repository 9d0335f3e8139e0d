"""Manifests to Lhotse cuts and back."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from unmingle.data.corpora import prepare
from unmingle.data.cuts import from_lhotse, to_lhotse
from unmingle.data.manifest import Entry, read_manifest
from unmingle.errors import ManifestError


@pytest.fixture
def entries(mixtures: Callable[..., Path], tmp_path: Path) -> list[Entry]:
    mixtures(["01aa_1_02bb_-1", "03cc_2_01aa_-2"], noisy=True, mixture="mix_both")
    (prepared,) = prepare("wham", tmp_path / "tt", tmp_path)
    return [
        replace(entry, text=("one", "two"), extra={"pair": "MF"}, video=(tmp_path / "1.mp4", tmp_path / "2.mp4"))
        for entry in read_manifest(prepared.manifest)
    ]


def test_a_manifest_survives_the_way_through_lhotse(entries: list[Entry], tmp_path: Path) -> None:
    cuts = to_lhotse(entries)
    assert from_lhotse(cuts) == entries
    for name in ("cuts.jsonl", "cuts.jsonl.gz"):
        cuts.to_file(tmp_path / name)
        assert read_manifest(tmp_path / name) == entries


def test_lhotse_reads_what_it_was_given(entries: list[Entry]) -> None:
    cut = next(iter(to_lhotse(entries)))
    assert cut.load_audio().shape == (1, 8000)
    assert cut.load_source_2().shape == (1, 8000)
    assert [said.speaker for said in cut.supervisions] == list(entries[0].speakers)


def test_cuts_without_separate_sources_are_refused(entries: list[Entry]) -> None:
    first, second = to_lhotse(entries)
    with pytest.raises(ManifestError, match="no separate sources"):
        from_lhotse([first.mix(second)])
    with pytest.raises(ManifestError, match="part of its recording"):
        from_lhotse([first.truncate(duration=0.5)])


@pytest.mark.parametrize("text", ['{"id": "x", "type": "nothing"}\n', "no json"])
def test_what_lhotse_cannot_read_is_one_error(text: str, tmp_path: Path) -> None:
    whole = gzip.compress(text.encode())
    for content in (whole, whole[:-9]):
        (tmp_path / "cuts.jsonl.gz").write_bytes(content)
        with pytest.raises(ManifestError, match=r"cuts\.jsonl\.gz cannot be read as Lhotse cuts"):
            read_manifest(tmp_path / "cuts.jsonl.gz")
