"""TDANet: an efficient encoder-decoder with top-down attention. Li, Yang, Hu, ICLR 2023, arXiv:2209.15200.

Implements the non-causal network, base and Large (the same on a window of half the length), in four forms that differ
in how the global attention modulates each scale and where the decoder starts (docs/decisions/0004):

    form       scale k, from the local y_k and global g     decoder starts at    attention of each item
    paper      y_k * sigmoid(up(g))                         x_{S-1}, coarsest    over time
    released   TopDownAttention_1(y_k, g)                   x_{S-3}              over itself alone
    code       y_k + up(g)                                  x_{S-3}              over itself alone
    sonicsim   cn(y_k) * up(sigmoid(cn(g)))                 x_{S-3}              over itself alone

Not implemented: the causal network, and early forms of which no weights are public.
Letters: B batch, N basis signals, C0 channels, C hidden, F frames, F_k frames at scale k, S depth, M sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unmingle.layers.attention import (
    AttentionAxis,
    ConvFeedForward,
    DropPath,
    SelfAttention,
    TopDownAttention,
    pool_sum,
    sinusoid_positions,
)
from unmingle.layers.conv import ConvNorm, ConvNormAct, Depthwise, OverlapAdd, nearest, pad_windows, pointwise
from unmingle.layers.norm import GlobalLayerNorm
from unmingle.models.base import SeparationModel, check_mixture
from unmingle.presets.tdanet import N_HEADS, Form, TDANetConfig

# Global attention: what happens at the coarsest scale.


class PositionedAttention(nn.Module):
    """Self-attention with positions, normalised before and after.

    The attention's output is added to itself, not to its input: in evaluation this is norm(2 a). The way around it is
    the sum in `GlobalAttention`.
    """

    def __init__(self, channels: int, dropout: float, axis: AttentionAxis) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, n_heads=N_HEADS, dropout=dropout, axis=axis)
        self.dropout = nn.Dropout(dropout)
        self.output_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(B, C, L) and (L, C) -> (B, C, L)."""
        frames = self.input_norm(x.transpose(1, 2)) + positions  # (B, L, C)
        attended = self.attention(frames)
        return self.output_norm(attended + self.dropout(attended)).transpose(1, 2)


class GlobalAttention(nn.Module):
    """Attention, then a feed-forward network, each around a residual."""

    def __init__(self, channels: int, dropout: float, axis: AttentionAxis) -> None:
        super().__init__()
        self.attention = PositionedAttention(channels, dropout, axis)
        self.feed_forward = ConvFeedForward(channels, kernel=5, dropout=dropout)
        self.drop_path = DropPath(dropout)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(B, C, L) and (L, C) -> (B, C, L)."""
        x = x + self.drop_path(self.attention(x, positions))
        return x + self.drop_path(self.feed_forward(x))


# Modulation: the global map g acts on the local map y_k of one scale, (B, C, F_k) and (B, C, L) -> (B, C, F_k).


class Gate(nn.Module):
    """y_k * sigmoid(up(g)): the paper."""

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        return local * nearest(torch.sigmoid(context), local.shape[-1])


class Shift(nn.Module):
    """y_k + up(g): the public training code."""

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        return local + nearest(context, local.shape[-1])


class NormedGate(nn.Module):
    """cn(y_k) * up(sigmoid(cn(g))): SonicSim."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local = ConvNorm(Depthwise(channels, 1, bias=False), channels)
        self.gate = ConvNorm(Depthwise(channels, 1, bias=False), channels)

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        return self.local(local) * nearest(torch.sigmoid(self.gate(context)), local.shape[-1])


MODULATIONS: dict[Form, Callable[[int], nn.Module]] = {
    "paper": lambda _: Gate(),
    "released": lambda channels: TopDownAttention(channels, kernel=1),
    "code": lambda _: Shift(),
    "sonicsim": NormedGate,
}


