"""Which voice belongs to which face: the assignment that mouths and voices agree with best, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""How well every face agrees with every voice, (n_faces, n_voices), in standard deviations of chance."""

_NOBODY = -2.0  # score of a face without a voice: it gets one unless that clearly contradicts its mouth
_BEAM = 200  # assignments that are followed at once: all there are, for as many as five faces and two voices


@dataclass(frozen=True)
class Assignment:
    """Who speaks with which voice.

    Attributes:
        voices: per face the index of its voice, or None.
        confidence: per face, 0..1, how probable this voice is against every other one and against none; None for a face
            without a voice.
    """

    voices: list[int | None]
    confidence: list[float | None]


def assign(scores: Scores, together: NDArray[np.bool_], *, talking: Sequence[bool], certainty: float) -> Assignment:
    """Find the best assignment.

    Faces that are seen together have different voices. Faces that never are may share one: they may be one person in
    several shots.

    Args:
        scores: (n_faces, n_voices).
        together: (n_faces, n_faces), who is ever seen with whom.
        talking: per face whether its mouth moves at all; one that does not gets no voice.
        certainty: log odds per unit of score, as measured.
    """
    n_voices = scores.shape[1]
    choices: list[list[int | None]] = [[*range(n_voices), None] if talks else [None] for talks in talking]
    best = _solve(scores, together, choices)
    confidence: list[float | None] = []
    for face, voice in enumerate(best):
        if voice is None:
            confidence.append(None)
            continue
        totals = [_total(scores, _solve(scores, together, _fixed(choices, face, v))) for v in (*range(n_voices), None)]
        odds = np.exp(certainty * (np.array(totals) - max(totals)))
        confidence.append(float(odds[voice] / odds.sum()))
    return Assignment(best, confidence)


def _fixed(choices: list[list[int | None]], face: int, voice: int | None) -> list[list[int | None]]:
    return [[voice] if index == face else choice for index, choice in enumerate(choices)]


def _solve(scores: Scores, together: NDArray[np.bool_], choices: list[list[int | None]]) -> list[int | None]:
    """Face by face, keeping the best beginnings."""
    beginnings: list[list[int | None]] = [[]]
    for face, choice in enumerate(choices):
        longer = [
            [*before, voice]
            for before in beginnings
            for voice in choice
            if voice is None
            or all(other != voice or not together[face, earlier] for earlier, other in enumerate(before))
        ]
        # A face whose voice is fixed may clash with all beginnings that are left; then it stays without.
        longer = longer or [[*before, None] for before in beginnings]
        longer.sort(key=lambda voices: -_total(scores, voices))
        beginnings = longer[:_BEAM]
    return beginnings[0]


def _total(scores: Scores, voices: Sequence[int | None]) -> float:
    return sum(_NOBODY if voice is None else float(scores[face, voice]) for face, voice in enumerate(voices))
