"""What is known of the faces of a video: who is seen when, where, and how far the mouth is open."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import runs_of_true

CLOCK_RATE = 25.0
"""Ticks per second of the clock that faces are kept on; tick 0 is the first sample of the sound."""


@dataclass(frozen=True)
class FaceTrack:
    """One face through a whole video, on the 25 Hz clock.

    Attributes:
        name: `face1`, `face2`, ... from left to right by mean centre.
        present: (n_frames,) whether the face is seen. Losses of at most 0.4 s are bridged and count as seen.
        boxes: (n_frames, 4) x, y, width, height in pixels of the upright picture. Where the face is absent, the last
            valid box; before the first, the first.
        mouth_opening: (n_frames,) gap between the inner lips over the distance of the eyes; NaN where absent, and
            everywhere when only the coarse detector was there.
        mouths: (n_frames, 4) the square that a mouth crop shows: centre x, centre y and side in pixels, and angle in
            degrees (positive: the face leans clockwise). Held like `boxes` where absent.
        crops: (n_frames, 96, 96) gray mouth crops as lip-reading networks are trained on, read from a temporary file
            as they are needed; zeros where absent. None when they were not asked for.
        interpolated_share: share of the present frames whose box or mouth was filled in between neighbours, 0..1.
    """

    name: str
    present: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    mouth_opening: NDArray[np.float32]
    mouths: NDArray[np.float32]
    crops: NDArray[np.uint8] | None = None
    interpolated_share: float = 0.0

    @property
    def intervals(self) -> list[tuple[float, float]]:
        """When the face is seen: (start, end) in seconds, in order."""
        return [(start / CLOCK_RATE, end / CLOCK_RATE) for start, end in runs_of_true(self.present)]

    @property
    def seconds(self) -> float:
        """How long the face is seen in all."""
        return float(np.count_nonzero(self.present)) / CLOCK_RATE


@dataclass(frozen=True)
class FaceReport:
    """The faces of a video.

    Attributes:
        tracks: from left to right; empty when nobody is seen.
        duration: seconds of the clock: until sound and picture have both ended. Every track has
            `round(25 * duration)` frames.
        picture: (width, height) of the upright picture, with square pixels.
        shots: times of cuts, seconds.
        warnings: sentences about what the user should look at.
        thumbnails: (height, width, 3) uint8 RGB, the best view of each track, in the order of `tracks`.
    """

    tracks: list[FaceTrack]
    duration: float
    picture: tuple[int, int]
    shots: list[float] = field(default_factory=list[float])
    warnings: list[str] = field(default_factory=list[str])
    thumbnails: list[NDArray[np.uint8]] = field(default_factory=list[NDArray[np.uint8]])

    @property
    def n_frames(self) -> int:
        """Length of every track, in ticks of the clock."""
        return round(self.duration * CLOCK_RATE)
