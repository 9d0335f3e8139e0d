"""From the network's tracks to those that are given out, at the recording's rate and in bounded memory.

1. What the tracks do not explain (`mixture - sum`) is shared out (`residual.py`), so that they sum to the recording at
   every sample; or it becomes a track of its own, with which they do.
2. Where is each voice active? The tracks are measured, and gated where that was asked for. What a gate takes away goes
   into the residual, where that is a track.

Everything works on hops of 10 ms, and every gain goes over smoothly from one boundary between hops to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Framer, Samples
from unmingle.audio.levels import power_dbfs
from unmingle.audio.loudness import LoudnessMeter
from unmingle.inference.residual import Hops, ResidualSharer

_HOP_SECONDS = 0.01
_ACTIVE = 10 ** (-30 / 10)  # power relative to the recording's speech ...
_AUDIBLE_SHARE = 0.1  # ... and to all tracks together, that a voice has where it is active
_SMOOTHING_HOPS = 5  # on either side, when power is measured
_HOLD_HOPS = 15  # the gate opens so much before a voice and closes so much after it ...
_FADE_HOPS = 4  # ... and takes so much on either side of that to do it


class Finisher:
    """Takes tracks and recording in equal pieces, gives finished tracks (n_out, time), and measures them.

    What comes out lags behind what went in; the last push gives the rest, padded to a whole hop.
    """

    def __init__(
        self,
        n_src: int,
        sample_rate: int,
        *,
        speech_power: float,
        heard_hz: float | None = None,
        keep_residual: bool = False,
        gate: bool = False,
        loudness: bool = False,
    ) -> None:
        """Prepare for one recording.

        Args:
            n_src: tracks that come in.
            sample_rate: Hz of the recording.
            speech_power: mean square of its loud parts, which says what counts as active.
            heard_hz: the network's Nyquist frequency, above which its tracks are empty; None: they are not.
            keep_residual: give the residual as a further track instead of sharing it out.
            gate: silence a track while its speaker is silent.
            loudness: measure the loudness and the true peaks of the speakers' tracks.
        """
        size = max(1, round(_HOP_SECONDS * sample_rate))
        self._n_src, self._keep_residual, self._gate = n_src, keep_residual, gate
        self._rate = sample_rate
        self._framer = Framer(n_src + 1, size)
        self._sharer = ResidualSharer(n_src, size, sample_rate=sample_rate, heard_hz=heard_hz or sample_rate / 2)
        self._meter = _Meter(n_src, threshold=_ACTIVE * speech_power, gate=gate)
        self._loudness = LoudnessMeter(n_src, sample_rate) if loudness else None
        self._energy = np.zeros(n_src + keep_residual)
        self._n_samples = 0

    def push(self, tracks: Samples, mixture: Samples, *, last: bool = False) -> Samples:
        """(n_src, time) tracks and the (time,) recording -> finished (n_src or n_src + 1, time) tracks."""
        hops = self._framer.push(np.concatenate([tracks, mixture[np.newaxis]]), last=last)
        if self._keep_residual:
            finished = np.concatenate([hops[:-1], hops[-1:] - hops[:-1].sum(axis=0, keepdims=True)])
        else:
            finished = self._sharer.push(hops, last=last)
        finished = self._meter.push(finished, last=last)
        samples = finished.reshape(finished.shape[0], -1)
        self._energy += np.square(samples, dtype=np.float64).sum(axis=1)
        self._n_samples += samples.shape[1]
        if self._loudness is not None:
            self._loudness.push(samples[: self._n_src], last=last)
        return samples

    def levels_dbfs(self) -> list[float]:
        """RMS level of every track over the whole recording."""
        return [power_dbfs(float(energy) / max(self._n_samples, 1)) for energy in self._energy]

    def loudness(self) -> list[tuple[float | None, float]]:
        """LUFS (None for silence) and true peak of every speaker's track; nothing unless it was asked for."""
        if self._loudness is None:
            return []
        return list(zip(self._loudness.loudness(), self._loudness.true_peaks.tolist(), strict=True))

    def active_powers(self) -> list[float]:
        """Mean square of every speaker's track where it is active; 0 where it never is."""
        return [
            float(energy / hops) if hops else 0.0
            for energy, hops in zip(self._meter.active_power, self._meter.active_hops, strict=True)
        ]

    def active_seconds(self) -> list[float]:
        """How long each speaker is heard."""
        return [float(hops) * self._framer.size / self._rate for hops in self._meter.active_hops]


