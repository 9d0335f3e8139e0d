"""How well a mouth and a voice agree over time.

A mouth opens a little before its voice gets loud, and moves while its voice is the one that is heard. Two signals of
each face are compared with how far each track stands out of the others, tick by tick:

    gesture     log opening and its change two ticks before, without what is slower than a syllable
    liveliness  how much the mouth moves around a tick: who has the turn

What a correlation is worth depends on how many independent ticks it was measured over, so every one becomes a number
of standard deviations that chance would need (Fisher's transform, with Bartlett's count of independent ticks). Their
weighted sum is the score. Short looks then weigh little by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.panel.clock import Powers
from unmingle.video.tracks import FaceTrack

Signal = NDArray[np.float64]
"""(n_ticks,) values, NaN where the mouth was not seen."""

_SMALLEST_OPENING = 0.02  # of the distance of the eyes; landmarks of closed lips jitter below
_LEAD_TICKS = 2
_SYLLABLE_TICKS = 9
_LIVELY_TICKS = 13
_TURN_WEIGHT = 0.5  # of liveliness: people who listen move their mouths too
_FAINTEST = 1e-3  # power relative to the loud parts of all tracks together, below which tracks are equally silent
_LONGEST_MEMORY = 25  # ticks over which neighbouring values are taken to depend on each other
_FEWEST_TICKS = 25
_STILL = 0.008  # standard deviation of the opening over a second, that jitter of landmarks stays below


def score(faces: Sequence[FaceTrack], powers: Powers) -> NDArray[np.float64]:
    """How well every face agrees with every track, (n_faces, n_tracks), in standard deviations of chance.

    Args:
        faces: with their mouths.
        powers: (n_tracks, n_ticks) of the tracks, at least two.
    """
    turns = prominence(powers)
    syllables = np.array([_quick(turn) for turn in turns])
    scores = np.zeros((len(faces), len(powers)))
    for row, face in zip(scores, faces, strict=True):
        gestures, lively = gesture(face), liveliness(face)
        row += [significance(gestures, voice) for voice in syllables]
        row += [_TURN_WEIGHT * significance(lively, voice) for voice in turns]
    return scores


def prominence(powers: Powers) -> NDArray[np.float64]:
    """How far every track stands out of the others, (n_tracks, n_ticks), in powers of ten."""
    floor = _FAINTEST * float(np.percentile(powers.sum(axis=0), 95)) + 1e-20
    others = powers.sum(axis=0, keepdims=True) - powers
    return np.log10(powers + floor) - np.log10(others + floor)


def gesture(face: FaceTrack) -> Signal:
    """How a mouth opens, syllable by syllable; no unit."""
    opening = _log_opening(face)
    change = np.full_like(opening, np.nan)
    change[_LEAD_TICKS + 1 :] = opening[_LEAD_TICKS - 1 : -2] - opening[: -_LEAD_TICKS - 1]
    return _quick(_standard(opening) + _standard(change))


def liveliness(face: FaceTrack) -> Signal:
    """How much a mouth moves around each tick; no unit."""
    change = np.abs(np.diff(_log_opening(face), append=np.nan))
    known = np.isfinite(change)
    counts, sums = _around(known, _LIVELY_TICKS), _around(np.where(known, change, 0.0), _LIVELY_TICKS)
    return np.where(known & (counts > 0), sums / np.maximum(counts, 1), np.nan)


def talks(face: FaceTrack) -> bool | None:
    """Whether a mouth ever moves as mouths do that talk; None where it cannot be told."""
    opening = face.mouth_opening[face.present & np.isfinite(face.mouth_opening)].astype(np.float64)
    if len(opening) < _FEWEST_TICKS:
        return None
    seconds = [opening[start : start + 25] for start in range(0, len(opening) - 24, 12)]
    return max(float(np.std(second)) for second in seconds) > _STILL


def significance(one: Signal, other: Signal) -> float:
    """Correlation where both are known, in standard deviations of the correlation of unrelated signals."""
    known = np.isfinite(one) & np.isfinite(other)
    n = int(known.sum())
    if n < _FEWEST_TICKS:
        return 0.0
    x, y = _centred(one[known]), _centred(other[known])
    scale = float(np.sqrt((x @ x) * (y @ y)))
    if scale <= 0.0:
        return 0.0
    correlation = float(np.clip(x @ y / scale, -0.999, 0.999))
    memory = min(_LONGEST_MEMORY, n - 1)
    related = sum((1 - lag / n) * _autocorrelation(x, lag) * _autocorrelation(y, lag) for lag in range(1, memory + 1))
    independent = float(np.clip(n / (1.0 + 2.0 * related), 4.0, n)) if related > -0.5 else float(n)
    return float(np.arctanh(correlation) * np.sqrt(independent - 3.0))


def _log_opening(face: FaceTrack) -> Signal:
    opening = np.where(face.present, face.mouth_opening, np.nan).astype(np.float64)
    return np.log(opening + _SMALLEST_OPENING)


def _quick(signal: Signal) -> Signal:
    """Without the mean around each tick."""
    known = np.isfinite(signal)
    sums = _around(np.where(known, signal, 0.0), _SYLLABLE_TICKS)
    return signal - sums / np.maximum(_around(known, _SYLLABLE_TICKS), 1)


def _around(values: NDArray[Any], n_ticks: int) -> Signal:
    """Sums over the odd number of ticks around each, as many as there are values however few."""
    half = n_ticks // 2
    return np.convolve(values, np.ones(n_ticks))[half : half + len(values)]


def _standard(signal: Signal) -> Signal:
    known = signal[np.isfinite(signal)]
    if len(known) < 2 or not (deviation := float(known.std())):
        return signal * 0.0
    return (signal - known.mean()) / deviation


def _centred(values: Signal) -> Signal:
    return values - values.mean()


def _autocorrelation(values: Signal, lag: int) -> float:
    return float(values[lag:] @ values[:-lag] / (values @ values))
