"""What can be heard of the voices in separated tracks, every half second: vectors, powers, and whether anybody speaks.

A look is centred on its half second and 1.6 s long. The sum of all tracks is looked at wherever there is speech; a
single track only where it is not drowned by another one, for there it says nothing and costs as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples, fit_length
from unmingle.audio.resample import resample
from unmingle.voices.encoder import PARTIAL_SECONDS, Vectors, embed_stretches
from unmingle.voices.mel import SAMPLE_RATE

HOP_SECONDS = 0.5
"""From one look to the next."""

TICKS = 5
"""Parts of a look's half second in which powers are measured."""

_CHUNK = 60  # looks that are taken at once
_DROWNED_DB = 15.0
_SPEECH_SHARE = 0.4  # of its half second, that a look needs

Read = Callable[[int, int], Samples]
"""(n_src, stop - start) tracks between two samples, zero beyond the ends."""


@dataclass(frozen=True)
class Looks:
    """Everything that the decisions about identity rest on.

    Attributes:
        mixture: (n, 64) vectors of the sum of all tracks; zero where nobody speaks.
        tracks: (n_src, n, 64) vectors of the tracks; zero where a track is drowned.
        powers: (n_src, n * TICKS) mean squares.
        speech: (n * TICKS,) whether anybody speaks.
    """

    mixture: Vectors
    tracks: NDArray[np.float32]
    powers: NDArray[np.float64]
    speech: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """How many looks."""
        return len(self.mixture)

    @property
    def heard(self) -> NDArray[np.bool_]:
        """(n,) whether there is speech enough to look at."""
        return np.any(self.mixture != 0.0, axis=1)


def look(
    read: Read,
    n_samples: int,
    *,
    sample_rate: int,
    speech: NDArray[np.bool_],
    vectors: bool = True,
    tell: Callable[[float], None] | None = None,
) -> Looks:
    """Go through separated tracks once.

    Args:
        read: gives the tracks.
        n_samples: their length.
        sample_rate: Hz.
        speech: (ticks,) whether anybody speaks, as `activity.SpeechFinder` found.
        vectors: make them; without, which is much faster, all are zero.
        tell: called with the share that is done, 0..1.
    """
    hop = round(HOP_SECONDS * sample_rate)
    n = max(1, -(-n_samples // hop))
    speech = np.pad(speech[: n * TICKS], (0, max(0, n * TICKS - len(speech))))
    edges = [*range(0, n, _CHUNK), n]
    powers = np.concatenate([_powers(read(a * hop, b * hop), hop) for a, b in pairwise(edges)], axis=1)
    wanted = _wanted(levels_db(powers), speech) & vectors
    found: list[NDArray[np.float32]] = []
    for a, b in pairwise(edges):
        found.append(_vectors(read, a, b, wanted[:, a:b], sample_rate))
        if tell is not None:
            tell(b / n)
    mixture, *tracks = np.concatenate(found, axis=1)
    return Looks(mixture, np.stack(tracks), powers, speech)


def levels_db(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_src, n * TICKS) -> (n_src, n) level of each track over a look, relative to the strongest one: 0 at most."""
    steps = powers.reshape(len(powers), -1, TICKS).mean(axis=2)
    padded = np.pad(steps, ((0, 0), (1, 1)), mode="edge")
    level = 10.0 * np.log10(padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:] + 1e-12)
    return level - level.max(axis=0, keepdims=True)


def _powers(tracks: Samples, hop: int) -> NDArray[np.float64]:
    """(n_src, looks * hop) -> (n_src, looks * TICKS)."""
    tick = hop // TICKS
    cut = tracks.reshape(len(tracks), -1, hop)[:, :, : tick * TICKS]
    return np.square(cut.reshape(len(tracks), -1, tick), dtype=np.float64).mean(axis=2)


def _wanted(levels: NDArray[np.float64], speech: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(1 + n_src, n) which vectors are worth their time: of the mixture, and of each track."""
    heard = speech.reshape(-1, TICKS).mean(axis=1) >= _SPEECH_SHARE
    audible = levels > -_DROWNED_DB
    return np.concatenate([heard[np.newaxis], heard & audible & (audible.sum(axis=0) > 1)])


def _vectors(read: Read, first: int, last: int, wanted: NDArray[np.bool_], sample_rate: int) -> NDArray[np.float32]:
    """(1 + n_src, last - first, 64): the mixture and the tracks, zero where they are not wanted."""
    found = np.zeros((*wanted.shape, 64), np.float32)
    if not wanted.any():
        return found
    hop, length = round(HOP_SECONDS * sample_rate), round(PARTIAL_SECONDS * sample_rate)
    begin = first * hop - (length - hop) // 2
    tracks = read(begin, begin + (last - first - 1) * hop + length)
    heard = resample(
        np.concatenate([tracks.sum(axis=0)[np.newaxis], tracks]), from_rate=sample_rate, to_rate=SAMPLE_RATE
    )
    step, length = round(HOP_SECONDS * SAMPLE_RATE), round(PARTIAL_SECONDS * SAMPLE_RATE)
    heard = fit_length(heard, (last - first - 1) * step + length)
    stretches = np.lib.stride_tricks.sliding_window_view(heard, length, axis=1)[:, ::step]
    found[wanted] = embed_stretches(stretches[wanted])
    return found
