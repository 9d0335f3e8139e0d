"""How many people speak, and what each of them sounds like.

Stretches that one voice dominates are cut into segments, and segments are joined to groups, rather too many than too
few. These few seconds say roughly who is there; then everybody is looked for in the whole recording and learnt again
from what is found (`settling.py`), which joins groups of one person and drops those that hold nobody. Groups are
compared by the average over all pairs, so that one odd segment joins nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmingle.voices.encoder import Vectors, average
from unmingle.voices.looks import HOP_SECONDS, Looks, levels_db
from unmingle.voices.settling import settle

_SURELY_SAME = 0.55  # average likeness above which two groups of segments are one person's, even before a second look
_DOMINANT_DB = 9.0  # by which a track exceeds the others where one voice is alone
_STEADY = 0.5  # likeness of neighbouring looks inside a segment
_LONGEST, _SHORTEST = 8, 2  # looks in a segment
_FINER = 0.04  # step of likeness in which a person who is known to be there is looked for
_ENOUGH = 2  # segments in which somebody speaks alone; with fewer, the tracks have to do:
_LEAKAGE_DB, _OTHER_VOICE, _COPY = -4.0, 0.35, 0.85  # a track so far below the loudest and so like it is no voice
_MOST_SEGMENTS = 700  # more are not compared; those that are, are spread over the recording
_LEAST_SECONDS, _LEAST_SHARE = 1.0, 0.02  # of all segments, that a group must have
_MOST_GROUPS = 12  # before it is settled who is there


@dataclass(frozen=True)
class Voices:
    """The people of a recording.

    Attributes:
        centres: (k, 64) what they sound like, most speech first.
        seconds: (k,) how much speech each rests on.
        alone: whether they were heard alone; else only in tracks that may be mixed up.
    """

    centres: Vectors
    seconds: NDArray[np.float64]
    alone: bool

    def __len__(self) -> int:
        """How many people."""
        return len(self.centres)


def find_voices(looks: Looks, *, n_speakers: int | None = None, most: int = 8) -> Voices:
    """Find the people of a recording.

    Args:
        looks: what can be heard of them.
        n_speakers: how many there are; None to find that out. There may still be fewer in the result.
        most: how many there can be at most.
    """
    segments, seconds = _segments(looks)
    if len(seconds) < _ENOUGH:
        return _always_together(looks, most=n_speakers or most)
    chosen = np.unique(np.linspace(0, len(seconds) - 1, min(len(seconds), _MOST_SEGMENTS)).astype(int))
    vectors, weights = segments[chosen], seconds[chosen]
    groups = _group(vectors, weights, least=n_speakers or 1, most=max(_MOST_GROUPS, n_speakers or most))
    centres = np.stack([average((vectors[group] * weights[group, np.newaxis]).astype(np.float32)) for group in groups])
    centres, totals = settle(looks, centres, n_speakers=n_speakers, most=most)
    return Voices(centres, totals, alone=True)


def _always_together(looks: Looks, *, most: int) -> Voices:
    """Voices that are never alone, one per track; or a single one, when the other tracks are only its leakage."""
    if not looks.heard.any():
        return Voices(np.zeros((0, 64), np.float32), np.zeros(0), alone=False)
    seconds = HOP_SECONDS * float(looks.heard.sum())
    one = average(looks.mixture)
    centres = np.stack([average(track) for track in looks.tracks])
    levels = np.median(levels_db(looks.powers)[:, looks.heard], axis=1)
    strongest = int(np.argmax(levels))
    alike = centres @ centres[strongest]
    own = ((levels > _LEAKAGE_DB) & (alike < _COPY)) | (alike < _OTHER_VOICE)
    own &= np.any(centres != 0.0, axis=1)
    own[strongest] = True
    if own.sum() < 2 or most < 2:
        return Voices(one[np.newaxis], np.array([seconds]), alone=False)
    kept = np.flatnonzero(own)[:most]
    return Voices(centres[kept], np.full(len(kept), seconds), alone=False)


def _segments(looks: Looks) -> tuple[Vectors, NDArray[np.float64]]:
    """Vectors of stretches in which one voice speaks alone, and their seconds."""
    levels = levels_db(looks.powers)
    ranked = np.sort(levels, axis=0)
    clear = ranked[-1] - ranked[-2] >= _DOMINANT_DB if len(ranked) > 1 else np.ones(looks.n, np.bool_)
    return _cut(looks.mixture, np.where(looks.heard & clear, np.argmax(levels, axis=0), -1))


def _cut(vectors: Vectors, label: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.float64]]:
    """Averages of runs of one label (not -1) that sound alike from look to look."""
    averages: list[NDArray[np.float32]] = []
    lengths: list[int] = []
    start = 0
    for end in range(1, len(label) + 1):
        goes_on = (
            end < len(label)
            and label[end] == label[end - 1] >= 0
            and end - start < _LONGEST
            and vectors[end] @ vectors[end - 1] > _STEADY
        )
        if not goes_on:
            if label[start] >= 0 and end - start >= _SHORTEST:
                averages.append(average(vectors[start:end]))
                lengths.append(end - start)
            start = end
    stacked = np.stack(averages) if averages else np.zeros((0, vectors.shape[1]), np.float32)
    return stacked, HOP_SECONDS * np.array(lengths, np.float64)


def _group(vectors: Vectors, weights: NDArray[np.float64], *, least: int, most: int) -> list[NDArray[np.int64]]:
    """Groups of indices, largest first; where they are fewer than `least`, those that finer distinctions bring."""
    usual = _join(vectors, weights, same=_SURELY_SAME, most=most)
    for same in np.arange(_SURELY_SAME, 1.0, _FINER)[1:] if len(usual) < least else ():
        groups = _join(vectors, weights, same=float(same), most=most)
        if len(groups) >= least:
            return groups
    return usual


def _join(vectors: Vectors, weights: NDArray[np.float64], *, same: float, most: int) -> list[NDArray[np.int64]]:
    """Groups of indices, largest first: joined until groups differ, and on until at most `most` are large enough."""
    groups = [[index] for index in range(len(vectors))]
    alive = weights.copy()
    alike = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(alike, -np.inf)
    needed = max(_LEAST_SECONDS, _LEAST_SHARE * float(weights.sum()))

    def large() -> int:
        return int((alive >= needed).sum())

    while len(vectors) > 1:
        one, other = divmod(int(np.argmax(alike)), len(vectors))
        likeness = alike[one, other]
        if likeness == -np.inf or (likeness < same and large() <= most):
            break
        merged = (alive[one] * alike[one] + alive[other] * alike[other]) / (alive[one] + alive[other])
        alike[one], alike[:, one], alike[one, one] = merged, merged, -np.inf
        alike[other], alike[:, other] = -np.inf, -np.inf
        alive[one] += alive[other]
        alive[other] = 0.0
        groups[one] += groups[other]
    kept = [index for index in np.argsort(-alive, kind="stable") if alive[index] >= needed]
    kept = kept or [int(np.argmax(alive))] if len(vectors) else []
    return [np.array(groups[index]) for index in kept[:most]]
