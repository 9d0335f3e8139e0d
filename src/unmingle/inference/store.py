"""Tracks at the network's rate, kept until it is known which voice each of them is.

In memory, or for files of any length in a raw file beside the results: float32, one frame of `n_src` values after the
other, appended window by window.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
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
        kept: whether a file outlives its `with`.
    """

    def __init__(self, n_src: int, file: BinaryIO | None = None, *, path: Path | None = None) -> None:
        """Keep tracks in memory, or in a file that is open for writing and reading; see `beside`."""
        self.n_src, self.n_samples = n_src, 0
        self.kept = False
        self._file, self._path = file, path
        self._pieces: list[Samples] = []

    @classmethod
    @contextmanager
    def beside(cls, path: Path, n_src: int, *, n_samples: int = 0) -> Generator[TrackStore]:
        """Keep tracks in a file of this name, which is removed in the end unless it is `kept`.

        Args:
            path: the file; it need not be there.
            n_src: tracks.
            n_samples: how much of what is in the file already belongs to them; the rest is cut off.

        Raises:
            OutputError: the folder cannot be written.
        """
        try:
            file = path.open("rb+" if n_samples else "wb+")
        except OSError as error:
            raise OutputError(f"{path.parent} cannot be written ({error.strerror}); choose another folder") from error
        store = cls(n_src, file, path=path)
        store.n_samples = n_samples
        try:
            file.truncate(store._position(n_samples))
            yield store
        finally:
            with suppress(OSError):  # of a disk that is full, which was told already
                file.close()
            if not store.kept:
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
        with self._failures():
            self._file.seek(self._position(self.n_samples - tracks.shape[1]))
            self._file.write(np.ascontiguousarray(tracks.T, np.float32).tobytes())
            self._file.flush()

    def sync(self) -> None:
        """See to it that what was appended is on the disk, whatever happens to the machine.

        Raises:
            OutputError: no space left, or the disk failed.
        """
        if self._file is not None:
            with self._failures():
                os.fsync(self._file.fileno())

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
        self._file.seek(self._position(start))
        values = np.frombuffer(self._file.read(self._position(stop - start)), np.float32)
        return np.ascontiguousarray(values.reshape(-1, self.n_src).T)

    def _position(self, n_samples: int) -> int:
        """Bytes of so many samples of every track."""
        return 4 * self.n_src * n_samples

    @contextmanager
    def _failures(self) -> Generator[None]:
        """Say what a failed write means."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"the tracks cannot be kept in {self._path} ({error.strerror}); is the disk full? An hour takes "
                f"about {self.n_src * 4 * 16_000 * 3600 / 1e9:.1f} GB until it is finished"
            ) from error
