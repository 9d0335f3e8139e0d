"""Attention of two kinds: between positions (softmax), and from a coarse map onto a finer one (a gate and a shift).

Letters: B batch, C channels, T frames (T_k at scale k), L positions of the coarsest map, H heads, S scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.conv import ConvNorm, Depthwise, nearest
from unmingle.layers.resize import average_by_index

AttentionAxis = Literal["time", "item", "batch"]


def sinusoid_positions(length: int, channels: int, *, device: torch.device | None = None) -> Tensor:
    """Position encoding: even channels sin(p w_j), odd channels cos(p w_j), with w_j = 10000^(-2j / channels).

    Args:
        length: how many positions p, from 0.
        channels: even.
        device: where to make it.
    Returns:
        (length, channels), float32.
    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017, Sec. 3.5.
    """
    pair = torch.arange(0, channels, 2, device=device, dtype=torch.float32)
    rates = torch.exp(pair * (-math.log(10_000.0) / channels))  # (C / 2)
    angles = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class SelfAttention(nn.Module):
    """Multi-head self-attention over one axis of (B, L, C).

    axis="time": the L positions of an item attend to each other, the usual meaning.
    axis="batch": at each position the B items attend to each other, so an estimate depends on its neighbours in the
        batch. Published weights were made this way by mistake; it is here to reproduce them.
    axis="item": what axis="batch" gives to an item that is alone. The softmax of one score is 1, so the heads are the
        values, and queries and keys, which have weights nevertheless, are not computed.

    Source: Vaswani et al., NeurIPS 2017, Sec. 3.2.
    """

    def __init__(self, channels: int, *, n_heads: int, dropout: float = 0.0, axis: AttentionAxis = "time") -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.axis = axis
        self.in_proj = nn.Linear(channels, 3 * channels)  # rows: queries, keys, values
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C), same out."""
        if self.axis == "item":
            return self.out_proj(self._values(x))
        if self.axis == "batch":
            return self.out_proj(self._attend(x.transpose(0, 1)).transpose(0, 1))
        return self.out_proj(self._attend(x))

    def _attend(self, x: Tensor) -> Tensor:
        heads = self.in_proj(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, L, C / H)
        queries, keys, values = heads.unbind(0)
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout).transpose(1, 2).flatten(2)

    def _values(self, x: Tensor) -> Tensor:
        channels = x.shape[2]
        values = F.linear(x, self.in_proj.weight[-channels:], self.in_proj.bias[-channels:])
        if not (self.training and self.dropout > 0):
            return values
        # Dropout acts on attention weights; here a head has a single one, so it loses the whole head at a position.
        kept = F.dropout(values.new_ones(*values.shape[:2], self.n_heads, 1), self.dropout)
        return (values.unflatten(2, (self.n_heads, -1)) * kept).flatten(2)


def pool_sum(scales: Sequence[Tensor]) -> Tensor:
    """Average every scale down to the length of the last one, and add: S maps (B, C, T_k) -> (B, C, L).

    In exported graphs a scale may be at most twice as long as the next.
    """
    total = scales[-1]
    for place, scale in enumerate(scales[:-1]):
        total = total + _average(scale, total.shape[-1], ratio=2 ** (len(scales) - 1 - place))
    return total


def _average(x: Tensor, length: int, *, ratio: int) -> Tensor:
    if torch.compiler.is_exporting():
        return average_by_index(x, length, ratio=ratio)
    return F.adaptive_avg_pool1d(x, length)


class TopDownAttention(nn.Module):
    """A coarse map decides what passes of a finer one: cn(fine) * up(sigmoid(cn(coarse))) + up(cn(coarse)).

    cn is a depth-wise convolution without bias, then gLN; three separate ones, each at its own resolution.
    Also resizes downwards when `coarse` is the longer one.

    Source: Li, Yang, Hu, "An efficient encoder-decoder architecture with top-down attention", ICLR 2023.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.local = ConvNorm(Depthwise(channels, kernel, bias=False), channels)
        self.gate = ConvNorm(Depthwise(channels, kernel, bias=False), channels)
        self.shift = ConvNorm(Depthwise(channels, kernel, bias=False), channels)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, C, T) and (B, C, T') -> (B, C, T)."""
        length = fine.shape[-1]
        gate = nearest(torch.sigmoid(self.gate(coarse)), length)
        return torch.addcmul(nearest(self.shift(coarse), length), self.local(fine), gate)


class ConvFeedForward(nn.Module):
    """Twice the channels and back, with a look at the neighbouring frames and ReLU between."""

    def __init__(self, channels: int, kernel: int = 5, dropout: float = 0.0) -> None:
        super().__init__()
        self.widen = ConvNorm(nn.Conv1d(channels, 2 * channels, 1, bias=False), 2 * channels)
        self.neighbours = Depthwise(2 * channels, kernel)
        self.narrow = ConvNorm(nn.Conv1d(2 * channels, channels, 1, bias=False), channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T), same out."""
        wide = self.dropout(F.relu(self.neighbours(self.widen(x))))  # (B, 2C, T)
        return self.dropout(self.narrow(wide))


class DropPath(nn.Module):
    """Stochastic depth: in training, drops a residual branch for whole items and rescales the ones that stay.

    Source: Huang et al., "Deep networks with stochastic depth", ECCV 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...), same out."""
        if not (self.training and self.rate > 0):
            return x
        return x * F.dropout(x.new_ones(x.shape[0], *[1] * (x.ndim - 1)), self.rate)
