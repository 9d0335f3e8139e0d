"""What a voice sounds like, coarsely: the shape of its average spectrum.

Enough to tell two known voices apart after a pause; not a way to recognise people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples

_FRAME_SECONDS = 0.032
_BANDS, _COEFFICIENTS = 24, 14
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_LOUD = 10 ** (-25 / 10)  # power of a frame relative to the loudest one
_DOMINANT = 0.8  # share of a frame's power that a track must have to learn from it
_CREDIBLE_FRAMES = 60.0  # about a second
_STRANGER = -0.45  # likeness to a track that has had no voice yet: halfway between the same and another voice
_DISTANCE_SCALE = 6.0  # puts two different voices about one apart

State = Mapping[str, NDArray[Any]]
"""All that something knows, as arrays by name: what a later run needs to go on from there."""


class VoiceProfiles:
    """Running averages, per track, of the cepstrum of the frames in which the track alone is loud."""

    def __init__(self, n_src: int, sample_rate: int) -> None:
        """Know nothing yet."""
        self._frame = round(_FRAME_SECONDS * sample_rate)
        self._analysis = np.hanning(self._frame).astype(np.float32)
        self._bands = _band_matrix(self._frame, sample_rate)
        self._cosines = _cosines(self._bands.shape[1])
        self._counts = np.zeros(n_src)
        self._sums = np.zeros((n_src, _COEFFICIENTS))
        self._squares = np.zeros(_COEFFICIENTS)  # pooled, about each track's own average

    def learn(self, estimates: Samples) -> None:
        """Add (n_src, time) tracks."""
        for track, features in enumerate(self._features(estimates)):
            self._counts[track] += len(features)
            self._sums[track] += features.sum(axis=0)
            if len(features):
                self._squares += np.square(features - features.mean(axis=0)).sum(axis=0)

    def state(self) -> State:
        """All that was learnt."""
        return {"counts": self._counts, "sums": self._sums, "squares": self._squares}

    def restore(self, state: State) -> None:
        """Know what `state` said, and nothing else."""
        self._counts, self._sums, self._squares = (state[name].copy() for name in ("counts", "sums", "squares"))

    def likeness(self, estimates: Samples) -> NDArray[np.float64]:
        """(n_src, n_src): how much new track j sounds like the voice of track i; 0 at best, and for a silent one."""
        n_src = len(self._counts)
        result = np.zeros((n_src, n_src))
        if not self._counts.any():
            return result
        spread = self._squares / self._counts.sum() + 1e-3
        for new, features in enumerate(self._features(estimates)):
            trust = len(features) / (len(features) + _CREDIBLE_FRAMES)
            for old in range(n_src):
                result[old, new] = trust * self._compare(old, features, spread)
        return result

    def _compare(self, old: int, features: NDArray[np.float64], spread: NDArray[np.float64]) -> float:
        if len(features) == 0:
            return 0.0
        if self._counts[old] < _CREDIBLE_FRAMES:
            return _STRANGER
        difference = self._sums[old] / self._counts[old] - features.mean(axis=0)
        return -float(np.sum(np.square(difference) / spread)) / _DISTANCE_SCALE

    def _features(self, estimates: Samples) -> list[NDArray[np.float64]]:
        """Per track: (frames in which it alone is loud, coefficients)."""
        hop = self._frame // 2
        n_frames = max(0, (estimates.shape[1] - self._frame) // hop + 1)
        if n_frames == 0:
            return [np.zeros((0, _COEFFICIENTS))] * len(estimates)
        frames = np.lib.stride_tricks.sliding_window_view(estimates, self._frame, axis=1)[:, ::hop]
        power = np.square(frames).mean(axis=2)
        loud = (power > _LOUD * power.max()) & (power > _DOMINANT * power.sum(axis=0)) & (power > 0)
        return [self._cepstrum(frames[track][loud[track]]) for track in range(len(estimates))]

    def _cepstrum(self, frames: Samples) -> NDArray[np.float64]:
        spectrum = np.square(np.abs(np.fft.rfft(frames * self._analysis, axis=1)))
        bands = np.log(spectrum @ self._bands + 1e-9 * spectrum.sum(axis=1, keepdims=True) + 1e-20)
        return bands @ self._cosines


def _band_matrix(frame: int, sample_rate: int) -> NDArray[np.float64]:
    """(bins, bands): triangles that are equally wide on the mel scale."""
    bins = np.fft.rfftfreq(frame, 1.0 / sample_rate)
    top = min(_HIGHEST_HZ, 0.475 * sample_rate)
    edges = 700.0 * np.expm1(np.linspace(np.log1p(_LOWEST_HZ / 700.0), np.log1p(top / 700.0), _BANDS + 2))
    rise = (bins[:, np.newaxis] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, np.newaxis]) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rise, fall))


def _cosines(bands: int) -> NDArray[np.float64]:
    """(bands, coefficients) of the cosine transform, without the first, which is the level."""
    order = np.arange(1, _COEFFICIENTS + 1)
    return np.sqrt(2.0 / bands) * np.cos(np.pi * order * (np.arange(bands)[:, np.newaxis] + 0.5) / bands)
