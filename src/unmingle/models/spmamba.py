"""SPMamba: state-space model is all you need in speech separation. Li, Chen, Yang, Hu, arXiv:2404.02063 (2024).

Implements the non-causal network as published. A block is that of TF-GridNet with a bidirectional Mamba in the place
of each LSTM. Departures from the paper's figure, as in the published code: norms come before the mixer and before the
unfolding, and the linear layer behind it is the transposed convolution that folds the vectors back.
Departures from the code: silence gives silence, and a mixture may be shorter than half a window, or a path shorter
than its kernel, which zeros complete.
Letters: B items, T frames, F bins, C channels, S sources.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.frame_attention import CrossFrameAttention
from unmingle.layers.grid import GridBlock, SequencePath, deviation
from unmingle.layers.norm import GlobalLayerNorm
from unmingle.layers.state_space import BMamba
from unmingle.layers.stft import STFT
from unmingle.models.base import SeparationModel, check_mixture
from unmingle.presets.spmamba import SPMambaConfig


def _path(config: SPMambaConfig) -> SequencePath:
    mamba = BMamba(
        config.channels * config.kernel,
        n_units=config.n_units,
        d_state=config.d_state,
        d_conv=config.d_conv,
        expand=config.expand,
    )
    return SequencePath(mamba, config.channels, kernel=config.kernel, stride=config.stride, eps=config.eps)


def _block(config: SPMambaConfig) -> GridBlock:
    attention = CrossFrameAttention(
        config.channels,
        config.n_bins,
        n_heads=config.n_heads,
        query_channels=config.query_channels,
        activation=config.activation,
        eps=config.eps,
    )
    return GridBlock(_path(config), _path(config), attention)


class SPMamba(SeparationModel):
    """Waveform -> STFT -> blocks -> complex spectrum of each source -> estimates. Any length and level."""

    def __init__(self, config: SPMambaConfig) -> None:
        super().__init__()
        self.config: SPMambaConfig = config
        self.transform = STFT(config.window, config.hop)
        self.encoder = nn.Conv2d(2, config.channels, 3, padding=1)
        self.norm = GlobalLayerNorm(config.channels, eps=config.eps)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_blocks))
        self.decoder = nn.ConvTranspose2d(config.channels, 2 * config.n_src, 3, padding=1)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (B, time) -> (B, S, time).

        Raises:
            ShapeError: not (batch, time), or no samples.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        time, scale = mixture.shape[-1], deviation(mixture)
        scaled = mixture / scale.masked_fill(scale == 0, 1)
        scaled = F.pad(scaled, (0, max(0, self.config.window // 2 + 1 - time)))
        x = self.norm(self.encoder(self.transform(scaled))).permute(0, 2, 3, 1)  # (B, T, F, C)
        for block in self.blocks:
            x = block(x)
        planes = self.decoder(x.permute(0, 3, 1, 2)).unflatten(1, (-1, 2))  # (B, S, 2, T, F)
        planes = planes.flatten(0, 1).to(mixture.dtype)
        estimates = self.transform.inverse(planes, scaled.shape[-1]).unflatten(0, (-1, self.config.n_src))
        return estimates[..., :time] * scale.unsqueeze(1)
