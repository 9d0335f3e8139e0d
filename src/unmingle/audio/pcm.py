"""Raw samples in pipes: interleaved, no header, two codings.

s16le   16-bit integers, little-endian; 32768 is full scale
f32le   32-bit floats, little-endian; 1.0 is full scale
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Literal

import numpy as np

from unmingle.audio.framing import Samples

PcmFormat = Literal["s16le", "f32le"]
_TYPES: dict[PcmFormat, np.dtype[np.generic]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_FULL_SCALE = 32768.0


class PcmReader:
    """Samples out of a pipe, as they come.

    Attributes:
        left_over: bytes at the end that were no whole sample of every channel; known when the sound has ended.
    """

    def __init__(self, file: BinaryIO, format: PcmFormat, *, channels: int = 1) -> None:  # noqa: A002
        """Read `file`, which has been opened for bytes."""
        self.left_over = 0
        self._file, self._channels = file, channels
        self._format: PcmFormat = format

    def blocks(self, size: int) -> Iterator[Samples]:
        """(channels, at most `size`) blocks; fewer samples where no more have come yet."""
        width = sample_bytes(self._format) * self._channels
        read = getattr(self._file, "read1", self._file.read)  # read1 gives what is there instead of waiting for all
        rest = b""
        while data := read(max(1, size * width - len(rest))):
            joined = rest + data
            whole = len(joined) // width * width
            rest = joined[whole:]
            if whole:
                yield decode(joined[:whole], self._format, channels=self._channels)
        self.left_over = len(rest)


def sample_bytes(format: PcmFormat) -> int:  # noqa: A002
    """How many bytes one sample of one channel has."""
    return _TYPES[format].itemsize


def decode(data: bytes, format: PcmFormat, *, channels: int = 1) -> Samples:  # noqa: A002
    """Bytes of whole samples -> (channels, time)."""
    samples = np.frombuffer(data, _TYPES[format]).reshape(-1, channels).T.astype(np.float32)
    return samples / np.float32(_FULL_SCALE) if format == "s16le" else samples


def encode(samples: Samples, format: PcmFormat) -> bytes:  # noqa: A002
    """(channels, time) -> interleaved bytes; integers stop at full scale, where floats go on."""
    interleaved = np.ascontiguousarray(samples.T)
    if format == "f32le":
        return interleaved.astype("<f4").tobytes()
    return np.clip(np.rint(interleaved * _FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