class TopDownBlock(nn.Module):
    """One pass: bottom-up to S scales, global attention over their sum, top-down to the finest scale again."""

    def __init__(self, config: TDANetConfig) -> None:
        super().__init__()
        hidden, depth = config.hidden, config.depth
        # x_{S-3} means counting from the end: for S = 2 it is the last scale. x_{S-1} then acts on nothing.
        self.start = depth - 1 if config.form == "paper" else (depth - 3) % depth
        self.expand = ConvNormAct(pointwise(config.channels, hidden), hidden)
        self.down = nn.ModuleList(
            ConvNorm(Depthwise(hidden, 5, stride=1 if k == 0 else 2), hidden) for k in range(depth)
        )
        self.global_attention = GlobalAttention(hidden, config.dropout, config.resolved_axis)
        self.modulation = nn.ModuleList(MODULATIONS[config.form](hidden) for _ in range(depth))
        self.up = nn.ModuleList(TopDownAttention(hidden, kernel=5) for _ in range(depth - 1))
        self.reduce = pointwise(hidden, config.channels)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """(B, C0, F) and (L, C) -> (B, C0, F)."""
        scales = self.bottom_up(x)
        context = self.global_attention(pool_sum(scales), positions)  # (B, C, L)
        return self.reduce(self.top_down(scales, context)) + x

    def bottom_up(self, x: Tensor) -> list[Tensor]:
        """(B, C0, F) -> S maps (B, C, F_k) with F_0 = F and F_k = ceil(F_{k-1} / 2)."""
        scales: list[Tensor] = []
        y = self.expand(x)
        for down in self.down:
            y = down(y)
            scales.append(y)
        return scales

    def top_down(self, scales: Sequence[Tensor], context: Tensor) -> Tensor:
        """S maps (B, C, F_k) and (B, C, L) -> (B, C, F)."""
        n_used = max(self.start + 1, len(scales) - 1)
        modulated = [modulate(y, context) for modulate, y in zip(self.modulation, scales[:n_used], strict=False)]
        x = modulated[self.start]
        for k in reversed(range(len(self.up))):
            x = self.up[k](modulated[k], x)
        return x


class Separator(nn.Module):
    """The block applied `n_iterations` times with the same weights; every pass sees the first input x_0 again.

    x = f(x_0), then x = f(phi(x_0 + x)), where phi is a gain and an offset per channel and PReLU.
    """

    def __init__(self, config: TDANetConfig) -> None:
        super().__init__()
        self.config = config
        self.block = TopDownBlock(config)
        self.mix = nn.Sequential(Depthwise(config.channels, 1), nn.PReLU())

    def forward(self, features: Tensor) -> Tensor:
        """(B, C0, F), same out."""
        positions = self.positions(features)  # (L, C), the same in every pass
        x = self.block(features, positions)
        for _ in range(self.config.n_iterations - 1):
            x = self.block(self.mix(features + x), positions)
        return x

    def positions(self, features: Tensor) -> Tensor:
        """Position encoding for the coarsest scale of (B, C0, F), (L, C)."""
        length = features.shape[-1]
        for _ in range(self.config.depth - 1):
            length = (length + 1) // 2
        return sinusoid_positions(length, self.config.hidden, device=features.device).to(features.dtype)


class TDANet(SeparationModel):
    """Waveform -> encoder -> masks -> decoder -> estimates. Any length; the level passes through unchanged."""

    def __init__(self, config: TDANetConfig) -> None:
        super().__init__()
        self.config: TDANetConfig = config
        n_basis, window, hop, n_src = config.n_basis, config.window, config.hop, config.n_src
        self.encoder = nn.Conv1d(1, n_basis, window, hop, padding=window // 2, bias=False)
        self.norm = GlobalLayerNorm(n_basis)
        self.bottleneck = pointwise(n_basis, config.channels)
        self.separator = Separator(config)
        self.mask = nn.Sequential(nn.PReLU(), pointwise(config.channels, n_src * n_basis), nn.ReLU())
        # One dense matrix: every estimate is made from the masked features of all sources.
        self.decoder = OverlapAdd(n_src * n_basis, n_src, window, hop)
        nn.init.xavier_uniform_(self.encoder.weight)
        nn.init.xavier_uniform_(self.decoder.weight)

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (B, time) -> (B, M, time).

        Raises:
            ShapeError: not (batch, time), or no samples.
            SignalError: not floating point.
        """
        check_mixture(mixture)
        features = self.encoder(self.pad(mixture).unsqueeze(1))  # (B, N, F)
        separated = self.separator(self.bottleneck(self.norm(features)))  # (B, C0, F)
        masks = self.mask(separated).unflatten(1, (self.config.n_src, -1))  # (B, M, N, F)
        estimates = self.decoder((masks * features.unsqueeze(1)).flatten(1, 2))  # (B, M, padded time)
        start = self.config.window - self.config.hop
        return estimates[..., start : start + mixture.shape[-1]]

    def pad(self, mixture: Tensor) -> Tensor:
        """A mixture with the zeros around it that its windows need."""
        return pad_windows(mixture, window=self.config.window, hop=self.config.hop)

    def unfolded_blocks(self) -> list[nn.Module]:
        """The top-down block."""
        return [self.separator.block]

    def unused_parameters(self) -> frozenset[str]:
        """Weights that published files hold although they act on nothing.

        They are the coarsest scale's modulation where the decoder starts elsewhere, and phi where there is one pass.
        """
        idle: list[str] = []
        if self.separator.block.start != self.config.depth - 1:
            idle.append(f"separator.block.modulation.{self.config.depth - 1}.")
        if self.config.n_iterations == 1:
            idle.append("separator.mix.")
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(tuple(idle)))
