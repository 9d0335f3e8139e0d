"""Keeping voices apart over time: level of a window's estimates, order of its tracks, agreement between windows."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.inference.voices import State, VoiceProfiles

_RIDGE = 0.05  # share of the estimates' energy that holds each track's gain near the common one
_LARGEST_CORRECTION = 4.0  # of one track's gain against the common one (12 dB)
_QUIET_OVERLAP = 0.03  # energy, relative to the window's average, below which an overlap is a pause and decides less
_VOICE_WEIGHT = 0.3  # of what voices sound like, against what the overlap says; the overlap rules where it is loud


def fit_levels(estimates: Samples, mixture: Samples) -> Samples:
    """Scale the estimates so that their sum explains the mixture; (n_src, time) and (time,).

    Networks trained on scale-invariant losses may answer at any level and with reversed polarity. Least squares finds
    the gains; the ridge keeps it from blowing up a track that is empty or a copy of another.
    """
    exact = estimates.astype(np.float64)
    target = mixture.astype(np.float64)
    towards = exact @ target
    energies = np.einsum("st,st->s", exact, exact)
    signs = np.where(towards < -0.1 * np.sqrt(energies * (target @ target)), -1.0, 1.0)
    exact *= signs[:, np.newaxis]
    total = exact.sum(axis=0)
    common = float(total @ target) / max(float(total @ total), 1e-12)
    ridge = _RIDGE * max(float(energies.sum()), 1e-12)
    gram = exact @ exact.T + ridge * np.eye(len(exact))
    gains = np.linalg.solve(gram, exact @ target + ridge * common)
    gains = np.clip(gains, common / _LARGEST_CORRECTION, common * _LARGEST_CORRECTION) if common > 0 else gains * 0 + 1
    return (exact * gains[:, np.newaxis]).astype(np.float32)


class TrackMatcher:
    """Puts the tracks of each window into the order of the tracks before it.

    Two kinds of evidence are added for every permutation: the inner products of old and new tracks where the windows
    overlap, which is all but certain whenever anybody speaks there (one silent speaker does no harm: the order that
    keeps the other one on his track wins); and, for overlaps in a pause, how much each new track sounds like the voice
    that the old track had so far.
    """

    def __init__(self, n_src: int, sample_rate: int) -> None:
        """Start without any knowledge of the voices."""
        self._voices = VoiceProfiles(n_src, sample_rate)

    def match(self, before: Samples, estimates: Samples) -> list[int]:
        """The order such that `estimates[order]` continues `before`.

        Args:
            before: (n_src, overlap) tracks so far.
            estimates: (n_src, time) tracks of the new window, which begins where `before` does.
        """
        return best_order(overlap_likeness(before, estimates) + _VOICE_WEIGHT * self._voices.likeness(estimates))

    def learn(self, estimates: Samples) -> None:
        """Remember what the voices sound like, from (n_src, time) tracks in their final order."""
        self._voices.learn(estimates)

    def state(self) -> State:
        """All that was learnt."""
        return self._voices.state()

    def restore(self, state: State) -> None:
        """Know what `state` said."""
        self._voices.restore(state)


def overlap_likeness(before: Samples, estimates: Samples) -> NDArray[np.float64]:
    """(n_src, n_src): how much of the overlap's energy old track i and new track j share, -1..1; near 0 in a pause."""
    overlap = before.shape[1]
    old, new = before.astype(np.float64), estimates[:, :overlap].astype(np.float64)
    energy = max(float(np.square(old).sum()), float(np.square(new).sum()))
    expected = float(np.square(estimates, dtype=np.float64).sum()) * overlap / estimates.shape[1]
    return old @ new.T / max(energy, _QUIET_OVERLAP * expected, 1e-12)


def best_order(likeness: NDArray[np.float64]) -> list[int]:
    """The order of new tracks that is most like the old ones; (n_src, n_src), old tracks down, new ones across."""
    tracks = range(len(likeness))
    return list(max(itertools.permutations(tracks), key=lambda order: sum(likeness[i, order[i]] for i in tracks)))


class Agreement:
    """How alike two looks at the same sound were, per track and weighted by energy."""

    def __init__(self, n_src: int) -> None:
        """Nothing compared yet."""
        self._shared = np.zeros(n_src)
        self._energy = np.zeros(n_src)

    def add(self, first: Samples, second: Samples) -> None:
        """Compare (n_src, time) tracks of the same stretch, in the same order."""
        one, other = first.astype(np.float64), second.astype(np.float64)
        self._shared += 2.0 * np.einsum("st,st->s", one, other)
        self._energy += np.einsum("st,st->s", one, one) + np.einsum("st,st->s", other, other)

    def state(self) -> State:
        """All that was added up."""
        return {"shared": self._shared, "energy": self._energy}

    def restore(self, state: State) -> None:
        """Go on from what `state` said."""
        self._shared, self._energy = state["shared"].copy(), state["energy"].copy()

    def confidence(self) -> list[float | None]:
        """Per track: 1 when both looks were equal, 0 when nothing was in common, None without anything to compare."""
        return [
            None if energy <= 0.0 else float(np.clip(shared / energy, 0.0, 1.0))
            for shared, energy in zip(self._shared, self._energy, strict=True)
        ]
