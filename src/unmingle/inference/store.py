"""Tracks at the network's rate, kept until it is known which voice each of them is.

In memory, or for files of any length in a raw file beside the results: float32, one frame of `n_src` values after the
other, appended window by window.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.errors import OutputError


class TrackStore:
    """Append (n_src, time) pieces, read them again in order.

    Attributes:
        n_src: tracks.
        n_samples: how long they are so far.
    """

    def __init__(self, n_src: int, file: BinaryIO | None = None, *, path: Path | None = None) -> None:
        """Keep tracks in memory, or in a file that is open for writing and reading; see `beside`."""
        self.n_src, self.n_samples = n_src, 0
        self._file, self._path = file, path
        self._pieces: list[Samples] = []

    @classmethod
    @contextmanager
    def beside(cls, path: Path, n_src: int) -> Generator[TrackStore]:
        """Keep tracks in a file of this name, which is removed in the end.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            file = path.open("wb+")
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be written ({error.strerror}); choose another folder") from error
        try:
            with file:
                yield cls(n_src, file, path=path)
        finally:
            path.unlink(missing_ok=True)

    def append(self, tracks: Samples) -> None:
        """Add (n_src, time) samples at the end.

        Raises:
            OutputError: no space left, or the disk failed.
        """
        self.n_samples += tracks.shape[1]
        if self._file is None:
            self._pieces.append(tracks)
            return
        try:
            self._file.write(np.ascontiguousarray(tracks.T, np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"the tracks cannot be kept in {self._path} ({error.strerror}); is the disk full? An hour takes "
                f"about {self.n_src * 4 * 16_000 * 3600 / 1e9:.1f} GB until it is finished"
            ) from error

    def read(self, start: int, stop: int) -> Samples:
        """(n_src, stop - start) tracks; what lies beyond their ends is zero."""
        begin, end = max(0, start), min(stop, self.n_samples)
        if begin >= end:
            return np.zeros((self.n_src, stop - start), np.float32)
        return np.pad(self._read(begin, end), ((0, 0), (begin - start, stop - end)))

    def pieces(self, length: int) -> Iterator[Samples]:
        """All tracks in order, `length` samples at a time."""
        for start in range(0, self.n_samples, length):
            yield self._read(start, min(start + length, self.n_samples))

    def _read(self, start: int, stop: int) -> Samples:
        if self._file is None:
            if len(self._pieces) > 1:
                self._pieces = [np.concatenate(self._pieces, axis=1)]
            return self._pieces[0][:, start:stop]
        self._file.seek(4 * self.n_src * start)
        values = np.frombuffer(self._file.read(4 * self.n_src * (stop - start)), np.float32)
        return np.ascontiguousarray(values.reshape(-1, self.n_src).T)
