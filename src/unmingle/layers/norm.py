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
