"""Writing speech manifests: one voice per line, and several manifests as one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unmingle.data.files import write_text_atomically
from unmingle.data.speech import read_rows, row_folder
from unmingle.errors import ManifestError, MissingFileError

_PATHS = ("path", "video")


def write_voices(manifest: Path, rows: Iterable[Mapping[str, Any]], *, overwrite: bool = False) -> int:
    """Write a speech manifest; paths become relative to its folder, and keys without a value are left out.

    A speaker whom nobody knows stays: null beside a corpus says something, see `unmingle.data.speech`.

    Args:
        manifest: where to.
        rows: `path` and `video` as `Path`, anything else as JSON has it.
        overwrite: replace a manifest that says something else.

    Returns:
        the number of lines.

    Raises:
        OutputExistsError: another manifest is there, and `overwrite` was not asked for.
        OutputError: it cannot be written.
    """
    folder = manifest.resolve().parent
    lines: list[str] = []
    for row in rows:
        nobody = {"speaker": None} if "speaker" in row else {}
        known = {key: value for key, value in row.items() if value is not None}
        near = {key: Path(os.path.relpath(known[key].resolve(), folder)).as_posix() for key in _PATHS if key in known}
        lines.append(json.dumps({**nobody, **known, **near}, ensure_ascii=False) + "\n")
    write_text_atomically(manifest, "".join(lines), overwrite=overwrite)
    return len(lines)


def join_voices(manifests: Sequence[Path], target: Path, *, overwrite: bool = False) -> int:
    """Several speech manifests as one, line by line.

    Returns:
        the number of lines.

    Raises:
        MissingFileError: one of them is not there.
        ManifestError: a line names no path, or a video that is none.
        OutputExistsError: another manifest is there, and `overwrite` was not asked for.
    """
    rows: list[dict[str, Any]] = []
    for manifest in manifests:
        if not manifest.is_file():
            raise MissingFileError(f"there is no manifest {manifest}")
        own = list(read_rows(manifest))
        folder = row_folder(manifest, own[0]) if own else manifest.parent
        for number, row in enumerate(own, start=1):
            if not isinstance(row.get("path"), str):
                raise ManifestError(f"{manifest}, line {number}: wanted a text under 'path', got {row.get('path')!r}")
            if not isinstance(row.get("video"), str | None):
                raise ManifestError(f"{manifest}, line {number}: wanted one path under 'video', got {row['video']!r}")
            rows.append({**row, **{key: folder / row[key] for key in _PATHS if row.get(key) is not None}})
    return write_voices(target, rows, overwrite=overwrite)
