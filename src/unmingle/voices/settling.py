"""Who is really there: a first guess at the people of a recording, settled by looking for them in all of it.

The guess rests on the few seconds in which somebody was clearly alone. Again and again everybody is followed through
the recording and learnt anew from the looks at which he speaks alone; whoever hardly speaks is dropped, and two who by
then sound the same are joined, until nothing changes. Averages over many looks are compared, as directions: noise
makes single looks of one voice differ, and a room makes all voices alike, but hardly their averages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmingle.voices.encoder import Vectors, average
from unmingle.voices.looks import HOP_SECONDS, Looks
from unmingle.voices.turns import NOBODY, follow

SAME_VOICE = 0.65
"""Likeness of two people, learnt from all that they say, above which they are one."""

_LEAST_SECONDS, _LEAST_SHARE = 2.0, 0.05  # of all speech, that a person must have who was not announced ...
_LEAST_ANNOUNCED = 1.0  # ... and seconds of one who was
_ENOUGH = 2  # looks from which a voice can be learnt


def settle(looks: Looks, centres: Vectors, *, n_speakers: int | None, most: int) -> tuple[Vectors, NDArray[np.float64]]:
    """Find out which of the supposed people are there.

    Args:
        looks: what can be heard.
        centres: (k, 64) what they are supposed to sound like, k at least 1 and rather too large.
        n_speakers: how many there are, None when that is not known. There may still be fewer in the result.
        most: how many there can be at most.

    Returns:
        (k, 64) what they sound like, most speech first, and (k,) seconds for which each speaks alone.
    """
    while True:
        centres, seconds = _learn(looks, centres)
        fewer = _one_less(looks, centres, seconds, n_speakers=n_speakers, most=most)
        if fewer is None:
            order = np.argsort(-seconds, kind="stable")
            return centres[order], seconds[order]
        centres = fewer


def _learn(looks: Looks, centres: Vectors) -> tuple[Vectors, NDArray[np.float64]]:
    """The people as they sound where they are found alone, and for how many seconds that is."""
    course, _ = follow(looks, centres)
    alone = looks.heard & ((course != NOBODY).sum(axis=1) == 1)
    who = np.where(alone, course.max(axis=1), NOBODY)
    own = [who == person for person in range(len(centres))]
    learnt = [
        average(looks.mixture[mine]) if mine.sum() >= _ENOUGH else centre
        for mine, centre in zip(own, centres, strict=True)
    ]
    return np.stack(learnt), HOP_SECONDS * np.array([mine.sum() for mine in own], np.float64)


def _one_less(
    looks: Looks, centres: Vectors, seconds: NDArray[np.float64], *, n_speakers: int | None, most: int
) -> Vectors | None:
    """The people without one who hardly speaks, or with two joined; None when they may all stay."""
    if len(centres) <= (n_speakers or 1):
        return None
    rarest = int(np.argmin(seconds))
    needed = max(_LEAST_SECONDS, _LEAST_SHARE * HOP_SECONDS * float(looks.heard.sum()))
    if seconds[rarest] < (needed if n_speakers is None else _LEAST_ANNOUNCED):
        return np.delete(centres, rarest, axis=0)
    alike = centres @ centres.T
    np.fill_diagonal(alike, -np.inf)
    one, other = np.unravel_index(int(np.argmax(alike)), alike.shape)
    if alike[one, other] <= SAME_VOICE and len(centres) <= (n_speakers or most):
        return None
    joined = average((centres[[one, other]] * seconds[[one, other], np.newaxis]).astype(np.float32))
    return np.concatenate([np.delete(centres, [one, other], axis=0), joined[np.newaxis]])
