"""Writing so that no half-written file is ever found under its final name."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.writing import AudioWriter
from unmingle.errors import OutputError, OutputExistsError
from unmingle.simulation.mixing import INT16_STEPS


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` write a file under a temporary name beside `path`, then rename it.

    Raises:
        OutputError: it cannot be written; nothing is left behind.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        OutputExistsError: another text is there, and `overwrite` was not asked for.
        OutputError: it cannot be written.
    """
    if not overwrite and path.exists() and path.read_bytes() != text.encode():
        raise OutputExistsError(f"{path} is already there and holds something else; add --overwrite to replace it")

    def write(draft: Path) -> None:
        draft.write_bytes(text.encode())

    write_atomically(path, write)


def write_wav16(path: Path, samples: NDArray[np.int16], sample_rate: int) -> None:
    """Write 16-bit samples, (time,), whole or not at all. Replaces a file that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with AudioWriter(path, sample_rate, overwrite=True) as writer:
        writer.write(samples[None].astype(np.float32) / np.float32(INT16_STEPS))
