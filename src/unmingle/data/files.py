"""Writing so that no half-written file is ever found under its final name, and telling files apart."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.temporary import whole
from unmingle.audio.writing import AudioWriter
from unmingle.errors import OutputExistsError
from unmingle.simulation.mixing import INT16_STEPS

_MIDDLE_BYTES = 16_384


def write_text_atomically(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        OutputExistsError: another text is there, and `overwrite` was not asked for.
        OutputError: it cannot be written.
    """
    if not overwrite and path.exists() and path.read_bytes() != text.encode():
        raise OutputExistsError(f"{path} is already there and holds something else; add --overwrite to replace it")

    with whole(path, make_folder=True) as draft:
        draft.write_bytes(text.encode())


def write_wav16(path: Path, samples: NDArray[np.int16], sample_rate: int) -> None:
    """Write 16-bit samples, (time,), whole or not at all. Replaces a file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with AudioWriter(path, sample_rate, overwrite=True) as writer:
        writer.write(samples[None].astype(np.float32) / np.float32(INT16_STEPS))


def fingerprint_of_files(paths: Iterable[Path]) -> str:
    """The first 16 hex digits of SHA-256 over size and middle of every file, which differ where sounds do."""
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            continue  # whoever reads it says what is missing
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MIDDLE_BYTES) // 2)
            digest.update(b"%d " % size + file.read(_MIDDLE_BYTES))
    return digest.hexdigest()[:16]
