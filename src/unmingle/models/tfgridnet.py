"""TF-GridNet: integrating full- and sub-band modeling for speech separation. Wang et al., IEEE/ACM TASLP 31 (2023).

Implements the separator of one microphone that maps the mixture's spectrum to those of the sources, as in ESPnet's
first version, and a causal one with the same letters (docs/decisions/0010):

                first norm          LSTMs        path along frames    attention      level
    usual       whole utterance     both ways    centred              all frames     of the whole mixture, taken out
    causal      each frame and bin  forward      present and past     earlier ones   as it comes

Not implemented: several microphones, beamforming between two networks, ESPnet's second version.
Letters: B items, T frames, F bins, C channels, S sources.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.causal import CausalConv2d
from unmingle.layers.frame_attention import CrossFrameAttention
from unmingle.layers.grid import GridBlock, SequencePath, deviation
from unmingle.layers.norm import ChannelNorm, GlobalLayerNorm
from unmingle.layers.recurrent import TapLSTM
from unmingle.layers.stft import STFT
from unmingle.models.base import SeparationModel, check_mixture
from unmingle.presets.tfgridnet import TFGridNetConfig


def _path(config: TFGridNetConfig, *, causal: bool) -> SequencePath:
    lstm = TapLSTM(config.channels * config.kernel, config.hidden, bidirectional=not config.causal)
    return SequencePath(
        lstm, config.channels, kernel=config.kernel, stride=config.stride, causal=causal, eps=config.eps
    )


def _block(config: TFGridNetConfig) -> GridBlock:
    attention = CrossFrameAttention(
        config.channels,
        config.n_bins,
        n_heads=config.n_heads,
        query_channels=config.query_channels,
        activation=config.activation,
        eps=config.eps,
        causal=config.causal,
        context=config.attn_context,
    )
    return GridBlock(_path(config, causal=False), _path(config, causal=config.causal), attention)


class TFGridNet(SeparationModel):
    """Waveform -> STFT -> blocks -> complex spectrum of each source -> estimates. Any length and level."""

    def __init__(self, config: TFGridNetConfig) -> None:
        super().__init__()
        self.config: TFGridNetConfig = config
        channels, planes = config.channels, 2 * config.n_src
        self.transform = STFT(config.window, config.hop)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.n_blocks))
        if config.causal:
            self.encoder = CausalConv2d(2, channels)
            self.norm = ChannelNorm(channels, eps=config.eps)
            self.decoder = CausalConv2d(channels, planes)
        else:
            self.encoder = nn.Conv2d(2, channels, 3, padding=1)
            self.norm = GlobalLayerNorm(channels, eps=config.eps)
            self.decoder = nn.ConvTranspose2d(channels, planes, 3, padding=1)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (B, time) -> (B, S, time).

        Raises:
            ShapeError: not (batch, time), or no samples.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        time, scale = mixture.shape[-1], deviation(mixture)
        scale = scale.new_ones(scale.shape) if self.config.causal else scale
        scaled = mixture / scale.masked_fill(scale == 0, 1)
        scaled = F.pad(scaled, (0, max(0, self.config.window // 2 + 1 - time)))
        x = self.encode(self.transform(scaled))
        for block in self.blocks:
            x = block(x)
        planes = self.decode(x).flatten(0, 1).to(mixture.dtype)  # (B * S, 2, T, F)
        estimates = self.transform.inverse(planes, scaled.shape[-1]).unflatten(0, (-1, self.config.n_src))
        return estimates[..., :time] * scale.unsqueeze(1)

    def encode(self, planes: Tensor) -> Tensor:
        """(B, 2, T, F) -> (B, T, F, C)."""
        if self.config.causal:
            return self.norm(self.encoder(planes.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.norm(self.encoder(planes)).permute(0, 2, 3, 1)

    def decode(self, x: Tensor) -> Tensor:
        """(B, T, F, C) -> (B, S, 2, T, F)."""
        planes = self.decoder(x).permute(0, 3, 1, 2) if self.config.causal else self.decoder(x.permute(0, 3, 1, 2))
        return planes.unflatten(1, (-1, 2))
