"""Which trails are faces worth naming, and what there is to say about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from unmingle.video.assembly import face_track, mean_eye_distance
from unmingle.video.tracking import Trail
from unmingle.video.tracks import CLOCK_RATE, FaceTrack

_LEAST_TICKS = 25  # a face is seen for at least a second in all
_LEAST_WIDTH = 40.0  # pixels, on average
_LEAST_EYES = 20.0  # pixels between the eyes below which a mouth crop is a blur
_MUCH_FILLED = 0.2
_CROSSING = 0.15  # intersection over union of two faces that may be confused
_ABOUT_A_SECOND = 25


def select_faces(
    trails: Sequence[Trail], n_frames: int, *, n_faces: int | None
) -> tuple[list[FaceTrack], list[Trail], list[str]]:
    """Name the faces from left to right.

    Args:
        trails: everything that was seen.
        n_frames: length of the clock, in ticks.
        n_faces: how many are wanted at most; None for all.

    Returns:
        Tracks, their trails, and warnings.
    """
    known = [trail for trail in trails if len(trail.ticks) >= _LEAST_TICKS]
    small = [trail for trail in known if trail.boxes[:, 2].mean() < _LEAST_WIDTH]
    large = sorted((trail for trail in known if trail not in small), key=lambda trail: -len(trail.ticks))
    chosen = sorted(large[:n_faces], key=_place)
    tracks = [face_track(f"face{number}", trail, n_frames) for number, trail in enumerate(chosen, start=1)]
    warnings = [*_about_number(trails, len(large), small, n_faces), *_about_faces(tracks, chosen), *_crossings(tracks)]
    return tracks, chosen, warnings


def _place(trail: Trail) -> float:
    return float((trail.boxes[:, 0] + trail.boxes[:, 2] / 2).mean())


def _about_number(trails: Sequence[Trail], n_found: int, small: Sequence[Trail], wanted: int | None) -> Iterator[str]:
    if small:
        widths = ", ".join(f"{trail.boxes[:, 2].mean():.0f}" for trail in small)
        yield (
            f"faces too small to follow were left out ({widths} pixels wide; at least {_LEAST_WIDTH:.0f} are needed): "
            "use a video of higher resolution, or cut out the part with the people"
        )
    if n_found == 0 and not small:
        brief = max((len(trail.ticks) for trail in trails), default=0) / CLOCK_RATE
        yield "no face was found" + (f" for as long as a second (the longest: {brief:.1f} s)" if brief else "")
    if wanted is not None and n_found > wanted:
        yield f"{n_found} faces are seen, {wanted} wanted: those seen longest were kept"
    if wanted is not None and n_found < wanted:
        yield f"{wanted} faces are wanted, but only {n_found} can be followed"


def _about_faces(tracks: Sequence[FaceTrack], trails: Sequence[Trail]) -> Iterator[str]:
    for track, trail in zip(tracks, trails, strict=True):
        eyes = mean_eye_distance(trail)
        if eyes < _LEAST_EYES:
            yield f"{track.name} is small (eyes {eyes:.0f} pixels apart): its mouth is a blur, so expect less of it"
        if track.interpolated_share > _MUCH_FILLED:
            yield f"{track.name} is often not seen clearly: {track.interpolated_share:.0%} of its frames are filled in"


def _crossings(tracks: Sequence[FaceTrack]) -> Iterator[str]:
    """Pairs that come so near to each other that they may have been exchanged."""
    for one, other in combinations(tracks, 2):
        crossing = _about_then(one.present & other.present) & (_overlap(one, other) > _CROSSING)
        if crossing.any():
            seconds = float(crossing.argmax()) / CLOCK_RATE
            yield (
                f"{one.name} and {other.name} cross at {seconds:.1f} s: look at their pictures, they may have been "
                "exchanged"
            )


def _about_then(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Ticks at which something is so, or was a second ago, or will be."""
    reach = np.ones(2 * _ABOUT_A_SECOND + 1)
    return np.convolve(seen, reach)[_ABOUT_A_SECOND:-_ABOUT_A_SECOND] > 0


def _overlap(one: FaceTrack, other: FaceTrack) -> NDArray[np.floating]:
    a, b = one.boxes, other.boxes
    ends = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    shared = np.clip(ends - np.maximum(a[:, :2], b[:, :2]), 0, None).prod(axis=1)
    return shared / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - shared)
