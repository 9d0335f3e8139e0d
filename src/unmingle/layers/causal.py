"""Convolutions over frames that hear no later frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConv2d(nn.Module):
    """A convolution over frames and bins: centred in frequency, present and past frames only, sizes kept.

    In memory the channels lie together: (B, T, F, C) for B items, T frames, F bins, C channels.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.context = kernel - 1  # frames of the past
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=(0, kernel // 2))

    def init_state(self, batch: int, n_bins: int) -> Tensor:
        """The silent past, (B, context, F, C)."""
        return self.conv.weight.new_zeros(batch, self.context, n_bins, self.conv.in_channels)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F, C) and the frames before -> (B, T, F, C') and the last frames."""
        joined = torch.cat([state, x], dim=1)
        y = self.conv(joined.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y, joined[:, joined.shape[1] - self.context :]

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F, C) -> (B, T, F, C')."""
        padded = F.pad(x, (0, 0, 0, 0, self.context, 0))
        return self.conv(padded.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
