"""Mouth crops on disk: gray levels (frames, height, width) of one face, 25 per second, the first with the first sample.

A `.npy` array, or an `.npz` with the key `data` as IIANet's public preparation writes it. Both are read in part, and
nothing but gray levels is read: a pickled array is refused.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.temporary import whole
from unmingle.errors import MissingFileError, ShapeError, VideoReadError

FRAME_RATE = 25
SIDE = 96  # of a crop as it is stored; networks look at 88 x 88 of it
GRAY = 107  # the mean level of crops (0.421 of white), which is 0 once they are normalised

Crops = NDArray[np.uint8]


def write_crops(path: Path, crops: Crops) -> None:
    """Write mouth crops, (frames, height, width), whole or not at all; `.npz` is compressed.

    Raises:
        OutputError: the file cannot be written.
    """
    with whole(path, make_folder=True) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, data=crops) if path.suffix == ".npz" else np.save(stream, crops)


def crops_shape(path: Path) -> tuple[int, int, int]:
    """Frames, height and width of a file of mouth crops; only its header is read.

    Raises:
        MissingFileError: there is no such file.
        VideoReadError: it holds something else.
    """
    with _opened(path) as stream:
        return _header(stream, path)


def read_crops(path: Path, start: int = 0, n_frames: int | None = None) -> Crops:
    """Mouth crops `start` to `start + n_frames` of a file, (n_frames, height, width).

    Before its beginning the first frame stands still, after its end the last one.

    Args:
        path: the file.
        start: first frame; may lie before the beginning.
        n_frames: how many; None: to the end.

    Raises:
        MissingFileError: there is no such file.
        VideoReadError: it holds something else, or less than its header says.
    """
    with _opened(path) as stream:
        n_there, height, width = _header(stream, path)
        wanted = np.arange(start, n_there if n_frames is None else start + n_frames)
        places = wanted.clip(0, n_there - 1)
        first, n_read = int(places[0]), int(places[-1] - places[0]) + 1
        stream.seek(first * height * width, 1)
        content = stream.read(n_read * height * width)
    if len(content) < n_read * height * width:
        raise VideoReadError(f"{path} ends before its {n_there} frames do; make it again")
    return np.frombuffer(content, np.uint8).reshape(n_read, height, width)[places - first]


def frames_of(n_samples: int, sample_rate: int) -> int:
    """Frames that belong to so many samples: the nearest whole number, at least 1."""
    return max(1, round(n_samples * FRAME_RATE / sample_rate))


def require_length(n_frames: int, *, n_samples: int, sample_rate: int, what: str) -> None:
    """Refuse crops that end before their sound does, by more than a frame.

    Crops that go on after it are taken from their beginning: the published sets have them of whole clips, and sound of
    their first two seconds.

    Raises:
        ShapeError: they are too short.
    """
    seconds = n_samples / sample_rate
    if n_frames < seconds * FRAME_RATE - 1:
        raise ShapeError(
            f"{what} has {n_frames} frames ({n_frames / FRAME_RATE:.2f} s) but its sound lasts {seconds:.2f} s, which "
            f"is {frames_of(n_samples, sample_rate)} frames at {FRAME_RATE} per second; cut both from the same clip"
        )


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    if not path.is_file():
        raise MissingFileError(f"there are no mouth crops {path}")
    try:
        if path.suffix == ".npz":
            with ZipFile(path) as archive, archive.open("data.npy") as stream:
                yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except (BadZipFile, KeyError, EOFError, ValueError) as error:
        if isinstance(error, VideoReadError):
            raise
        raise VideoReadError(f"{path} holds no mouth crops (npy, or npz with the key `data`): {error}") from error


def _header(stream: IO[bytes], path: Path) -> tuple[int, int, int]:
    form = cast("Any", np.lib.format)
    read = form.read_array_header_1_0 if form.read_magic(stream) == (1, 0) else form.read_array_header_2_0
    shape, fortran, kind = read(stream)
    if len(shape) != 3 or 0 in shape or kind != np.uint8 or fortran:
        raise VideoReadError(
            f"{path} holds {kind} of shape {tuple(shape)}; wanted gray levels from 0 to 255 as uint8, "
            f"(frames, {SIDE}, {SIDE})"
        )
    return shape
