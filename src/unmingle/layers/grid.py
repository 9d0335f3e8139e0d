"""The grid of frames and bins: a sequence network along the bins of each frame, another along the frames of each bin.

Letters: B items, T frames, F bins, C channels, L positions of a sequence. In memory the channels lie together:
(B, T, F, C).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.frame_attention import CrossFrameAttention
from unmingle.layers.key_cache import KeyCache, attend_step, init_cache, pass_border
from unmingle.layers.norm import ChannelNorm
from unmingle.layers.recurrent import FoldTaps, LSTMState, TapLSTM, look_back, padded_length, unfold_taps
from unmingle.layers.state import map_state

LARGEST_GROUP = 1 << 22  # numbers in the vectors that are made at a time outside training; bounds the memory


class SequenceNetwork(Protocol):
    """A module from (B, L, features) to (B, L, out_features)."""

    out_features: int


class PathState(NamedTuple):
    """What a causal path remembers."""

    past: Tensor  # (B, kernel - 1, C), the last positions, normed
    network: LSTMState  # (B, hidden)
    taps: Tensor  # (B, kernel - 1, hidden), the last vectors


class SequencePath(nn.Module):
    """Norm, vectors of neighbouring positions, a sequence network along them, the vectors folded back, and the input.

    causal=True looks back: a vector holds its position and the kernel - 1 before it, and reaches itself and later ones.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: int,
        *,
        kernel: int,
        stride: int = 1,
        causal: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride
        self.causal = causal
        self.norm = ChannelNorm(channels, eps=eps)
        self.network = network
        features = cast(SequenceNetwork, network).out_features
        self.fold = FoldTaps(features, channels, kernel, stride, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, C), same out; L such as `padded_length` gives, unless causal.

        The sequences do not know of each other. So in evaluation they go by groups, which bounds the memory.
        """
        if torch.is_grad_enabled() or torch.compiler.is_exporting():
            return self._run(x)
        rows = max(1, LARGEST_GROUP // (x.shape[1] * x.shape[2] * self.kernel))
        return self._run(x) if rows >= x.shape[0] else torch.cat([self._run(part) for part in x.split(rows)])

    def _run(self, x: Tensor) -> Tensor:
        normed = self.norm.channels_last(x)
        vectors = unfold_taps(look_back(normed, self.kernel) if self.causal else normed, self.kernel, self.stride)
        return x + self.fold(self.network(vectors))

    def init_state(self, batch: int) -> PathState:
        """If causal, and the network is a `TapLSTM`: nothing heard."""
        weight, taps = self.norm.weight, self.fold.init_state(batch)
        past = weight.new_zeros(batch, self.kernel - 1, weight.shape[0])
        return PathState(past, cast(TapLSTM, self.network).init_state(batch), taps)

    def step(self, x: Tensor, state: PathState) -> tuple[Tensor, PathState]:
        """If causal, and the network is a `TapLSTM`: the next positions, (B, L, C), same out; and the state."""
        joined = torch.cat([state.past, self.norm.channels_last(x)], dim=1)
        y, network = cast(TapLSTM, self.network).step(unfold_taps(joined, self.kernel), state.network)
        folded, taps = self.fold.step(y, state.taps)
        return x + folded, PathState(joined[:, x.shape[1] :], network, taps)


class GridState(NamedTuple):
    """What a causal block remembers; for each bin the state of its sequence."""

    temporal: PathState  # (B, F, ...)
    attention: KeyCache


class GridBlock(nn.Module):
    """The path along bins, the path along frames, then attention across frames; (B, T, F, C), same out.

    Zeros complete both axes before the paths and go after them, also where there are fewer positions than taps.
    """

    def __init__(self, spectral: SequencePath, temporal: SequencePath, attention: nn.Module) -> None:
        super().__init__()
        self.spectral = spectral
        self.temporal = temporal
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F, C), same out."""
        n_frames, n_bins = x.shape[1:3]
        y = self._along_bins(F.pad(x, (0, 0, 0, 0, 0, _missing(n_frames, self.temporal))))
        columns = y.transpose(1, 2)  # (B, F, T, C)
        y = self.temporal(columns.flatten(0, 1)).view_as(columns).transpose(1, 2)
        return self.attention(y[:, :n_frames, :n_bins].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def init_state(self, batch: int, *, reach: int) -> GridState:
        """If causal: nothing heard; the attention passes a border every `reach` frames."""
        attention = cast(CrossFrameAttention, self.attention)
        n_bins = attention.n_bins + _missing(attention.n_bins, self.spectral)
        temporal = map_state(
            lambda tensor: tensor.unflatten(0, (batch, n_bins)), self.temporal.init_state(batch * n_bins)
        )
        return GridState(temporal, init_cache(attention, batch, reach=reach))

    def step(
        self, x: Tensor, state: GridState, unseen: Tensor, *, recent: int | Tensor, border: bool
    ) -> tuple[Tensor, GridState]:
        """If causal: the next frames, (B, T, F, C), same out; and the state. `border`: one comes right after them."""
        n_bins = x.shape[2]
        columns = self._along_bins(x).transpose(1, 2)  # (B, F, T, C)
        y, temporal = self.temporal.step(
            columns.flatten(0, 1), map_state(lambda one: one.flatten(0, 1), state.temporal)
        )
        y = y.view_as(columns)[:, :n_bins].permute(0, 3, 2, 1)  # (B, C, T, F)
        attention = cast(CrossFrameAttention, self.attention)
        y, cache = attend_step(attention, y, state.attention, unseen, recent=recent)
        after = GridState(map_state(lambda one: one.unflatten(0, columns.shape[:2]), temporal), cache)
        return y.permute(0, 2, 3, 1), self.pass_border(after) if border else after

    def pass_border(self, state: GridState) -> GridState:
        """If causal: the state after a whole reach of frames, see `layers.key_cache`."""
        return state._replace(attention=pass_border(state.attention, cast(CrossFrameAttention, self.attention).context))

    def _along_bins(self, x: Tensor) -> Tensor:
        y = F.pad(x, (0, 0, 0, _missing(x.shape[2], self.spectral)))
        return self.spectral(y.flatten(0, 1)).view_as(y)


def deviation(signal: Tensor) -> Tensor:
    """Standard deviation over time, with the divisor of an estimate: (B, time) -> (B, 1). A single sample has 0."""
    if torch.compiler.is_exporting():  # a graph holds for any length, and asks no question about it
        return signal.std(dim=-1, keepdim=True).nan_to_num()
    return signal.std(dim=-1, keepdim=True) if signal.shape[-1] > 1 else torch.zeros_like(signal)


def _missing(length: int, path: SequencePath) -> int:
    return 0 if path.causal else padded_length(length, path.kernel, path.stride) - length
