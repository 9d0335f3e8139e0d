"""When a face is heard: stretches of time, and the gains that fade them in and out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples, runs_of_true
from unmingle.video.tracks import CLOCK_RATE, FaceTrack

Stretch = tuple[float, float]
"""From when to when, in seconds; infinite where there is no fade."""

_FADE_SECONDS = 0.02


def gain(stretches: Sequence[Stretch], *, start: int, length: int, sample_rate: int) -> Samples:
    """1 inside the stretches, 0 outside, and a straight line through one half at every edge; (length,).

    Where one list of stretches ends and another begins, their gains sum to one.

    Args:
        stretches: in order, apart from each other by the length of a fade at least.
        start: first sample that is asked for.
        length: how many samples.
        sample_rate: Hz.
    """
    time = (start + np.arange(length)) / sample_rate
    total = np.zeros(length)
    for begin, end in stretches:
        rise = np.clip((time - begin) / _FADE_SECONDS + 0.5, 0.0, 1.0)
        total += rise * np.clip((end - time) / _FADE_SECONDS + 0.5, 0.0, 1.0)
    return total.astype(np.float32)


def as_stretches(wanted: NDArray[np.bool_]) -> list[Stretch]:
    """The stretches that (n_ticks,) booleans mean; what touches the first or the last tick has no end there."""
    return [
        (-np.inf if begin == 0 else begin / CLOCK_RATE, np.inf if end == len(wanted) else end / CLOCK_RATE)
        for begin, end in runs_of_true(wanted)
    ]


def share_out(faces: Sequence[FaceTrack]) -> list[list[Stretch]]:
    """Divide all time between faces that are never seen together and have one voice: one person in several shots.

    Every moment goes to the face that is seen, else to the one that was seen last, and before that to the first.
    """
    seen = np.stack([face.present for face in faces])
    last = np.maximum.accumulate(np.where(seen, np.arange(seen.shape[1]), -1), axis=1)  # (n_faces, n_ticks)
    owner = np.argmax(last, axis=0)
    before = last.max(axis=0) < 0
    owner[before] = owner[np.count_nonzero(before) % len(owner)]
    return [as_stretches(owner == index) for index in range(len(faces))]


def owned(stretches: Sequence[Stretch], n_ticks: int) -> NDArray[np.bool_]:
    """(n_ticks,): whether each tick lies in one of the stretches."""
    time = np.arange(n_ticks) / CLOCK_RATE
    inside = [(begin <= time) & (time < end) for begin, end in stretches]
    return np.logical_or.reduce(inside) if inside else np.zeros(n_ticks, np.bool_)
