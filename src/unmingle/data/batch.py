"""What the trainer is given: a batch, and sources of batches in which step k is always the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Samples = NDArray[np.float32]


class Batch(NamedTuple):
    """Mixtures and the sources they are made of, float32."""

    mixture: Tensor  # (batch, time)
    sources: Tensor  # (batch, n_src, time); for an audio-visual network the voice of the face alone, n_src = 1
    mixed_gender: Tensor | None = None  # (batch,) bool, where known: of two genders; dynamic mixing has women first
    video: Tensor | None = None  # (batch, frames, height, width) uint8 mouth crops of one face per item


class BatchSource(Protocol):
    """Endless batches by number. `batch(k)` is a pure function of the settings, their seed and k."""

    def batch(self, step: int) -> Batch:
        """The batch of one training step, counted from 0."""
        ...


def batch_of(items: Sequence[tuple[Samples, Samples]], mixed_gender: Sequence[bool | None] = ()) -> Batch:
    """A batch of mixtures (time,) with their sources (n_src, time); genders count where all of them are known."""
    mixtures, sources = zip(*items, strict=True)
    known = bool(mixed_gender) and None not in mixed_gender
    return Batch(
        torch.from_numpy(np.stack(mixtures)),
        torch.from_numpy(np.stack(sources)),
        torch.tensor(cast("list[bool]", list(mixed_gender))) if known else None,
    )
