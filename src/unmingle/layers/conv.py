"""Convolution pieces that the time-domain models share: depth-wise filters, conv + gLN (+ PReLU), pixel shuffle.

Letters: B batch, C channels, T time. PReLU always has one slope for all channels, starting at 0.25.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.norm import GlobalLayerNorm


def depthwise(channels: int, kernel: int, stride: int = 1, bias: bool = True) -> nn.Conv1d:
    """A convolution that filters each channel by itself, padded so that stride 1 keeps the length (odd kernels)."""
    return nn.Conv1d(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=bias)


def pointwise(channels_in: int, channels_out: int, groups: int = 1) -> nn.Conv1d:
    """A convolution over channels alone: one matrix, applied at every frame."""
    return nn.Conv1d(channels_in, channels_out, 1, groups=groups)


def pad_windows(mixture: Tensor, *, window: int, hop: int) -> Tensor:
    """Zeros around a mixture (B, time), so that every sample lies under as many windows as any other.

    |window - hop|  mixture  |fill|window - hop|      fill is 1 to window samples and completes the last hop
    """
    fill = window - (hop + mixture.shape[-1] % window) % window
    return F.pad(mixture, (window - hop, fill + window - hop))


class ConvNorm(nn.Module):
    """A convolution followed by gLN over its `channels` outputs."""

    def __init__(self, conv: nn.Conv1d, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = GlobalLayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, T) -> (B, channels, T')."""
        return self.norm(self.conv(x))


class ConvNormAct(nn.Module):
    """A convolution followed by gLN over its `channels` outputs and PReLU."""

    def __init__(self, conv: nn.Conv1d, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = GlobalLayerNorm(channels)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, T) -> (B, channels, T')."""
        return self.act(self.norm(self.conv(x)))


class NormAct(nn.Module):
    """GLN followed by PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = GlobalLayerNorm(channels)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, T), same out."""
        return self.act(self.norm(x))


class PixelShuffle(nn.Module):
    """Twice as many frames: a grouped convolution to 2C channels, whose halves become even and odd frames, then gLN.

    out[c, 2t + p] = conv(x)[p * C + c, t]. The convolution's groups are the C input channels, so its outputs 2g and
    2g + 1 both read input g: even frames of channel c come from input c // 2, odd ones from input (C + c) // 2.
    """

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 2 * channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = GlobalLayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, 2T)."""
        phases = self.conv(x).unflatten(1, (2, -1))  # (B, 2, C, T)
        return self.norm(phases.permute(0, 2, 3, 1).flatten(2))
