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

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.errors import ConfigError
from unmingle.layers.causal import CausalConv2d
from unmingle.layers.frame_attention import CrossFrameAttention
from unmingle.layers.grid import GridBlock, GridState, SequencePath, deviation
from unmingle.layers.key_cache import hidden, runs
from unmingle.layers.live_stft import LiveFrames, LiveState
from unmingle.layers.norm import ChannelNorm, GlobalLayerNorm
from unmingle.layers.recurrent import TapLSTM
from unmingle.layers.state import choose_items
from unmingle.layers.stft import STFT
from unmingle.models.base import FrameStreamingModel, check_mixture
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


REACH = 32  # frames of a stream that are recent before they become past, see `layers.key_cache`


class NetworkState(NamedTuple):
    """What a causal network remembers between frames."""

    encoder: Tensor  # (B, 2, F, 2), planes of the last frames
    blocks: tuple[GridState, ...]
    decoder: Tensor  # (B, 2, F, C), features of the last frames


class TFGridNet(FrameStreamingModel):
    """Waveform -> STFT -> blocks -> complex spectrum of each source -> estimates. Any length and level."""

    def __init__(self, config: TFGridNetConfig) -> None:
        super().__init__()
        self.config: TFGridNetConfig = config
        channels, planes = config.channels, 2 * config.n_src
        self.transform = STFT(config.window, config.hop)
        period = None if config.attn_context is None else REACH
        self.live = LiveFrames(config.window, config.hop, n_src=config.n_src, period=period)
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

    def init_state(self, batch: int) -> LiveState:
        """The state before the first sample.

        Raises:
            ConfigError: the network is not causal, or its frames overlap by less than half.
        """
        if not isinstance(self.encoder, CausalConv2d) or not isinstance(self.decoder, CausalConv2d):
            raise ConfigError("this TF-GridNet hears the whole mixture before it answers; only a causal one streams")
        if 2 * self.config.hop > self.config.window:
            raise ConfigError(
                f"this TF-GridNet has a hop of {self.config.hop} samples and a window of {self.config.window}; it "
                "streams with a hop of at most half the window"
            )
        network = NetworkState(
            encoder=self.encoder.init_state(batch, self.config.n_bins),
            blocks=tuple(block.init_state(batch, reach=REACH) for block in self._chain),
            decoder=self.decoder.init_state(batch, self.config.n_bins),
        )
        return self.live.init_state(batch, network, like=self.encoder.conv.weight)

    def separate_frames(
        self, planes: Tensor, state: NetworkState, *, before: Tensor, last: bool
    ) -> tuple[Tensor, NetworkState]:
        """Frames through the network, (B, 2, T, F) -> (B, S, 2, T, F): a `FrameNetwork` that looks at no later one."""
        del last
        if planes.shape[2] == 0:
            return planes.new_zeros(len(planes), self.config.n_src, *planes.shape[1:]), state
        x, encoder = cast(CausalConv2d, self.encoder).step(planes.permute(0, 2, 3, 1), state.encoder)
        x = cast(ChannelNorm, self.norm).channels_last(x)  # (B, T, F, C)
        blocks, parts, context = list(state.blocks), list[Tensor](), self.config.attn_context
        for start, end, recent in runs(int(before[0]), x.shape[1], REACH):
            y, past = x[:, start:end], blocks[0].attention.past_keys.shape[2]
            unseen = hidden(before + start, end - start, recent=recent, past=past, reach=REACH, context=context)
            border = recent + end - start == REACH
            for number, block in enumerate(self._chain):
                y, blocks[number] = block.step(y, blocks[number], unseen, recent=recent, border=border)
            parts.append(y)
        y, decoder = cast(CausalConv2d, self.decoder).step(torch.cat(parts, dim=1), state.decoder)
        return y.permute(0, 3, 1, 2).unflatten(1, (-1, 2)), NetworkState(encoder, tuple(blocks), decoder)

    def separate_frame(self, planes: Tensor, state: NetworkState, *, before: Tensor) -> tuple[Tensor, NetworkState]:
        """One frame of streams that stand anywhere: (B, 2, 1, F) -> (B, S, 2, 1, F), and the state."""
        y, encoder = cast(CausalConv2d, self.encoder).step(planes.permute(0, 2, 3, 1), state.encoder)
        y, recent = cast(ChannelNorm, self.norm).channels_last(y), before % REACH  # (B, 1, F, C)
        past, context = state.blocks[0].attention.past_keys.shape[2], self.config.attn_context
        at = recent.view(-1, 1, 1, 1)
        unseen = hidden(before, 1, recent=at, past=past, reach=REACH, context=context)
        blocks: list[GridState] = []
        for block, one in zip(self._chain, state.blocks, strict=True):
            y, inside = block.step(y, one, unseen, recent=at, border=False)
            blocks.append(choose_items(recent + 1 == REACH, block.pass_border(inside), inside))
        y, decoder = cast(CausalConv2d, self.decoder).step(y, state.decoder)
        return y.permute(0, 3, 1, 2).unflatten(1, (-1, 2)), NetworkState(encoder, tuple(blocks), decoder)

    @property
    def _chain(self) -> tuple[GridBlock, ...]:
        return tuple(cast("Iterable[GridBlock]", self.blocks))
