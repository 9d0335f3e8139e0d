"""Dual-path RNN: efficient long sequence modeling for time-domain single-channel speech separation. Luo, Chen and
Yoshioka, ICASSP 2020.

    mixture -> filters -> gLN, 1x1 -> chunks -> blocks: an RNN inside every chunk, one across chunks -> masks

The paper leaves the activations of filters and masks to TasNet; both are ReLU here. Not implemented: RNNs across chunks
that hear the past only.
Letters: B items, S sources, N features, T frames, K frames of a chunk, L chunks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.conv import pointwise
from unmingle.layers.front_end import LearnedFrontEnd
from unmingle.layers.norm import GlobalLayerNorm
from unmingle.layers.recurrent import TapLSTM
from unmingle.models.base import SeparationModel, check_mixture
from unmingle.presets.dprnn import DPRNNConfig


class Path(nn.Module):
    """x + gLN(linear(BLSTM(x))) along the last axis but one (Eq. 2 to 5)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.lstm = TapLSTM(features, hidden, bidirectional=True)
        self.linear = nn.Linear(2 * hidden, features)
        self.norm = GlobalLayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, sequences, positions, N), same out."""
        y = self.linear(self.lstm(x.flatten(0, 1))).view_as(x)
        return x + self.norm(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Inside every chunk, then across chunks."""

    def __init__(self, config: DPRNNConfig) -> None:
        super().__init__()
        self.intra = Path(config.n_basis, config.hidden)
        self.inter = Path(config.n_basis, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, K, N), same out."""
        return self.inter(self.intra(x).transpose(1, 2)).transpose(1, 2)


class DPRNN(SeparationModel):
    """Filters, masks from two RNNs in turn, filters. Any level comes out as it went in."""

    def __init__(self, config: DPRNNConfig) -> None:
        super().__init__()
        self.config: DPRNNConfig = config
        n_basis = config.n_basis
        self.front_end = LearnedFrontEnd(n_basis, config.window)
        self.norm = GlobalLayerNorm(n_basis)
        self.bottleneck = pointwise(n_basis, n_basis)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.n_blocks)))
        self.mask = nn.Sequential(nn.PReLU(), pointwise(n_basis, config.n_src * n_basis))

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (B, time) -> (B, S, time).

        Raises:
            ShapeError: not (B, time), or no samples.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        features = self.front_end.encode(mixture).relu()  # (B, N, T)
        chunks = self.blocks(self.cut(self.bottleneck(self.norm(features))))  # (B, L, K, N)
        masks = self.mask(chunks.permute(0, 3, 1, 2).flatten(2)).unflatten(2, chunks.shape[1:3])  # (B, S * N, L, K)
        joined = self.join(masks, features.shape[-1]).relu()
        return self.front_end.decode(features, joined.unflatten(1, (self.config.n_src, -1)), mixture.shape[-1])

    def cut(self, x: Tensor) -> Tensor:
        """(B, N, T) -> chunks that overlap by half, (B, L, K, N); every frame is in two of them."""
        half, n_frames = self.config.chunk // 2, x.shape[-1]
        fill = (n_frames + half - 1) // half * half - n_frames
        halves = F.pad(x, (half, fill + half)).unflatten(2, (-1, half))  # (B, N, L + 1, K / 2)
        return torch.cat([halves[:, :, :-1], halves[:, :, 1:]], dim=3).permute(0, 2, 3, 1)

    def join(self, chunks: Tensor, n_frames: int) -> Tensor:
        """(B, channels, L, K) -> the chunks added up, (B, channels, T)."""
        first, second = chunks.chunk(2, dim=3)
        halves = F.pad(first, (0, 0, 0, 1)) + F.pad(second, (0, 0, 1, 0))  # (B, channels, L + 1, K / 2)
        return halves[:, :, 1:].flatten(2)[..., :n_frames]
