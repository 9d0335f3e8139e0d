"""Faces as JSON: what `unmingle faces` writes, and `--faces FILE.json` reads."""

from __future__ import annotations

from pathlib import Path

from unmingle.video.tracks import FaceReport


def write_faces(report: FaceReport, json_path: str | Path, *, overwrite: bool = False) -> None:
    """Write faces without crops and thumbnails.

    Args:
        report: what `find_faces` gave.
        json_path: where to.
        overwrite: replace a file that is there.

    Raises:
        OutputExistsError: the file is there and `overwrite` was not asked for.
        OutputError: the file cannot be written.
    """
    raise NotImplementedError


def read_faces(json_path: str | Path) -> FaceReport:
    """Read what `write_faces` wrote; crops and thumbnails are not in it (see `cut_mouths`).

    Raises:
        MissingFileError: the file is not there.
        FaceError: it is not a file of faces; the message names what is wrong in it.
    """
    raise NotImplementedError
