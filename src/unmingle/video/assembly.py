"""From trails to face tracks: gaps filled, doubtful landmarks replaced, mouths placed, on every tick of the clock."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import runs_of_true
from unmingle.video.detection import Floats
from unmingle.video.mesh import eye_distance, mouth_opening
from unmingle.video.mouth import believable, mouth_squares, squares_from_boxes
from unmingle.video.tracking import Trail
from unmingle.video.tracks import FaceTrack

LONGEST_BRIDGE = 10
"""Ticks that a face may be lost and still counts as seen: 0.4 s."""


def face_track(name: str, trail: Trail, n_frames: int) -> FaceTrack:
    """The track of one person.

    Args:
        name: of the face.
        trail: what was seen.
        n_frames: length of the clock, in ticks.
    """
    ticks, seen_boxes, seen_points = np.array(trail.ticks), trail.boxes, trail.points
    present, boxes = _bridged(ticks, seen_boxes, n_frames)
    sure = believable(seen_points, seen_boxes)
    opening = np.full(n_frames, np.nan, np.float32)
    mouths = squares_from_boxes(boxes)
    for start, end in runs_of_true(present):
        inside = sure & (ticks >= start) & (ticks < end)
        if inside.any():
            points = _interpolated(ticks[inside], seen_points[inside], np.arange(start, end))
            mouths[start:end] = mouth_squares(points)
            opening[start:end] = mouth_opening(points)
    seen = int(np.count_nonzero(sure)) if sure.any() else len(ticks)
    return FaceTrack(
        name=name,
        present=present,
        boxes=boxes,
        mouth_opening=opening,
        mouths=held(mouths, present),
        interpolated_share=1.0 - seen / int(np.count_nonzero(present)),
    )


def mean_eye_distance(trail: Trail) -> float:
    """Pixels; NaN when no landmarks were found."""
    known = eye_distance(trail.points)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")


def held(values: Floats, present: NDArray[np.bool_]) -> Floats:
    """(n, k) values with those of absent frames replaced by the last present one, and by the first before it."""
    places = np.maximum.accumulate(np.where(present, np.arange(len(present)), -1))
    return values[np.where(places < 0, int(present.argmax()), places)]


def _bridged(ticks: NDArray[np.int_], boxes: Floats, n_frames: int) -> tuple[NDArray[np.bool_], Floats]:
    """Whether the face counts as seen, and its box, at every tick."""
    present = np.zeros(n_frames, np.bool_)
    present[ticks] = True
    for before, after in pairwise(ticks.tolist()):
        if after - before - 1 <= LONGEST_BRIDGE:
            present[before:after] = True
    return present, held(_interpolated(ticks, boxes, np.arange(n_frames)), present)


def _interpolated(ticks: NDArray[np.int_], values: Floats, wanted: NDArray[np.int_]) -> Floats:
    """Values between those that are known, the first and last held beyond them: (m, ...) -> (n, ...)."""
    columns = values.reshape(len(values), -1).T
    filled = np.stack([np.interp(wanted, ticks, column) for column in columns], axis=1)
    return filled.reshape(len(wanted), *values.shape[1:]).astype(np.float32)
