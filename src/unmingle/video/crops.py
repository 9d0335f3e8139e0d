"""Cutting the mouth crops of a video, which is read once more for them.

Crops go to temporary files while they are cut: an hour of one face is 830 MB, more than a computer should have to hold.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.errors import FaceError
from unmingle.video.frames import frames_at, probe_video
from unmingle.video.mouth import CROP, cut_mouth
from unmingle.video.tracks import CLOCK_RATE, FaceReport


def cut_crops(path: Path, report: FaceReport, progress: Callable[[float, float | None], None]) -> FaceReport:
    """The report with crops, see `unmingle.video.faces.cut_mouths`."""
    info = probe_video(path)
    if info.picture != report.picture:
        raise FaceError(
            f"the faces belong to a picture of {report.picture[0]} x {report.picture[1]} pixels, but that of {path} "
            f"has {info.picture[0]} x {info.picture[1]}; give the faces of this video"
        )
    stores = [_Store() for _ in report.tracks]
    for tick, seconds, picture in frames_at(path, CLOCK_RATE):
        for track, store in zip(report.tracks, stores, strict=True):
            if tick < report.n_frames and track.present[tick]:
                store.put(tick, cut_mouth(picture, track.mouths[tick]))
        progress(seconds, report.duration)
    cut = zip(report.tracks, stores, strict=True)
    return replace(report, tracks=[replace(track, crops=store.take(report.n_frames)) for track, store in cut])


class _Store:
    """Crops by number, in a file that is gone when nobody uses it any more; what was never put is black."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed in take)

    def put(self, number: int, crop: NDArray[np.uint8]) -> None:
        self._file.seek(number * crop.size)
        self._file.write(crop.tobytes())

    def take(self, n_crops: int) -> NDArray[np.uint8]:
        self._file.truncate(n_crops * CROP * CROP)
        self._file.flush()
        with self._file:  # the array keeps its own hold on it
            return np.memmap(self._file, np.uint8, mode="c", shape=(n_crops, CROP, CROP))
