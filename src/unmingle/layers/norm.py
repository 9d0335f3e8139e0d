"""Normalisation of feature maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GlobalLayerNorm(nn.Module):
    """Global layer normalisation (gLN): one mean and one biased variance per item, over channels and time together.

    y = weight * (x - mean) / sqrt(variance + eps) + bias, with a gain and an offset per channel. This is group
    normalisation with a single group, which torch computes in one fused operation. There are no running statistics,
    so training and evaluation are the same function and an item never sees its neighbours in the batch.

    Source: Luo and Mesgarani, "Conv-TasNet", IEEE/ACM TASLP 2019, Eq. 17 to 19.
    """

    def __init__(self, channels: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (batch, channels, time), or any further axes behind the channels."""
        return F.group_norm(x, 1, self.weight, self.bias, self.eps)


class RMSNorm(nn.Module):
    """Root mean square normalisation of the last axis: y = weight * x / sqrt(mean(x^2) + eps).

    Source: Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels), same out."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels alone: one mean and one biased variance at every frame (and bin).

    Nothing is shared between frames, so a causal network may use it.

    Source: Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...), same out; in memory the channels lie together."""
        return self.channels_last(x.movedim(1, -1)).movedim(-1, 1)

    def channels_last(self, x: Tensor) -> Tensor:
        """(..., channels), same out."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class FrameNorm(nn.Module):
    """Layer normalisation over channels and bins together: one mean and one biased variance per frame.

    A gain and an offset for every channel at every bin, so it works with one number of bins only. With several
    `groups` of channels each group has its own statistics.
    """

    def __init__(self, channels: int, n_bins: int, groups: int = 1, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(groups, channels // groups, n_bins))
        self.bias = nn.Parameter(torch.zeros(groups, channels // groups, n_bins))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, bins), same out."""
        return self.by_frame(x).transpose(2, 3).flatten(1, 2)

    def by_frame(self, x: Tensor) -> Tensor:
        """(batch, channels, frames, bins) -> (batch, groups, frames, channels / groups, bins)."""
        frames = x.unflatten(1, self.weight.shape[:2]).transpose(2, 3)
        normed = F.layer_norm(frames, self.weight.shape[1:], eps=self.eps)
        return torch.addcmul(self.bias.unsqueeze(1), normed, self.weight.unsqueeze(1))
