"""The learned front end of the time-domain audio separation networks (TasNet): filters in, masks, filters out.

Letters: B items, S sources, N filters, T frames.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.conv import OverlapAdd


class LearnedFrontEnd(nn.Module):
    """Filters of `window` samples that hop by half of it, and as many for the way back; every source by itself."""

    def __init__(self, n_basis: int, window: int) -> None:
        super().__init__()
        self.hop = window // 2
        self.encoder = nn.Conv1d(1, n_basis, window, self.hop, padding=self.hop, bias=False)
        self.decoder = OverlapAdd(n_basis, 1, window, self.hop)

    def encode(self, mixture: Tensor) -> Tensor:
        """(B, time) -> (B, N, T); zeros complete the last hop."""
        whole = (mixture.shape[-1] + self.hop - 1) // self.hop * self.hop
        return self.encoder(F.pad(mixture, (0, whole - mixture.shape[-1])).unsqueeze(1))

    def decode(self, features: Tensor, masks: Tensor, time: int) -> Tensor:
        """(B, N, T) and a mask for each source, (B, S, N, T) -> (B, S, time)."""
        masked = (masks * features.unsqueeze(1)).flatten(0, 1)
        estimates = self.decoder(masked).view(*masks.shape[:2], -1)
        return F.pad(estimates, (0, time - estimates.shape[-1]))  # a slice would fix in graphs whether it cuts
