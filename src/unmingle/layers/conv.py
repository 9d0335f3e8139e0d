"""Convolution pieces that the time-domain models share: 1x1 and depth-wise filters, the decoder's overlap-add, conv +
gLN (+ PReLU), pixel shuffle.

Letters: B batch, C channels, T time. PReLU always has one slope for all channels, starting at 0.25.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.norm import GlobalLayerNorm
from unmingle.layers.resize import nearest_by_index


class Depthwise(nn.Conv1d):
    """A convolution that filters each channel by itself, padded so that stride 1 keeps the length (odd kernels).

    Inside `torch.compile` it is written as shifted multiply-adds, which the compiler fuses with what stands around
    them; on processors the library's own depth-wise kernel then costs more than all of that together.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name is torch's)
        """(B, C, T) -> (B, C, T')."""
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            return self.shifted(input)
        return super().forward(input)

    def shifted(self, x: Tensor) -> Tensor:
        """The same as a sum over the kernel's taps of the shifted input.

        A tap reads every `stride`-th sample, one of the phases, whose gradients are plain shifts as well.
        """
        (kernel,), (stride,), time = self.kernel_size, self.stride, x.shape[-1]
        length = (time + 2 * (kernel // 2) - kernel) // stride + 1
        rows = length + (kernel - 1) // stride
        padded = F.pad(x, (kernel // 2, rows * stride - time - kernel // 2))
        phases = padded.unflatten(-1, (rows, stride)).unbind(-1)
        taps = (phases[tap % stride].narrow(-1, tap // stride, length) for tap in range(kernel))
        terms = (frames * self.weight[:, 0, tap, None] for tap, frames in enumerate(taps))
        total = sum(terms, torch.zeros((), dtype=x.dtype, device=x.device))
        return total if self.bias is None else total + self.bias[:, None]


def nearest(x: Tensor, length: int) -> Tensor:
    """Nearest neighbour in time, up or down: frame d of (B, C, length) is frame floor(d * T / length) of (B, C, T).

    The ratio is a float32, as in the torch that made the published weights; exact arithmetic differs for some lengths.
    """
    if x.shape[-1] == length:
        return x
    if torch.compiler.is_exporting():
        return nearest_by_index(x, length)
    return F.interpolate(x, size=length, mode="nearest")


class Pointwise(nn.Conv1d):
    """A convolution over channels alone: one matrix, applied at every frame."""

    rounds = False
    """Multiply and keep for the backward pass bfloat16 numbers; see `training.settings`, precision."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 1)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name is torch's)
        """(B, C_in, T) -> (B, C_out, T)."""
        if not self.rounds or self.bias is None:
            return super().forward(input)
        return self.times(input, self.weight) + self.bias[:, None]

    def times(self, x: Tensor, columns: Tensor) -> Tensor:
        """(B, C, T) by some columns of the matrix, (C_out, C, 1) -> (B, C_out, T), without the bias."""
        return matrix_product(x, columns, rounds=self.rounds)


def matrix_product(x: Tensor, matrix: Tensor, *, rounds: bool) -> Tensor:
    """(B, C, T) and (C_out, C, 1) -> (B, C_out, T); what is multiplied is rounded to bfloat16 first if `rounds`."""
    return F.conv1d(x.bfloat16(), matrix.bfloat16()).to(x.dtype) if rounds else F.conv1d(x, matrix)


class OverlapAdd(nn.ConvTranspose1d):
    """The decoder: every frame of features becomes a window of samples, and windows `hop` apart are added up.

    Written as one matrix product and a sum, which is several times as fast on processors as the library's kernel for
    the few outputs of a decoder.
    """

    rounds = False
    """As of `Pointwise`."""

    def __init__(self, features: int, channels: int, window: int, hop: int, *, output_padding: int = 0) -> None:
        super().__init__(
            features, channels, window, hop, padding=window // 2, output_padding=output_padding, bias=False
        )
        self.before, self.behind = window // 2, window // 2 - output_padding  # samples cut off

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002 (torch's)
        """(B, features, frames) -> (B, channels, (frames - 1) * hop + window - 2 * (window // 2) + output_padding)."""
        if torch.compiler.is_exporting() or output_size is not None:
            return super().forward(input, output_size)
        (window,), (hop,) = self.kernel_size, self.stride
        matrix = self.weight.flatten(1).t().unsqueeze(2)  # (channels * window, features, 1)
        windows = matrix_product(input, matrix, rounds=self.rounds)
        whole = (input.shape[-1] - 1) * hop + window
        added = F.fold(windows, (1, whole), (1, window), stride=(1, hop)).squeeze(2)
        return F.pad(added, (-self.before, -self.behind))


def pointwise(channels_in: int, channels_out: int, groups: int = 1) -> nn.Conv1d:
    """A convolution of single frames, over all channels or over groups of them."""
    return (
        Pointwise(channels_in, channels_out) if groups == 1 else nn.Conv1d(channels_in, channels_out, 1, groups=groups)
    )


def pad_windows(mixture: Tensor, *, window: int, hop: int) -> Tensor:
    """Zeros around a mixture (B, time), so that every sample lies under as many windows as any other.

    |window - hop|  mixture  |fill|window - hop|      fill is 1 to window samples and completes the last hop
    """
    time = mixture.shape[-1]
    fill = window * ((hop + time) // window + 1) - hop - time
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

    def joined(self, parts: Sequence[Tensor], length: int) -> Tensor:
        """For a 1x1 convolution: the same for several maps that are made `length` frames long and concatenated.

        Repeating frames and multiplying each of them commute, so every part (B, C_k, T_k) meets its columns of the
        matrix at its own rate.
        """
        assert isinstance(self.conv, Pointwise)
        columns = self.conv.weight.split([part.shape[1] for part in parts], dim=1)  # each (channels, C_k, 1)
        terms = [nearest(self.conv.times(x, matrix), length) for x, matrix in zip(parts, columns, strict=True)]
        bias = 0 if self.conv.bias is None else self.conv.bias[:, None]
        return self.act(self.norm(sum(terms[1:], terms[0]) + bias))


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
