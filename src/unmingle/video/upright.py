"""Decoded frames as pictures that stand upright and have square pixels."""

from __future__ import annotations

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(height, width, 3) RGB, upright, with square pixels."""

_SQUEEZE = 5.0  # the most that pixels may be out of square before the header is not believed


class Upright:
    """Turns decoded frames into upright pictures with square pixels, all of one size."""

    def __init__(self, stream: VideoStream, frame: VideoFrame) -> None:
        """Take the size and the orientation of the first frame for all."""
        squeeze = float(stream.sample_aspect_ratio or 1)
        if not 1 / _SQUEEZE <= squeeze <= _SQUEEZE:
            squeeze = 1.0
        self._width, self._height = max(1, round(frame.width * squeeze)), frame.height
        self._turned, self._flip_rows, self._flip_columns = _orientation(frame)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright picture."""
        return (self._height, self._width) if self._turned else (self._width, self._height)

    def __call__(self, frame: VideoFrame) -> Picture:
        """Turn one frame."""
        picture = np.asarray(frame.reformat(self._width, self._height, "rgb24").to_ndarray(), np.uint8)
        if self._turned:
            picture = picture.transpose(1, 0, 2)
        rows = slice(None, None, -1 if self._flip_rows else 1)
        columns = slice(None, None, -1 if self._flip_columns else 1)
        return np.ascontiguousarray(picture[rows, columns])


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """How a frame is shown, by its display matrix: (rows become columns, then rows reversed, columns reversed)."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()  # x' = a x + c y, y' = b x + d y
    return (True, b < 0, c < 0) if abs(b) > abs(a) else (False, d < 0, a < 0)
