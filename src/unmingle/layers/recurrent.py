"""Sequences of stacked taps: unfold, let a recurrent network run along them, and fold back by a transposed convolution.

Letters: B any batch of sequences, C channels, L positions, K kernel, H features of the recurrent network.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def unfold_taps(x: Tensor, kernel: int, stride: int = 1) -> Tensor:
    """Stack `kernel` neighbouring positions into one vector, every `stride` positions.

    Element c * kernel + k of a vector is channel c at offset k.

    Args:
        x: (B, L, C) with L at least `kernel`.
        kernel: positions per vector.
        stride: positions between the beginnings of two vectors.
    Returns:
        (B, (L - kernel) // stride + 1, C * kernel).
    """
    return x.unfold(1, kernel, stride).flatten(2)


def padded_length(length: int, kernel: int, stride: int) -> int:
    """The least length from `length` up that vectors of `kernel` positions, `stride` apart, cover without rest."""
    steps = max(0, length - kernel + stride - 1) // stride  # never below 0: exported graphs would round towards it
    return steps * stride + kernel


class LSTMState(NamedTuple):
    """Of one layer, the same shape both."""

    hidden: Tensor
    cell: Tensor


class TapLSTM(nn.Module):
    """One LSTM layer along (B, L, features), one way or both ways: (B, L, hidden) or (B, L, 2 * hidden).

    Its output has the forward features first. `out_features` says how many there are.
    """

    def __init__(self, features: int, hidden: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=bidirectional)
        self.out_features = 2 * hidden if bidirectional else hidden

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, features) -> (B, L, out_features)."""
        return self.lstm(x)[0]

    def init_state(self, batch: int) -> LSTMState:
        """If one way: nothing heard, (B, hidden)."""
        zeros = cast("Tensor", self.lstm.weight_hh_l0).new_zeros(batch, self.lstm.hidden_size)
        return LSTMState(zeros, zeros)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """If one way: (B, L, features) and the state before -> (B, L, hidden) and the state after."""
        y, (hidden, cell) = self.lstm(x, (state.hidden.unsqueeze(0), state.cell.unsqueeze(0)))
        return y, LSTMState(hidden.squeeze(0), cell.squeeze(0))


class FoldTaps(nn.Module):
    """The way back from vectors to positions: a transposed convolution from H features to C channels, with bias.

    causal=True pairs with vectors that look backwards (`unfold_taps` after kernel - 1 zeros in front, stride 1): the
    output at a position comes from the vectors at it and before it, and there are as many positions as vectors.
    """

    def __init__(self, features: int, channels: int, kernel: int, stride: int = 1, *, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.conv = nn.ConvTranspose1d(features, channels, kernel, stride)

    def init_state(self, batch: int) -> Tensor:
        """If causal: no vectors yet, (B, kernel - 1, H)."""
        return self.conv.weight.new_zeros(batch, self.conv.kernel_size[0] - 1, self.conv.in_channels)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """If causal: (B, L, H) and the vectors before -> (B, L, C) and the last vectors."""
        kernel = self.conv.kernel_size[0]
        joined = torch.cat([state, x], dim=1)
        heard = joined.unfold(1, kernel, 1).flatten(2)  # (B, L, H * kernel), the newest last
        # The transposed convolution as one matrix: many times faster than a convolution where L is 1.
        matrix = self.conv.weight.flip(2).transpose(1, 2).flatten(0, 1)  # (H * kernel, C)
        return heard @ matrix + cast("Tensor", self.conv.bias), joined[:, x.shape[1] :]

    def forward(self, x: Tensor) -> Tensor:
        """(B, L', H) -> (B, L, C) with L = (L' - 1) * stride + kernel, or L = L' if causal."""
        positions = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return positions[:, : x.shape[1]] if self.causal else positions


def look_back(x: Tensor, kernel: int) -> Tensor:
    """Zeros in front of (B, L, C), so that the last of a vector's `kernel` taps is the present position."""
    return F.pad(x, (0, 0, kernel - 1, 0))
