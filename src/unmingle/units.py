"""Units as types, and durations as numbers of samples."""

from __future__ import annotations

import math
from typing import NewType

Seconds = NewType("Seconds", float)
Hertz = NewType("Hertz", int)
Decibels = NewType("Decibels", float)


def seconds_to_samples(seconds: float, *, sample_rate: int) -> int:
    """The whole number of samples nearest to a duration."""
    return round(seconds * sample_rate)


def window_samples(window_ms: float, *, sample_rate: int) -> int:
    """Length of a window given in milliseconds, rounded down as published encoders do."""
    return math.floor(window_ms * sample_rate / 1000 + 1e-6)


def samples_to_seconds(samples: int, *, sample_rate: int) -> Seconds:
    """The duration of a number of samples."""
    return Seconds(samples / sample_rate)
