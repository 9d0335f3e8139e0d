"""TFACM: a causal time-frequency network with attention cache memory, arXiv:2505.13094 (2025).

Implements the network of the authors' page and code in two forms (docs/decisions/0011):

    strict       nothing looks ahead, so it streams; `step` gives what `forward` gives
    published    computes as the published code: the gate mixes all times and bins of an utterance, the memory hands on
                 a segment that reaches into the next, the last layer sees one frame ahead. Offline only

Not implemented: a memory of its own for each pair of blocks, strides along time.
Letters: B items, T frames, F bins, C channels, S sources, L vectors of the frequency path. Features lie in memory
as (B, T, F, C); frames of `layers.segments` and of the attention are the same frames.
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
from unmingle.layers.grid import SequencePath
from unmingle.layers.key_cache import KeyCache, attend_step, hidden, init_cache, pass_border, runs
from unmingle.layers.live_stft import LiveFrames, LiveState
from unmingle.layers.norm import ChannelNorm
from unmingle.layers.recurrent import FoldTaps, TapLSTM, padded_length
from unmingle.layers.segments import LSTMState, MemoryState, SegmentLSTM, SegmentMemory
from unmingle.layers.state import choose_items
from unmingle.layers.stft import STFT, masked, without_offset
from unmingle.models.base import FrameStreamingModel, check_mixture
from unmingle.presets.tfacm import TFACMConfig

# F-Local: along the bins of each frame.


def frequency_path(config: TFACMConfig) -> SequencePath:
    """Neighbouring bins as one vector, an LSTM from low to high, folded back. Frames know nothing of each other."""
    lstm = TapLSTM(config.channels * config.kernel, config.channels, bidirectional=False)
    return SequencePath(lstm, config.channels, kernel=config.kernel, stride=config.stride, eps=config.eps)


# T-Local: along the frames of each bin, in segments.


class TimePath(nn.Module):
    """An LSTM over short segments, folded back over present and past frames."""

    def __init__(self, config: TFACMConfig) -> None:
        super().__init__()
        channels = config.channels
        self.norm = ChannelNorm(channels, eps=config.eps)
        self.segments = SegmentLSTM(channels, config.segment_size, overlap=config.overlap)
        self.fold = FoldTaps(channels, channels, config.kernel, causal=True)

    def forward(self, x: Tensor, starts: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """(B, T, F, C) and where segments begin -> (B, T, F, C) and where they end, (B, segments, F, C)."""
        y, ends = self.segments(self.norm.channels_last(x), starts)
        folded = self.fold(y.transpose(1, 2).flatten(0, 1))  # (B * F, T, C)
        return x + folded.unflatten(0, (x.shape[0], -1)).transpose(1, 2), ends

    def step(self, x: Tensor, segments: LSTMState, taps: Tensor) -> tuple[Tensor, LSTMState, Tensor]:
        """(B, T, F, C) within a segment hop, the live segments, and the frames that the fold still needs."""
        y, segments = self.segments.step(self.norm.channels_last(x), segments)
        folded, last = self.fold.step(y.transpose(1, 2).flatten(0, 1), taps.flatten(0, 1))
        return x + folded.unflatten(0, (x.shape[0], -1)).transpose(1, 2), segments, last.view_as(taps)


# CAR: attention over all frames, then a gate.


class Scale(nn.Module):
    """A gain and an offset per channel: a depth-wise convolution of one tap."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels).uniform_(-1, 1))  # as torch initialises such a convolution
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C), same out."""
        return torch.addcmul(self.bias, x, self.weight)


def _arm(channels: int, *end: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, channels), Scale(channels), nn.Linear(channels, channels), *end)


class GatedUnit(nn.Module):
    """linear(left(x) * right(x)): replaces what went in, no residual."""

    def __init__(self, config: TFACMConfig) -> None:
        super().__init__()
        self.scrambled = config.form == "published"
        self.left = _arm(config.channels)
        self.right = _arm(config.channels, nn.PReLU() if config.gate == "prelu" else nn.Sigmoid())
        self.dropout = nn.Dropout(config.dropout)
        self.final = nn.Linear(config.channels, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F, C), same out."""
        if not self.scrambled:
            return self._gate(x)
        channels_first = x.permute(0, 3, 1, 2).contiguous()  # (B, C, T, F), read as (B, F, C, T): the published code
        batch, channels, n_frames, n_bins = channels_first.shape
        mixed = channels_first.view(batch, n_bins, channels, n_frames).transpose(2, 3)
        gated = self._gate(mixed).transpose(2, 3).contiguous()
        return gated.view_as(channels_first).permute(0, 2, 3, 1)

    def begin_open(self) -> None:
        """First weights that let nearly all of x through, so that every block of a new network hears the first one."""
        linears = [self.left[0], self.left[2], self.final, self.right[0], self.right[2]]
        with torch.no_grad():
            for linear in cast("list[nn.Linear]", linears):
                linear.bias.zero_()
                linear.weight.mul_(0.2)
            for linear in cast("list[nn.Linear]", linears[:3]):
                linear.weight.add_(torch.eye(len(linear.weight)))
            for scale in cast("list[Scale]", [self.left[1], self.right[1]]):
                scale.weight.fill_(1)
                scale.bias.zero_()
            cast("nn.Linear", self.right[2]).bias.fill_(1)

    def _gate(self, x: Tensor) -> Tensor:
        return self.final(self.dropout(self.left(x) * self.right(x)))


