"""What the trainer is given: a batch, and sources of batches in which step k is always the same batch."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Batch(NamedTuple):
    """Mixtures and the sources they are made of, float32."""

    mixture: Tensor  # (batch, time)
    sources: Tensor  # (batch, n_src, time); for an audio-visual network the voice of the face alone, n_src = 1
    mixed_gender: Tensor | None = None  # (batch,) bool, where it is known: validation tells the two kinds apart
    video: Tensor | None = None  # (batch, frames, height, width) uint8 mouth crops of one face per item


class BatchSource(Protocol):
    """Endless batches by number. `batch(k)` is a pure function of the settings, their seed and k."""

    def batch(self, step: int) -> Batch:
        """The batch of one training step, counted from 0."""
        ...
