"""Self-attention across frames: whole frames, all bins and some channels of them, are compared with each other.

Letters: B batch, C channels, T frames, F bins, H heads, E channels of a query or key, K any number of keys.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.activation import activation_layer
from unmingle.layers.norm import FrameNorm

QUERY_BLOCK = 2048  # queries scored at a time; bounds the memory of long recordings


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool = False, context: int | None = None
) -> Tensor:
    """softmax(Q K^T / sqrt(width)) V, a block of queries at a time.

    Args:
        queries: (B, H, T, width); the last of them belongs to the last key.
        keys: (B, H, K, width), K at least T.
        values: (B, H, K, any width).
        causal: a query sees its own key and earlier ones only.
        context: if causal, how many keys it sees at most, its own included; None is all.
    Returns:
        (B, H, T, width of the values).
    """
    if queries.shape[2] <= QUERY_BLOCK or torch.compiler.is_exporting():
        return _attend_block(queries, keys, values, causal=causal, context=context)
    ahead = keys.shape[2] - queries.shape[2]
    parts: list[Tensor] = []
    for start in range(0, queries.shape[2], QUERY_BLOCK):
        block = queries[:, :, start : start + QUERY_BLOCK]
        seen = start + block.shape[2] + ahead if causal else keys.shape[2]
        parts.append(_attend_block(block, keys[:, :, :seen], values[:, :, :seen], causal=causal, context=context))
    return torch.cat(parts, dim=2)


def _attend_block(queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool, context: int | None) -> Tensor:
    mask = None
    if causal:
        own = torch.arange(queries.shape[2], device=keys.device).unsqueeze(1) + keys.shape[2] - queries.shape[2]
        key = torch.arange(keys.shape[2], device=keys.device)
        mask = key <= own
        if context is not None:
            mask = mask & (key > own - context)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


class HeadProjection(nn.Module):
    """A map of some channels for every head: 1x1 convolution, activation, and normalisation over each frame."""

    def __init__(
        self, channels: int, width: int, *, n_heads: int, n_bins: int, activation: str = "prelu", eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.conv = nn.Conv2d(channels, n_heads * width, 1)
        self.act = activation_layer(activation, n_slopes=n_heads)
        self.norm = FrameNorm(n_heads * width, n_bins, groups=n_heads, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, F) -> (B, H, T, width * F), channel-major."""
        maps = self.act(self.conv(x).unflatten(1, (self.n_heads, -1)))  # (B, H, width, T, F): a slope per head
        return self.norm.by_frame(maps.flatten(1, 2)).flatten(3)


class CrossFrameAttention(nn.Module):
    """Frames attend to frames with several heads; the result is projected and added to the input.

    Queries and keys have E channels at each bin, values C / H. A causal one sees no later frame, and at most
    `context` frames. There are no positions and no dropout.

    Source: Wang et al., "TF-GridNet", IEEE/ACM TASLP 2023.
    """

    def __init__(
        self,
        channels: int,
        n_bins: int,
        *,
        n_heads: int,
        query_channels: int,
        activation: str = "prelu",
        eps: float = 1e-5,
        causal: bool = False,
        context: int | None = None,
    ) -> None:
        super().__init__()
        self.n_bins = n_bins
        self.causal = causal
        self.context = context

        def head(width: int) -> HeadProjection:
            return HeadProjection(channels, width, n_heads=n_heads, n_bins=n_bins, activation=activation, eps=eps)

        self.queries = head(query_channels)
        self.keys = head(query_channels)
        self.values = head(channels // n_heads)
        self.merge = HeadProjection(channels, channels, n_heads=1, n_bins=n_bins, activation=activation, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, F), same out."""
        heads = attend(self.queries(x), self.keys(x), self.values(x), causal=self.causal, context=self.context)
        return self.add(x, heads)

    def add(self, x: Tensor, heads: Tensor) -> Tensor:
        """The input (B, C, T, F) plus the projection of what the heads found, (B, H, T, C / H * F)."""
        joined = heads.unflatten(3, (-1, self.n_bins)).transpose(2, 3).flatten(1, 2)  # (B, C, T, F)
        merged = self.merge(joined).squeeze(1).unflatten(2, (-1, self.n_bins))  # (B, T, C, F)
        return x + merged.transpose(1, 2)
