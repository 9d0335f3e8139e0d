"""Change of sample rate with soxr, whole or block by block.

Blocks give the same samples as the whole signal at once, however they are cut.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from unmingle.audio.framing import Samples
from unmingle.errors import SampleRateError

LOWEST_RATE, HIGHEST_RATE = 4_000, 384_000
"""Hz. Below, speech cannot be understood; above, nobody records speech and the number is a mistake."""


def check_sample_rate(sample_rate: int, *, name: str = "the recording") -> None:
    """Refuse a sample rate that no recording of speech has.

    Raises:
        SampleRateError: outside `LOWEST_RATE` .. `HIGHEST_RATE`, or no whole number.
    """
    if isinstance(sample_rate, str) or not float(sample_rate).is_integer():
        raise SampleRateError(f"{name} is at {sample_rate!r} Hz; give the rate as a whole number, such as 16000")
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise SampleRateError(
            f"{name} is at {sample_rate} Hz, but a recording of speech is at {LOWEST_RATE} to {HIGHEST_RATE} Hz; "
            "check the rate in its header or in the call"
        )


def resample(samples: Samples, *, from_rate: int, to_rate: int) -> Samples:
    """Change the rate of a whole signal, (..., time) -> (..., time * to_rate / from_rate)."""
    if from_rate == to_rate:
        return samples
    channels = math.prod(samples.shape[:-1])
    stream = StreamResampler(from_rate, to_rate, channels)
    resampled = stream.push(samples.reshape(channels, samples.shape[-1]), last=True)
    return resampled.reshape(*samples.shape[:-1], resampled.shape[-1])


class StreamResampler:
    """Changes the rate of a signal that comes in blocks."""

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        """Prepare for (channels, time) blocks at `from_rate` Hz."""
        self._same = from_rate == to_rate
        self._stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="HQ")

    def push(self, samples: Samples, *, last: bool = False) -> Samples:
        """Take a (channels, time) block, give what is ready; `last` gives the rest. Nothing may follow the last."""
        if self._same:
            return samples
        block = np.ascontiguousarray(samples.T, dtype=np.float32)
        return np.ascontiguousarray(self._stream.resample_chunk(block, last=last).reshape(-1, samples.shape[0]).T)