class _Meter:
    """Finds where each voice is active, counts it, and closes the gate elsewhere."""

    def __init__(self, n_src: int, *, threshold: float, gate: bool) -> None:
        self._n_src, self._threshold, self._gate = n_src, threshold, gate
        self.active_hops = np.zeros(n_src, np.int64)
        self.active_power = np.zeros(n_src)
        self._reach = _SMOOTHING_HOPS + _HOLD_HOPS + _FADE_HOPS + 1  # hops on either side that decide about one
        self._held: Hops | None = None
        self._past = 0  # of the held hops, how many were given out already

    def push(self, hops: Hops, *, last: bool) -> Hops:
        joined = hops if self._held is None else np.concatenate([self._held, hops], axis=1)
        done = max(self._past, joined.shape[1] if last else joined.shape[1] - self._reach)
        ready = slice(self._past, done)
        powers = np.square(joined[: self._n_src], dtype=np.float64).mean(axis=2)
        active = self._find_active(powers)
        self.active_hops += active[:, ready].sum(axis=1)
        self.active_power += (powers * active)[:, ready].sum(axis=1)
        finished = joined[:, ready]
        if self._gate:
            finished = self._close(finished, active, ready)
        first = max(0, done - self._reach)
        self._held, self._past = joined[:, first:], done - first
        return finished

    def _find_active(self, powers: NDArray[np.float64]) -> NDArray[np.bool_]:
        smooth = _moving_sum(powers, _SMOOTHING_HOPS) / (2 * _SMOOTHING_HOPS + 1)
        return (smooth > self._threshold) & (smooth > _AUDIBLE_SHARE * smooth.sum(axis=0, keepdims=True))

    def _close(self, hops: Hops, active: NDArray[np.bool_], ready: slice) -> Hops:
        opened = (_moving_sum(active.astype(np.float64), _HOLD_HOPS) > 0.5).astype(np.float64)
        near = _moving_sum(opened, _FADE_HOPS) / _moving_sum(np.ones_like(opened), _FADE_HOPS)
        before = np.concatenate([near[:, :1], near[:, :-1]], axis=1)
        after = np.concatenate([near[:, 1:], near[:, -1:]], axis=1)
        begins, ends = (_eased((near + other)[:, ready] / 2) for other in (before, after))
        tracks, residual = hops[: self._n_src], hops[self._n_src :]
        gated = tracks * _glide(begins, ends, hops.shape[2])
        return np.concatenate([gated, residual + (tracks - gated).sum(axis=0)])


def _eased(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 to 1 along a raised cosine; the ends themselves are exact."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(way, 0.0, 1.0))


def _glide(begins: NDArray[np.float64], ends: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Gains that go straight from the beginning to the end of each hop, (tracks, n_hops) -> (tracks, n_hops, hop)."""
    way = np.arange(size, dtype=np.float32) / size
    gains = begins[..., np.newaxis] * (1 - way) + ends[..., np.newaxis] * way
    return gains.astype(np.float32)


def _moving_sum(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Sum over `reach` columns on either side; beyond the ends there is nothing."""
    if values.shape[1] == 0:
        return values
    padded = np.pad(np.cumsum(values, axis=1), ((0, 0), (reach + 1, reach)), mode="edge")
    padded[:, : reach + 1] = 0.0
    return padded[:, 2 * reach + 1 :] - padded[:, : -(2 * reach + 1)]
