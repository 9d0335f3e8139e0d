"""What all tracks leave over of a recording, shared out between them in short-time spectra.

Within the network's range it goes to the voices in proportion to their energy at that moment. Above it there is nothing
but residual: how much of it each voice makes is told from the top of what the network heard of this voice, which is
loud in the sounds that have treble, and from its voiced sound, which has less of it (docs/decisions/0019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EDGE = 0.92  # of the network's Nyquist frequency: resampling leaves nothing of the tracks above
_TOP = 0.75  # of it: where the top of the network's range begins
_VOICED_HZ = (500.0, 1000.0)
_VOICED_EXPONENT = -0.4
_EVEN = 1e-14  # power that makes shares even in silence

Hops = NDArray[np.float32]  # (tracks, n_hops, hop)


class ResidualSharer:
    """Takes tracks and recording in hops, gives tracks that sum to the recording; a frame is two hops.

    What comes out is one hop behind what went in.
    """

    def __init__(self, n_src: int, size: int, *, sample_rate: int, heard_hz: float) -> None:
        """Prepare for one recording.

        Args:
            n_src: tracks.
            size: samples of a hop.
            sample_rate: Hz.
            heard_hz: the network's Nyquist frequency.
        """
        self._window = np.sin(np.pi * (np.arange(2 * size) + 0.5) / (2 * size)).astype(np.float32)
        frequency = np.fft.rfftfreq(2 * size, 1 / sample_rate)
        edge = _EDGE * heard_hz
        self._high = frequency >= edge
        self._slope = np.where(self._high, 0.0, np.square(frequency)).astype(np.float32)  # as much treble as bass
        self._top = ((frequency >= _TOP * heard_hz) & (frequency < edge)).astype(np.float32)
        self._voiced = ((frequency >= _VOICED_HZ[0]) & (frequency < _VOICED_HZ[1])).astype(np.float32)
        self._last = np.zeros((n_src + 1, 1, size), np.float32)
        self._begun = np.zeros((n_src, 1, size), np.float32)  # what the frame before gives to the hop after it
        self._started = False

    def push(self, hops: Hops, *, last: bool) -> Hops:
        """(n_src + 1, n_hops, hop), the recording last -> the tracks of the hops whose successor is known."""
        size = hops.shape[2]
        if last:
            hops = np.concatenate([hops, np.zeros_like(self._last)], axis=1)
        if hops.shape[1] == 0:
            return hops[:-1]
        joined = np.concatenate([self._last, hops], axis=1)
        self._last = joined[:, -1:]
        spectra = np.fft.rfft(np.concatenate([joined[:, :-1], joined[:, 1:]], axis=2) * self._window, axis=2)
        residual = spectra[-1:] - spectra[:-1].sum(axis=0, keepdims=True)
        frames = np.fft.irfft(self._shares(spectra[:-1]) * residual, 2 * size, axis=2) * self._window
        ends = np.concatenate([self._begun, frames[:, :-1, size:]], axis=1)
        self._begun = frames[:, -1:, size:]
        finished = joined[:-1, :-1] + ends + frames[:, :, :size]
        begins = 0 if self._started else 1  # before the first hop there is nothing
        self._started = True
        return finished[:, begins:].astype(np.float32)

    def _shares(self, tracks: NDArray[np.complexfloating[Any]]) -> NDArray[np.floating[Any]]:
        """(n_src, n_frames, bins) spectra -> the share of the residual that each track gets in every bin."""
        powers = np.square(tracks.real) + np.square(tracks.imag)
        low = _normalised(powers @ self._slope)
        if not self._high.any():
            return low[..., np.newaxis]
        treble = (powers @ self._top) * (powers @ self._voiced + _EVEN) ** _VOICED_EXPONENT
        return np.where(self._high, _normalised(treble)[..., np.newaxis], low[..., np.newaxis])


def _normalised(powers: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Shares that sum to one over the tracks."""
    raised = powers + _EVEN
    return raised / raised.sum(axis=0)
