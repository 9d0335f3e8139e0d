"""Resizing in time by computed indices: for exported graphs, whose lengths are known only when they run.

torch's own operators are faster inside torch, and these give the same. But exported, adaptive average pooling keeps the
length it was traced with, and nearest-neighbour resizing becomes an operator that rounds its ratios in another way: for
about one length in eight it takes another frame (docs/decisions/0014).

Letters: B batch, C channels, T and L frames. Frames are gathered with their channels side by side, which is several
times faster than gathering from each channel by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_by_index(x: Tensor, length: int) -> Tensor:
    """Frame d of (B, C, length) is frame floor(d * T / length) of (B, C, T), the ratio being a float32."""
    frames = x.shape[-1]
    ratio = torch.scalar_tensor(frames, device=x.device) / torch.scalar_tensor(length, device=x.device)
    source = (torch.arange(length, dtype=torch.float32, device=x.device) * ratio).long()
    return _take(x, source.clamp(max=frames - 1)).transpose(1, 2)


def average_by_index(x: Tensor, length: int, *, ratio: int) -> Tensor:
    """Frame d of (B, C, length) is the mean of the frames from floor(d * T / length) to ceil((d + 1) * T / length).

    Args:
        x: (B, C, T).
        length: frames wanted.
        ratio: a number that T / length does not exceed; a mean is taken of ratio + 1 frames at most.
    """
    frames = x.shape[-1]
    place = torch.arange(length, device=x.device)
    first = torch.div(place * frames, length, rounding_mode="trunc").unsqueeze(1)
    beyond = torch.div((place + 1) * frames + length - 1, length, rounding_mode="trunc").unsqueeze(1)
    source = first + torch.arange(ratio + 1, device=x.device)  # (L, ratio + 1)
    weight = (source < beyond).to(x.dtype) / (beyond - first)
    taken = _take(x, source.clamp(max=frames - 1).flatten()).unflatten(1, (-1, ratio + 1))  # (B, L, ratio + 1, C)
    return (taken * weight.unsqueeze(-1)).sum(2).transpose(1, 2)


def _take(x: Tensor, source: Tensor) -> Tensor:
    """(B, C, T) and (L,) -> (B, L, C)."""
    return x.transpose(1, 2).index_select(1, source)
