"""Lengths, hops and cross-fades: the only place that pads."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""float32, (channels, time) unless said otherwise."""


def fit_length(samples: Samples, length: int) -> Samples:
    """Cut or zero-pad the end of the last axis so that it has `length` samples."""
    missing = length - samples.shape[-1]
    if missing <= 0:
        return samples[..., :length]
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])


def cross_fade(before: Samples, after: Samples) -> Samples:
    """Go over from one signal to the other along a raised cosine; both (..., time), same shape.

    Identical signals come out unchanged, because the two weights sum to one at every sample.
    """
    length = before.shape[-1]
    rise = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)
    return before + rise * (after - before)


class Framer:
    """Cuts a stream into whole frames that do not overlap, whatever the size of the blocks it comes in."""

    def __init__(self, channels: int, size: int) -> None:
        """Cut (channels, time) into frames of `size` samples."""
        self.size = size
        self._rest = np.zeros((channels, 0), np.float32)

    def push(self, block: Samples, *, last: bool = False) -> Samples:
        """The frames that are complete now, (channels, n_frames, size); `last` zero-pads the one begun."""
        joined = np.concatenate([self._rest, block], axis=1)
        n_frames = joined.shape[1] // self.size
        if last and joined.shape[1] % self.size:
            n_frames += 1
            joined = fit_length(joined, n_frames * self.size)
        cut = n_frames * self.size
        self._rest = joined[:, cut:]
        return joined[:, :cut].reshape(joined.shape[0], n_frames, self.size)


class SampleQueue:
    """Samples of one channel waiting to be taken out again, in any sizes."""

    def __init__(self) -> None:
        """Start empty."""
        self._blocks: deque[Samples] = deque()

    def put(self, block: Samples) -> None:
        """Add (time,) samples at the end."""
        self._blocks.append(block)

    def take(self, length: int) -> Samples:
        """Remove the first `length` samples, or all there are when they are fewer."""
        parts: list[Samples] = []
        while length > 0 and self._blocks:
            block = self._blocks.popleft()
            if block.shape[0] > length:
                self._blocks.appendleft(block[length:])
                block = block[:length]
            parts.append(block)
            length -= block.shape[0]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def runs_of_true(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(start, end) of every stretch of (time,) flags that are set, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
