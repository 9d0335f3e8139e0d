"""The grid of frames and bins: a sequence network along the bins of each frame, another along the frames of each bin.

Letters: B items, T frames, F bins, C channels, L positions of a sequence. In memory the channels lie together:
(B, T, F, C).
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.norm import ChannelNorm
from unmingle.layers.recurrent import FoldTaps, look_back, padded_length, unfold_taps

LARGEST_GROUP = 1 << 22  # numbers in the vectors that are made at a time outside training; bounds the memory


class SequenceNetwork(Protocol):
    """A module from (B, L, features) to (B, L, out_features)."""

    out_features: int


class SequencePath(nn.Module):
    """Norm, vectors of neighbouring positions, a sequence network along them, the vectors folded back, and the input.

    causal=True looks back: a vector holds its position and the kernel - 1 before it, and reaches itself and later ones.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        *,
        kernel: int,
        stride: int = 1,
        causal: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.causal = causal
        self.norm = ChannelNorm(channels, eps=eps)
        self.network = network
        features = cast(SequenceNetwork, network).out_features
        self.fold = FoldTaps(features, channels, kernel, stride, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C), same out; L such as `padded_length` gives, unless causal.

        The sequences do not know of each other. So in evaluation they go by groups, which bounds the memory.
        """
        if torch.is_grad_enabled() or torch.compiler.is_exporting():
            return self._run(x)
        rows = max(1, LARGEST_GROUP // (x.shape[1] * x.shape[2] * self.kernel))
        return self._run(x) if rows >= x.shape[0] else torch.cat([self._run(part) for part in x.split(rows)])

    def _run(self, x: Tensor) -> Tensor:
        normed = self.norm.channels_last(x)
        vectors = unfold_taps(look_back(normed, self.kernel) if self.causal else normed, self.kernel, self.stride)
        return x + self.fold(self.network(vectors))


class GridBlock(nn.Module):
    """The path along bins, the path along frames, then attention across frames; (B, T, F, C), same out.

    Zeros complete both axes before the paths and go after them, also where there are fewer positions than taps.
    """

    def __init__(self, spectral: SequencePath, temporal: SequencePath, attention: nn.Module) -> None:
        super().__init__()
        self.spectral = spectral
        self.temporal = temporal
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F, C), same out."""
        n_frames, n_bins = x.shape[1:3]
        y = F.pad(x, (0, 0, 0, _missing(n_bins, self.spectral), 0, _missing(n_frames, self.temporal)))
        y = self.spectral(y.flatten(0, 1)).view_as(y)
        columns = y.transpose(1, 2)  # (B, F, T, C)
        y = self.temporal(columns.flatten(0, 1)).view_as(columns).transpose(1, 2)
        return self.attention(y[:, :n_frames, :n_bins].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def deviation(signal: Tensor) -> Tensor:
    """Standard deviation over time, with the divisor of an estimate: (B, time) -> (B, 1). A single sample has 0."""
    return signal.std(dim=-1, keepdim=True) if signal.shape[-1] > 1 else torch.zeros_like(signal)


def _missing(length: int, path: SequencePath) -> int:
    return 0 if path.causal else padded_length(length, path.kernel, path.stride) - length
