"""Change of sample rate with a short delay that is known, and a state that can be kept.

soxr (`audio.resample`) is the better and the faster one for recordings; it hands out samples in bursts, up to 0.2 s
late, and its state cannot be saved. This one is a windowed sinc, evaluated directly: 60 dB, flat to 0.88 of the lower
rate's half, 24 samples of the lower rate late.

An output sample lies at one of so many positions between two input samples: 1 from 48 to 8 kHz, 160 from 44.1 to 16,
8000 from 96001 Hz to 8. A table holds the taps of each; where that would be too many, it holds those of evenly spaced
positions, and the taps between two of them are interpolated, which adds errors 100 dB below the sound. Positions
themselves are counted in whole numbers, so nothing drifts.

Letters: W taps on either side, in input samples.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.units import Seconds

_ZEROS = 24  # zero crossings on either side, at the lower rate
_BETA = 6.0  # of the Kaiser window
_ROLL_OFF = 0.94  # cut-off over half the lower rate
_LARGEST_TABLE = 1 << 16  # taps; all usual rates fit, each with every position it has
_FINENESS = 256  # positions per sample of the lower rate, in a table that is interpolated


class ResamplerState(NamedTuple):
    """Where a signal stands."""

    past: Samples  # (channels, 2 W), the last samples taken
    taken: int
    given: int


class LiveResampler:
    """Changes the rate of a signal that comes in blocks; the blocks do not show in the result."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        """Both in Hz."""
        self._ratio = Fraction(from_rate, to_rate)  # input samples per output sample
        self._from_rate = from_rate
        self._reach = 0 if from_rate == to_rate else math.ceil(_ZEROS * max(1, from_rate / to_rate))
        self._table = None if from_rate == to_rate else _table(self._ratio, self._reach)

    @property
    def delay_seconds(self) -> Seconds:
        """How much later an output sample is ready than the input sample at the same time."""
        return Seconds(self._reach / self._from_rate)

    def init_state(self, channels: int) -> ResamplerState:
        """Nothing taken: silence before the beginning."""
        return ResamplerState(np.zeros((channels, 2 * self._reach), np.float32), 0, 0)

    def step(self, samples: Samples, state: ResamplerState) -> tuple[Samples, ResamplerState]:
        """(channels, time) -> the samples that are ready now, and the state. A given state is never changed."""
        taken = state.taken + samples.shape[1]
        if self._table is None:
            return samples, ResamplerState(state.past, taken, taken)
        joined = np.concatenate([state.past, samples], axis=1)
        end = max(state.given, math.ceil((taken - self._reach) / self._ratio))
        out = self._interpolate(joined, first=state.taken - state.past.shape[1], begin=state.given, end=end)
        return out, ResamplerState(joined[:, joined.shape[1] - 2 * self._reach :], taken, end)

    def finish(self, state: ResamplerState) -> Samples:
        """The samples still owed: those at times before the end of the input."""
        silence = np.zeros((state.past.shape[0], self._reach), np.float32)
        rest, _ = self.step(silence, state)
        return rest[:, : math.ceil(state.taken / self._ratio) - state.given]

    def _interpolate(self, joined: Samples, *, first: int, begin: int, end: int) -> Samples:
        """Output samples `begin` to `end` from input samples of which `first` is the index of the first."""
        if self._table is None or end == begin:
            return np.zeros((joined.shape[0], 0), np.float32)
        position = np.arange(begin, end, dtype=np.int64) * self._ratio.numerator
        base, phase = position // self._ratio.denominator, position % self._ratio.denominator
        windows = np.lib.stride_tricks.sliding_window_view(joined, 2 * self._reach, axis=1)
        heard = windows[:, base - self._reach + 1 - first]  # (channels, time, 2 W)
        return np.einsum("ctw,tw->ct", heard, _taps(self._table, phase, self._ratio.denominator), optimize=False)


def _taps(table: Samples, phase: NDArray[np.int64], n_phases: int) -> Samples:
    """(time, 2 W) for output samples that lie `phase / n_phases` behind an input sample."""
    steps = table.shape[0] - 1
    if steps == n_phases:
        return table[phase]
    row, beyond = np.divmod(phase * steps, n_phases)
    share = (beyond / n_phases).astype(np.float32)[:, np.newaxis]
    return table[row] * (1 - share) + table[row + 1] * share


@lru_cache(maxsize=32)
def _table(ratio: Fraction, reach: int) -> Samples:
    """Rows of 2 W taps for positions of an output sample from one input sample up to the next; shared, so read-only."""
    steps = ratio.denominator
    if steps * 2 * reach > _LARGEST_TABLE:
        steps = math.ceil(_FINENESS / max(1, ratio))
    between = np.arange(steps + 1)[:, np.newaxis] / steps
    distance = np.arange(1 - reach, reach + 1) - between  # (positions, 2 W), from the output sample
    cutoff = _ROLL_OFF * min(1.0, 1 / float(ratio))
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (distance / reach) ** 2, 0, None)))
    taps = np.sinc(cutoff * distance) * window
    table = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)  # a constant stays as it is
    table.flags.writeable = False
    return table