class BlockState(NamedTuple):
    """What a block remembers."""

    segments: LSTMState  # (B, live segments, F, C)
    taps: Tensor  # (B, F, kernel - 1, C)
    attention: KeyCache


class Block(nn.Module):
    """Frequency path, time path, attention, gate."""

    def __init__(self, config: TFACMConfig) -> None:
        super().__init__()
        self.n_bins = config.n_bins
        self.padded_bins = padded_length(config.n_bins, config.kernel, config.stride)
        self.reach = config.segment_hop
        self.frequency = frequency_path(config)
        self.time = TimePath(config)
        self.attention = CrossFrameAttention(
            config.channels,
            config.n_bins,
            n_heads=config.n_heads,
            query_channels=config.query_channels,
            eps=config.eps,
            causal=True,
            context=config.attn_context,
        )
        self.gate = GatedUnit(config)

    def forward(self, x: Tensor, starts: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """(B, T, F, C) and where its segments begin -> (B, T, F, C) and where they end."""
        y, ends = self.time(self._along_bins(x), starts)
        y = self.attention(y[:, :, : self.n_bins].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.gate(y), ends

    def init_state(self, batch: int) -> BlockState:
        """Nothing heard."""
        taps = self.time.fold.init_state(batch * self.padded_bins).unflatten(0, (batch, -1))
        segments = self.time.segments.init_state(batch, self.padded_bins)
        return BlockState(segments, taps, init_cache(self.attention, batch, reach=self.reach))

    def step(self, x: Tensor, state: BlockState, unseen: Tensor, *, recent: int | Tensor) -> tuple[Tensor, BlockState]:
        """(B, T, F, C), `recent` frames into a segment hop and not beyond it; see `attend_step`."""
        y, segments, taps = self.time.step(self._along_bins(x), state.segments, state.taps)
        y = y[:, :, : self.n_bins].permute(0, 3, 1, 2)
        y, attention = attend_step(self.attention, y, state.attention, unseen, recent=recent)
        return self.gate(y.permute(0, 2, 3, 1)), BlockState(segments, taps, attention)

    def advance(self, state: BlockState, start: LSTMState | None) -> tuple[BlockState, LSTMState]:
        """At the end of a segment hop: where the new segment begins -> the state, and where the oldest one ended."""
        segments, ended = self.time.segments.advance(state.segments, start)
        attention = pass_border(state.attention, self.attention.context)
        return BlockState(segments, state.taps, attention), ended

    def _along_bins(self, x: Tensor) -> Tensor:
        """The frequency path, with zero bins on top so that its vectors cover every bin; the time path keeps them."""
        padded = F.pad(x, (0, 0, 0, self.padded_bins - self.n_bins)) if self.padded_bins > self.n_bins else x
        return self.frequency(padded.flatten(0, 1)).view_as(padded)


class NetworkState(NamedTuple):
    """What the network remembers between frames."""

    encoder: Tensor  # (B, 2, F, 2), planes of the last frames
    blocks: tuple[BlockState, ...]
    memories: tuple[MemoryState, ...]  # one for each two neighbouring blocks
    decoder: Tensor  # (B, 2, F, C), features of the last frames


class TFACM(FrameStreamingModel):
    """Waveform -> STFT -> blocks -> complex spectrum of each source -> estimates. The level is that of the mixture."""

    def __init__(self, config: TFACMConfig) -> None:
        super().__init__()
        self.config: TFACMConfig = config
        self.transform = STFT(config.window, config.hop)
        self.encoder = CausalConv2d(2, config.channels)
        self.norm = ChannelNorm(config.channels, eps=config.eps)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_blocks))
        self.memory = SegmentMemory(config.channels)  # one set of weights for all pairs of blocks
        self.decoder = CausalConv2d(config.channels, 2 * config.n_src)
        self.idle = nn.ParameterDict({"gain": torch.ones(1), "bias": torch.zeros(1)})  # published files hold them
        for parameter in self.decoder.conv.parameters():  # it stands for a transposed convolution, which begins larger
            nn.init.uniform_(parameter, -((9 * 2 * config.n_src) ** -0.5), (9 * 2 * config.n_src) ** -0.5)
        if config.output == "mask":
            self._begin_with_even_shares()
            for block in self._chain:
                block.gate.begin_open()
        # The last layer of the published form looks one frame ahead without saying so.
        self.lookahead = 1 if config.form == "published" else config.deconv_lookahead
        self.live = LiveFrames(
            config.window,
            config.hop,
            n_src=config.n_src,
            lookahead=self.lookahead,
            period=None if config.attn_context is None else config.segment_hop,
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (B, time) -> (B, S, time). Zeros complete one up to half a window.

        Raises:
            ShapeError: not (batch, time), or no samples.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        time = mixture.shape[1]
        planes = self.transform(F.pad(mixture, (0, max(0, self.live.least - time))))  # (B, 2, T, F)
        x = self.norm.channels_last(self.encoder(planes.permute(0, 2, 3, 1)))  # (B, T, F, C)
        starts: LSTMState | None = None
        for number, block in enumerate(self.blocks, start=1):
            x, ends = block(x, starts)
            if number < len(self.blocks):
                starts = self.memory(ends, shift=self.config.memory_shift)
        ahead = F.pad(x, (0, 0, 0, 0, 0, self.lookahead))
        planes = self._planes(self.decoder(ahead)[:, self.lookahead :], planes)  # (B, S, 2, T, F)
        return self.transform.inverse(planes.flatten(0, 1), time).unflatten(0, planes.shape[:2])

    def unused_parameters(self) -> frozenset[str]:
        """Two numbers that published files hold although nothing reads them; and a memory between no two blocks."""
        idle = ("idle.", "memory.") if len(self.blocks) == 1 else ("idle.",)
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(idle))

    def init_state(self, batch: int) -> LiveState:
        """The state before the first sample.

        Raises:
            ConfigError: the published form does not stream.
        """
        if not self.config.causal:
            raise ConfigError(
                "a TFACM of form 'published' hears the whole utterance before it answers, so it cannot stream; "
                "form 'strict' has the same weights and streams, but has to be trained as such"
            )
        n_bins = self.config.n_bins
        network = NetworkState(
            encoder=self.encoder.init_state(batch, n_bins),
            blocks=tuple(block.init_state(batch) for block in self._chain),
            memories=tuple(self.memory.init_state(batch, block.padded_bins) for block in self._chain[1:]),
            decoder=self.decoder.init_state(batch, n_bins),
        )
        return self.live.init_state(batch, network, like=self.encoder.conv.weight)

    def separate_frames(
        self, planes: Tensor, state: NetworkState, *, before: Tensor, last: bool
    ) -> tuple[Tensor, NetworkState]:
        """Frames through the network: (B, 2, T, F) -> (B, S, 2, T', F). See `FrameNetwork`."""
        if planes.shape[2] == 0:
            return planes.new_zeros(len(planes), self.config.n_src, *planes.shape[1:]), state
        x, encoder = self.encoder.step(planes.permute(0, 2, 3, 1), state.encoder)
        x = self.norm.channels_last(x)  # (B, T, F, C)
        first, reach = int(before[0]), self.config.segment_hop
        blocks, memories, parts = state.blocks, state.memories, list[Tensor]()
        for start, end, recent in runs(first, x.shape[1], reach):
            part, blocks = self._walk(x[:, start:end], blocks, before + start, recent=recent)
            if recent + end - start == reach:
                blocks, memories = self._advance(blocks, memories)
            parts.append(part)
        if last:
            parts.append(x.new_zeros(len(x), self.lookahead, *x.shape[2:]))
        y, decoder = self.decoder.step(torch.cat(parts, dim=1), state.decoder)
        planes = self._planes(y[:, self.lookahead :] if first == 0 else y, planes)
        return planes, NetworkState(encoder, blocks, memories, decoder)

    def separate_frame(self, planes: Tensor, state: NetworkState, *, before: Tensor) -> tuple[Tensor, NetworkState]:
        """One frame of streams that stand anywhere: (B, 2, 1, F) -> (B, S, 2, 1, F), and the state."""
        x, encoder = self.encoder.step(planes.permute(0, 2, 3, 1), state.encoder)
        recent = before % self.config.segment_hop
        x, blocks = self._walk(self.norm.channels_last(x), state.blocks, before, recent=recent.view(-1, 1, 1, 1))
        inside = (blocks, state.memories)
        blocks, memories = choose_items(recent + 1 == self.config.segment_hop, self._advance(*inside), inside)
        y, decoder = self.decoder.step(x, state.decoder)
        return self._planes(y, planes), NetworkState(encoder, blocks, memories, decoder)

    @property
    def _chain(self) -> tuple[Block, ...]:
        return tuple(cast("Iterable[Block]", self.blocks))

    def _walk(
        self, x: Tensor, states: tuple[BlockState, ...], before: Tensor, *, recent: int | Tensor
    ) -> tuple[Tensor, tuple[BlockState, ...]]:
        """Frames of one segment hop through all blocks."""
        past, reach = states[0].attention.past_keys.shape[2], self.config.segment_hop
        context = self.config.attn_context
        unseen = hidden(before, x.shape[1], recent=recent, past=past, reach=reach, context=context)
        after: list[BlockState] = []
        for block, state in zip(self._chain, states, strict=True):
            x, state = block.step(x, state, unseen, recent=recent)
            after.append(state)
        return x, tuple(after)

    def _advance(
        self, blocks: tuple[BlockState, ...], memories: tuple[MemoryState, ...]
    ) -> tuple[tuple[BlockState, ...], tuple[MemoryState, ...]]:
        """A segment ends in every block: the memory makes of it where a segment of the next block begins."""
        start: LSTMState | None = None
        after: list[BlockState] = []
        heard: list[MemoryState] = []
        for number, (block, state) in enumerate(zip(self._chain, blocks, strict=True)):
            state, ended = block.advance(state, start)
            after.append(state)
            if number < len(memories):
                start, memory = self.memory.step(ended, memories[number])
                heard.append(memory)
        return tuple(after), tuple(heard)

    def _planes(self, y: Tensor, mixture: Tensor) -> Tensor:
        """(B, T, F, 2S), what the last layer gives, and the mixture's (B, 2, T, F) -> (B, S, 2, T, F)."""
        planes = y.permute(0, 3, 1, 2).unflatten(1, (-1, 2))
        planes = masked(mixture, planes) if self.config.output == "mask" else planes
        return without_offset(planes) if self.config.dc == "remove" else planes

    def _begin_with_even_shares(self) -> None:
        """First masks near 1 / S, so that training begins with estimates of the right level."""
        bias = cast(Tensor, self.decoder.conv.bias)
        with torch.no_grad():
            self.decoder.conv.weight.mul_(0.03)
            bias.zero_()[::2] = 1 / self.config.n_src
