"""Units as types, and the one conversion between seconds and samples."""

from __future__ import annotations

from typing import NewType

Seconds = NewType("Seconds", float)
Hertz = NewType("Hertz", int)
Decibels = NewType("Decibels", float)


def seconds_to_samples(seconds: float, *, sample_rate: int) -> int:
    """The whole number of samples nearest to a duration."""
    return round(seconds * sample_rate)


def samples_to_seconds(samples: int, *, sample_rate: int) -> Seconds:
    """The duration of a number of samples."""
    return Seconds(samples / sample_rate)
