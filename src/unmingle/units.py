"""Units as types, and durations as numbers of samples."""

from __future__ import annotations

import math
from typing import NewType

Seconds = NewType("Seconds", float)


def window_samples(window_ms: float, *, sample_rate: int) -> int:
    """Length of a window given in milliseconds, rounded down as published encoders do."""
    return math.floor(window_ms * sample_rate / 1000 + 1e-6)


def samples_to_seconds(samples: int, *, sample_rate: int) -> Seconds:
    """The duration of a number of samples."""
    return Seconds(samples / sample_rate)


def hops_to_first_frame(window: int, hop: int) -> int:
    """Hops that have to come in before the frame centred on sample 0 is whole: half a window, rounded up."""
    return -(-window // (2 * hop))


def stream_delay(window: int, hop: int, *, lookahead: int = 0) -> int:
    """Samples by which a stream lags that analyses frames, looks some of them ahead, and adds them up again."""
    return (hops_to_first_frame(window, hop) + lookahead - 1) * hop + window // 2
