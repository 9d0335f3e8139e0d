"""The index format of the papers' public code: per split a folder of JSON lists of [path, number of samples].

    tt/mix.json  tt/s1.json  tt/s2.json      (`mix_clean.json` for Libri2Mix, `mix_both.json` for WHAM!)

The audio-visual sets list [path, mouth crops, number of samples] for the sources.
Lists are sorted by file name, and line i of every list belongs to mixture i. Paths are absolute, or relative to the
folder of the lists. Sample rate and speakers are not stated.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from unmingle.audio.io import count_frames, probe
from unmingle.data.files import write_text_atomically
from unmingle.data.manifest import Entry
from unmingle.errors import AudioReadError, ManifestError, MissingFileError

MIXTURE_NAMES = ("mix", "mix_clean", "mix_both", "mixture")  # in the order in which they are looked for


def read_index(path: Path | str, *, sample_rate: int | None = None) -> list[Entry]:
    """The mixtures of one split.

    Args:
        path: the folder of the lists, or its mixture list when it has several.
        sample_rate: Hz; None: asked of the first mixture file.

    Raises:
        ManifestError: a list is missing or malformed, the lists disagree, or no sample rate can be found out.
    """
    path = Path(path)
    mixture_list = _mixture_list(path) if path.is_dir() else path
    folder = mixture_list.resolve().parent
    mixtures = _read_list(mixture_list)
    columns = [_read_list(source) for source in _numbered(folder, "s")]
    if not columns:
        raise ManifestError(f"{folder} has no s1.json beside {mixture_list.name}")
    for number, column in enumerate(columns, start=1):
        if [Path(row.path).name for row in column] != [Path(row.path).name for row in mixtures]:
            raise ManifestError(f"{folder}: s{number}.json does not list the file names of {mixture_list.name}")
    rate = sample_rate or _rate_of(folder / mixtures[0].path)
    seen = all(row.video is not None for column in columns for row in column)
    return [
        Entry(
            id=Path(mixture.path).stem,
            sample_rate=rate,
            mixture=_absolute(folder, mixture.path),
            sources=tuple(_absolute(folder, column[number].path) for column in columns),
            video=tuple(_absolute(folder, column[number].video or "") for column in columns) if seen else (),
            extra={"samples": mixture.n_samples},
        )
        for number, mixture in enumerate(mixtures)
    ]


def write_index(folder: Path | str, entries: Sequence[Entry], *, mixture_name: str = "mix") -> None:
    """Write a split in the papers' index format: absolute paths, lengths from the files' headers."""
    folder = Path(folder)
    ordered = sorted(entries, key=lambda entry: entry.mixture.name)
    columns = {mixture_name: [entry.mixture for entry in ordered]}
    for number in range(ordered[0].n_src):
        columns[f"s{number + 1}"] = [entry.sources[number] for entry in ordered]
    for name, paths in columns.items():
        rows = [[str(path), count_frames(path)] for path in paths]
        write_text_atomically(folder / f"{name}.json", json.dumps(rows, indent=1))


def _mixture_list(folder: Path) -> Path:
    found = [folder / f"{name}.json" for name in MIXTURE_NAMES if (folder / f"{name}.json").is_file()]
    if not found:
        wanted = ", ".join(f"{name}.json" for name in MIXTURE_NAMES)
        raise ManifestError(f"{folder} is no index folder: it holds none of {wanted}")
    return found[0]


def _numbered(folder: Path, letter: str) -> list[Path]:
    """s1.json, s2.json, ... as far as they go without a gap."""
    found: list[Path] = []
    while (path := folder / f"{letter}{len(found) + 1}.json").is_file():
        found.append(path)
    return found


class _Row(NamedTuple):
    path: str
    n_samples: int
    video: str | None = None


def _read_list(path: Path) -> list[_Row]:
    try:
        rows = [_row(*row) for row in cast("list[Any]", json.loads(path.read_text(encoding="utf-8")))]
    except (ValueError, TypeError) as error:
        raise ManifestError(f"{path} is not a JSON list of [path, number of samples]: {error}") from error
    if not rows:
        raise ManifestError(f"{path} lists no files")
    return sorted(rows, key=lambda row: re.split(r"[\\/]", row.path)[-1])


def _row(path: object, *rest: object) -> _Row:
    *video, n_samples = rest
    if len(video) > 1:
        raise ValueError(f"{len(rest) + 1} columns")
    return _Row(str(path), int(cast("Any", n_samples)), str(video[0]) if video else None)


def _rate_of(path: Path) -> int:
    try:
        return probe(path).sample_rate
    except (MissingFileError, AudioReadError) as error:
        raise ManifestError(f"the index does not state a sample rate, and {error}; give the sample rate") from error


def _absolute(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))
