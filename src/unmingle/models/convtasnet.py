"""Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech separation. Luo and Mesgarani,
IEEE/ACM TASLP 27 (2019).

    mixture -> filters (no nonlinearity) -> gLN, 1x1 -> R times X dilated blocks, whose skips add up -> sigmoid masks

Not implemented: the causal network with cumulative norms, masks by softmax.
Letters: B items, S sources, N filters, C width of the residual path, T frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from unmingle.layers.conv import pointwise
from unmingle.layers.front_end import LearnedFrontEnd
from unmingle.layers.norm import GlobalLayerNorm
from unmingle.models.base import SeparationModel, check_mixture
from unmingle.presets.convtasnet import ConvTasNetConfig


class DilatedBlock(nn.Module):
    """1x1, depth-wise with holes, and 1x1 twice: for the next block and for the sum of skips (Fig. 1C)."""

    def __init__(self, config: ConvTasNetConfig, dilation: int) -> None:
        super().__init__()
        hidden, kernel = config.hidden, config.kernel
        reach = (kernel - 1) // 2 * dilation
        self.widen = nn.Sequential(pointwise(config.channels, hidden), nn.PReLU(), GlobalLayerNorm(hidden))
        self.filter = nn.Conv1d(hidden, hidden, kernel, padding=reach, dilation=dilation, groups=hidden)
        self.act = nn.Sequential(nn.PReLU(), GlobalLayerNorm(hidden))
        self.residual = pointwise(hidden, config.channels)
        self.skip = pointwise(hidden, config.skip)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T) -> (B, C, T) for the next block and (B, skip, T)."""
        y = self.act(self.filter(self.widen(x)))
        return x + self.residual(y), self.skip(y)


class ConvTasNet(SeparationModel):
    """Filters, masks from dilated convolutions, filters. Any level comes out as it went in."""

    def __init__(self, config: ConvTasNetConfig) -> None:
        super().__init__()
        self.config: ConvTasNetConfig = config
        self.front_end = LearnedFrontEnd(config.n_basis, config.window)
        self.norm = GlobalLayerNorm(config.n_basis)
        self.bottleneck = pointwise(config.n_basis, config.channels)
        self.blocks = nn.ModuleList(
            DilatedBlock(config, 2**number) for _ in range(config.n_repeats) for number in range(config.depth)
        )
        self.mask = nn.Sequential(nn.PReLU(), pointwise(config.skip, config.n_src * config.n_basis), nn.Sigmoid())

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (B, time) -> (B, S, time).

        Raises:
            ShapeError: not (B, time), or no samples.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        features = self.front_end.encode(mixture)  # (B, N, T)
        x = self.bottleneck(self.norm(features))
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for block in cast("Iterable[DilatedBlock]", self.blocks):
            x, skip = block(x)
            total = total + skip
        masks = self.mask(total).unflatten(1, (self.config.n_src, -1))  # (B, S, N, T)
        return self.front_end.decode(features, masks, mixture.shape[-1])

    def unused_parameters(self) -> frozenset[str]:
        """The last block's way to a next one, which the paper counts."""
        last = f"blocks.{len(self.blocks) - 1}.residual."
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(last))
