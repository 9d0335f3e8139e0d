"""Who speaks when, and on which track: the most likely course of a whole conversation.

At every look a state says which track carries which person, or nobody. A state is likely when the tracks (or, where
one person speaks alone, their sum) sound like these persons, and when the tracks are as loud as it says. Going from one
state to another costs something, most of all when two people change places between tracks while both speak. Viterbi's
algorithm finds the course that is best altogether.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from unmingle.voices.encoder import Vectors
from unmingle.voices.looks import Looks, levels_db

NOBODY = -1

_LIKENESS = 20.0  # weight of what voices sound like
_AUDIBLE_DB, _SOFTNESS_DB, _CLEAREST = -9.0, 4.0, 2.0  # a track this much below the loudest may be leakage or a voice
_CHANGE = 2.0  # cost of any change of who speaks
_MOVE = 3.0  # cost of a person who goes on speaking on another track
_STRANGER = 0.2  # likeness of many pairs of different people
_MOST_STATES = 150


def follow(looks: Looks, centres: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The course of a conversation.

    Args:
        looks: what can be heard.
        centres: (k, 64) what the k people sound like, k at least 1.

    Returns:
        (n, n_src) the person on every track, or `NOBODY`; and (n,) how much more like that person than like anybody
        else the speech is.
    """
    states = _states(len(looks.tracks), len(centres))
    scores = _scores(looks, centres, states)
    path = _best_path(scores, _costs(states))
    return states[path], _margins(looks, centres, states[path])


def _states(n_src: int, k: int) -> NDArray[np.int64]:
    """(states, n_src): every way to put different people on tracks, at least one; few at once when there are many."""
    every = [one for one in product(range(NOBODY, k), repeat=n_src) if _is_possible(one)]
    for together in range(n_src, 0, -1):
        kept = [one for one in every if sum(person != NOBODY for person in one) <= together]
        if len(kept) <= _MOST_STATES or together == 1:
            return np.array(kept)
    raise AssertionError("n_src is at least 1")


def _is_possible(people: tuple[int, ...]) -> bool:
    present = [person for person in people if person != NOBODY]
    return 0 < len(present) == len(set(present))


def _scores(looks: Looks, centres: Vectors, states: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, states); 0 for all where nobody speaks."""
    alone, likeness = looks.mixture @ centres.T, looks.tracks @ centres.T  # (n, k), (n_src, n, k)
    drowned = ~np.any(looks.tracks != 0.0, axis=2)
    likeness = np.where(drowned[..., np.newaxis], 0.0, likeness)
    loud = np.clip((levels_db(looks.powers) - _AUDIBLE_DB) / _SOFTNESS_DB, -_CLEAREST, _CLEAREST)
    scores = np.zeros((looks.n, len(states)))
    for index, state in enumerate(states):
        present = np.flatnonzero(state != NOBODY)
        if len(present) == 1:
            similar = alone[:, state[present[0]]]
        else:
            similar = np.mean([likeness[track, :, state[track]] for track in present], axis=0)
        scores[:, index] = _LIKENESS * similar + np.where(state[:, np.newaxis] != NOBODY, loud, -loud).sum(axis=0)
    return scores * looks.heard[:, np.newaxis]


def _costs(states: NDArray[np.int64]) -> NDArray[np.float64]:
    """(states before, states after)."""
    before, after = states[:, np.newaxis], states[np.newaxis]
    changed = np.any(before != after, axis=2)
    moved = np.zeros(changed.shape)
    for track in range(states.shape[1]):
        person = after[..., track]
        elsewhere = np.any((before == person[..., np.newaxis]) & (np.arange(states.shape[1]) != track), axis=2)
        moved += (person != NOBODY) & elsewhere
    return _CHANGE * changed + _MOVE * moved


def _best_path(scores: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.int64]:
    n, n_states = scores.shape
    came_from = np.zeros((n, n_states), np.int16)
    total = scores[0].copy()
    for step in range(1, n):
        through = total[:, np.newaxis] - costs
        came_from[step] = np.argmax(through, axis=0)
        total = through[came_from[step], np.arange(n_states)] + scores[step]
    path = np.zeros(n, np.int64)
    path[-1] = int(np.argmax(total))
    for step in range(n - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path


def _margins(looks: Looks, centres: Vectors, course: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) by how much whoever speaks is more like that person than like the best other one, or a stranger."""
    margins = np.full(looks.n, np.inf)
    several = ((course != NOBODY).sum(axis=1) > 1)[:, np.newaxis]
    rows = np.arange(looks.n)
    for track in range(course.shape[1]):
        likeness = np.where(several, looks.tracks[track], looks.mixture) @ centres.T
        person = course[:, track]
        mine = likeness[rows, person].copy()
        likeness[rows, person] = _STRANGER
        margin = mine - np.maximum(likeness.max(axis=1), _STRANGER)
        margins = np.where(person != NOBODY, np.minimum(margins, margin), margins)
    return margins
