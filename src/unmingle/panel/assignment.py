"""Which voice belongs to which face: the assignment that mouths and voices agree with best, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""How well every face agrees with every voice, (n_faces, n_voices), in standard deviations of chance."""

Voices = tuple[int | None, ...]
"""Indices of voices, of none where there is None."""

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
    voices: list[int | None] = [None] * len(talking)
    confidence: list[float | None] = [None] * len(talking)
    for group in _groups(together):
        candidates = [face for face in group if talking[face]]
        choices: list[Voices] = [(*range(scores.shape[1]), None) for _ in candidates]
        rows, clashes = scores[candidates], together[np.ix_(candidates, candidates)]
        for index, (face, voice) in enumerate(zip(candidates, _solve(rows, clashes, choices)[1], strict=True)):
            voices[face] = voice
            if voice is not None:
                totals = [_solve(rows, clashes, _fixed(choices, index, other))[0] for other in choices[index]]
                odds = np.exp(certainty * (np.array(totals) - max(totals)))
                confidence[face] = float(odds[voice] / odds.sum())
    return Assignment(voices, confidence)


def _groups(together: NDArray[np.bool_]) -> list[list[int]]:
    """Faces whose voices depend on each other: seen together, or with somebody who is seen with the other."""
    left, groups = set(range(len(together))), list[list[int]]()
    while left:
        group = {min(left)}
        while grown := {int(face) for one in group for face in np.flatnonzero(together[one])} - group:
            group |= grown
        left -= group
        groups.append(sorted(group))
    return groups


def _fixed(choices: Sequence[Voices], face: int, voice: int | None) -> list[Voices]:
    return [(voice,) if index == face else choice for index, choice in enumerate(choices)]


def _solve(scores: Scores, together: NDArray[np.bool_], choices: Sequence[Voices]) -> tuple[float, Voices]:
    """Face by face, keeping the best beginnings -> (sum of scores, voices); minus infinity where nothing fits."""
    beginnings: list[tuple[float, Voices]] = [(0.0, ())]
    for face, choice in enumerate(choices):
        longer = [
            (total + (_NOBODY if voice is None else float(scores[face, voice])), (*before, voice))
            for total, before in beginnings
            for voice in choice
            if voice is None
            or all(other != voice or not together[face, earlier] for earlier, other in enumerate(before))
        ]
        beginnings = sorted(longer, key=lambda found: -found[0])[:_BEAM]
    return beginnings[0] if beginnings else (-np.inf, ())
