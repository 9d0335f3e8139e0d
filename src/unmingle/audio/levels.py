"""Levels in decibels below full scale (dBFS): an RMS of 1.0 is 0 dBFS, and -120 dBFS stands for silence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples

FLOOR_DBFS = -120.0
LOUDEST = 1e10
"""Largest magnitude that is taken, 200 dB over full scale: float32 holds the sums of its squares."""


def unusable(samples: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which samples are no sound: NaN, infinite, or beyond `LOUDEST`."""
    return ~(np.abs(samples) <= LOUDEST)


def silenced(samples: Samples) -> tuple[Samples, int]:
    """Silence in place of what is no sound, and how many samples that were: they would stay in a stream for good."""
    bad = unusable(samples)
    count = int(bad.sum())
    return (np.where(bad, np.float32(0), samples) if count else samples), count


def power_dbfs(power: float) -> float:
    """Mean square -> dBFS, never below `FLOOR_DBFS`."""
    return max(FLOOR_DBFS, 10.0 * float(np.log10(max(power, 1e-30))))


def peak(samples: Samples) -> float:
    """Largest magnitude; 1.0 is full scale."""
    return float(np.max(np.abs(samples), initial=0.0))


def gain_from_db(decibels: float) -> float:
    """Factor on samples; 20 dB is 10."""
    return float(10.0 ** (decibels / 20.0))
