"""Manifests of mixtures: JSON Lines, one mixture per line, paths relative to the manifest.

    {"id": "000000", "sample_rate": 16000, "mixture": "mixture/000000.wav", "sources": ["s1/000000.wav", ...],
     "noise": ..., "video": [...], "speakers": [...], "text": [...], and anything else, which is kept}

Readers also take the papers' index format (`unmingle.data.index`) and Lhotse cuts (`unmingle.data.cuts`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from unmingle.data.files import write_text_atomically
from unmingle.data.speech import is_lhotse, read_rows
from unmingle.errors import ManifestError, MissingFileError, did_you_mean

_KINDS = {str: "a text", int: "a whole number", list: "a list of paths"}
_KEYS = ("id", "sample_rate", "mixture", "sources", "noise", "video", "speakers", "text")


@dataclass(frozen=True)
class Entry:
    """One mixture. Paths are absolute once read.

    Attributes:
        id: unique within the manifest.
        sample_rate: Hz, of the mixture and of every source.
        mixture: the audio file to separate.
        sources: one file per speaker.
        noise: the noise in the mixture, when it is known.
        video: one file per speaker, in the order of the sources, or none.
        speakers: names, in the order of the sources, or none.
        text: what is said, in the order of the sources, or none.
        extra: every other key of the line, such as `pair` ("FF", "MF" or "MM"), unchanged.
    """

    id: str
    sample_rate: int
    mixture: Path
    sources: tuple[Path, ...]
    noise: Path | None = None
    video: tuple[Path, ...] = ()
    speakers: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def n_src(self) -> int:
        """Number of speakers."""
        return len(self.sources)


def read_manifest(path: Path | str, *, sample_rate: int | None = None) -> list[Entry]:
    """The mixtures of a manifest.

    Args:
        path: a manifest (`.jsonl`), Lhotse cuts (`.jsonl`, `.jsonl.gz`), or a folder (or its mixture list) in the
            papers' index format.
        sample_rate: for the papers' index format, which does not say; None: asked of the first mixture.

    Raises:
        MissingFileError: there is no such file or folder.
        ManifestError: a line cannot be used; the message gives its number. Whether the audio is there is
            `check_manifest`'s question.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"there is no manifest {path}; check the name and the folder")
    if path.is_dir() or path.suffix == ".json":
        from unmingle.data.index import read_index

        return read_index(path, sample_rate=sample_rate)
    if is_lhotse(path):
        from unmingle.data.cuts import read_lhotse

        return read_lhotse(path)
    folder = path.resolve().parent
    entries = [_entry(f"{path}, line {number}", row, folder) for number, row in enumerate(read_rows(path), start=1)]
    if not entries:
        raise ManifestError(f"{path} lists no mixtures")
    _refuse_twins(path, entries)
    return entries


def _refuse_twins(path: Path, entries: Iterable[Entry]) -> None:
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, start=1):
        if (first := seen.setdefault(entry.id, number)) != number:
            raise ManifestError(
                f"{path}: mixtures {first} and {number} have the same id, {entry.id!r}; give each its own"
            )


def _entry(where: str, row: Mapping[str, Any], folder: Path) -> Entry:
    for key, kind in (("id", str), ("sample_rate", int), ("mixture", str), ("sources", list)):
        if not isinstance(row.get(key), kind):
            near = "" if key in row else did_you_mean(key, set(row) - set(_KEYS))
            came = f"got {row[key]!r}" if key in row else "there is no such key"
            raise ManifestError(f"{where}: wanted {_KINDS[kind]} under {key!r}, {came}{near}")
    if isinstance(row["sample_rate"], bool) or row["sample_rate"] < 1:
        raise ManifestError(f"{where}: wanted a rate in Hz under 'sample_rate', got {row['sample_rate']!r}")
    sources = _texts(where, row, "sources")
    if not sources:
        raise ManifestError(f"{where}: `sources` is empty; a mixture has at least one")
    for key in ("video", "speakers", "text"):
        if row.get(key) and len(_texts(where, row, key)) != len(sources):
            raise ManifestError(f"{where}: {len(row[key])} {key} for {len(sources)} sources; give one each, in order")
    noise = row.get("noise")
    if noise is not None and not isinstance(noise, str):
        raise ManifestError(f"{where}: wanted a path under 'noise', got {noise!r}")
    return Entry(
        id=row["id"],
        sample_rate=row["sample_rate"],
        mixture=_absolute(folder, row["mixture"]),
        sources=tuple(_absolute(folder, source) for source in sources),
        noise=None if noise is None else _absolute(folder, noise),
        video=tuple(_absolute(folder, each) for each in _texts(where, row, "video")),
        speakers=_texts(where, row, "speakers"),
        text=_texts(where, row, "text"),
        extra={key: value for key, value in row.items() if key not in _KEYS},
    )


def _texts(where: str, row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values: Any = row.get(key) or []
    if not isinstance(values, list) or not all(isinstance(each, str) for each in cast("list[Any]", values)):
        raise ManifestError(f"{where}: wanted a list of texts under {key!r}, got {values!r}")
    return tuple(cast("list[str]", values))


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))


def write_manifest(path: Path | str, entries: Iterable[Entry], *, overwrite: bool = True) -> None:
    """Write a manifest; paths become relative to its folder. A half-written one is never seen.

    Raises:
        OutputExistsError: another manifest is there, and `overwrite` is False.
        OutputError: it cannot be written.
    """
    path = Path(path)
    folder = path.resolve().parent
    lines = [json.dumps(entry_to_row(entry, folder), ensure_ascii=False) for entry in entries]
    write_text_atomically(path, "".join(line + "\n" for line in lines), overwrite=overwrite)


def entry_to_row(entry: Entry, folder: Path) -> dict[str, Any]:
    """An entry as the JSON object of its line; optional keys with nothing to say are left out."""
    row: dict[str, Any] = {
        "id": entry.id,
        "sample_rate": entry.sample_rate,
        "mixture": _relative(folder, entry.mixture),
        "sources": [_relative(folder, source) for source in entry.sources],
        "noise": None if entry.noise is None else _relative(folder, entry.noise),
        "video": [_relative(folder, each) for each in entry.video],
        "speakers": list(entry.speakers),
        "text": list(entry.text),
    }
    extra = {key: value for key, value in entry.extra.items() if key not in _KEYS}
    return {key: value for key, value in row.items() if value not in (None, [])} | extra


def _relative(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(os.path.normpath(folder / path), folder)).as_posix()
