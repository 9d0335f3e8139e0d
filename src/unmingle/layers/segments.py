"""A recurrent network over short segments of a long sequence, and the memory that carries their states on.

Within a block each segment begins afresh, so all run at once, and no gradient travels further than a segment. What a
segment ended with goes, through the memory, to the beginning of a later segment in the next block.

    frames        0 .. P-1     P .. 2P-1    2P .. 3P-1        P segment hop; here segments overlap by half
    segment 0     second half
    segment 1     first half   second half
    segment 2                  first half   second half

Letters: B items, T frames, F bins, C channels, P segment hop, S segments, N live segments: those that a frame is in.

Source: the cutting into segments follows Li et al., "SkiM", ICASSP 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.norm import ChannelNorm
from unmingle.layers.recurrent import LSTMState

EPS = 1e-8  # of the norms in this file, as published


class ResidualLSTM(nn.Module):
    """x + LN(linear(LSTM(x))): the unit of both the segments and the memory. Frames first, (T, B, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels)
        self.linear = nn.Linear(channels, channels)
        self.norm = ChannelNorm(channels, eps=EPS)

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """(T, B, C) and the state before, (B, C), zero if None -> (T, B, C) and the state after."""
        before = None if state is None else (state.hidden.unsqueeze(0), state.cell.unsqueeze(0))
        y, (hidden, cell) = self.lstm(x, before)
        return x + self.norm.channels_last(self.linear(y)), LSTMState(hidden.squeeze(0), cell.squeeze(0))


class SegmentLSTM(nn.Module):
    """The recurrent network over segments of `size` frames; overlapping ones are added up.

    `forward` runs all segments at once. `step` walks along the frames with the live segments; it stops at the end of
    each segment hop, for `advance`.
    """

    def __init__(self, channels: int, size: int, *, overlap: bool) -> None:
        super().__init__()
        self.size = size
        self.hop = size // 2 if overlap else size
        self.n_live = size // self.hop
        self.unit = ResidualLSTM(channels)

    def forward(self, x: Tensor, starts: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """All segments of an utterance.

        Args:
            x: (B, T, F, C).
            starts: where each segment begins, (B, S, F, C); None is zero.
        Returns:
            (B, T, F, C), and where each segment ends, (B, S, F, C).
        """
        batch, n_frames, n_bins, channels = x.shape
        padded = self._pad(x)
        segments = padded.unfold(1, self.size, self.hop).permute(4, 0, 1, 2, 3)  # (K, B, S, F, C)
        n_segments = segments.shape[2]
        flat = None if starts is None else LSTMState(*(part.flatten(0, 2) for part in starts))
        y, ends = self.unit(segments.flatten(1, 3), flat)
        y = y.view(self.size, batch, n_segments, n_bins, channels)
        summed = y if self.n_live == 1 else y[self.hop :, :, :-1] + y[: self.hop, :, 1:]  # (P, B, S', F, C)
        frames = summed.permute(1, 2, 0, 3, 4).flatten(1, 2)[:, :n_frames]
        return frames, LSTMState(*(part.view(batch, n_segments, n_bins, channels) for part in ends))

    def _pad(self, x: Tensor) -> Tensor:
        """Zeros around (B, T, F, C): a hop before and after where segments overlap, and behind to fill the last one."""
        edge = self.size - self.hop
        rest = -(edge + x.shape[1]) % self.size
        if edge and rest == 0:
            rest = self.size  # as published: there is always some
        return F.pad(x, (0, 0, 0, 0, edge, rest + edge))

    def init_state(self, batch: int, n_bins: int) -> LSTMState:
        """Of the live segments, the oldest first, (B, N, F, C): the first has heard a hop of zeros."""
        zeros = self.unit.linear.weight.new_zeros(batch, self.n_live, n_bins, self.unit.linear.in_features)
        if self.n_live == 1:
            return LSTMState(zeros, zeros)
        _, heard = self.unit(zeros.new_zeros(self.hop, 1, zeros.shape[-1]))
        first = [part.view(1, 1, 1, -1).expand(batch, 1, n_bins, -1) for part in heard]
        return LSTMState(*(torch.cat([part, zeros[:, 1:]], dim=1) for part in first))

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """(B, T, F, C), all of one segment hop -> (B, T, F, C) and the state."""
        batch, n_frames, n_bins, channels = x.shape
        shared = x.transpose(0, 1).unsqueeze(2).expand(-1, -1, self.n_live, -1, -1)  # (T, B, N, F, C)
        y, after = self.unit(shared.flatten(1, 3), LSTMState(*(part.flatten(0, 2) for part in state)))
        summed = y.view(n_frames, batch, self.n_live, n_bins, channels).sum(2).transpose(0, 1)
        return summed, LSTMState(*(part.view(batch, self.n_live, n_bins, channels) for part in after))

    def advance(self, state: LSTMState, start: LSTMState | None) -> tuple[LSTMState, LSTMState]:
        """A segment hop has passed: the oldest segment ends, and a new one begins.

        Args:
            state: of the live segments.
            start: where the new one begins, (B, F, C); None is zero.
        Returns:
            The state, and where the oldest segment ended, (B, F, C).
        """
        ended = LSTMState(state.hidden[:, 0], state.cell[:, 0])
        new = start or LSTMState(*map(torch.zeros_like, ended))
        pairs = zip(state, new, strict=True)
        return LSTMState(*(torch.cat([old[:, 1:], one.unsqueeze(1)], dim=1) for old, one in pairs)), ended


class MemoryState(NamedTuple):
    """Of the two networks of a memory, each (B, F, C)."""

    hidden: LSTMState
    cell: LSTMState


class SegmentMemory(nn.Module):
    """Two recurrent networks along the segments of each bin: one hears their final hidden states, one their cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.hidden = ResidualLSTM(channels)
        self.cell = ResidualLSTM(channels)

    def forward(self, ends: LSTMState, *, shift: int) -> LSTMState:
        """Where the segments of a block ended -> where those of the next begin, `shift` later; both (B, S, F, C)."""
        return LSTMState(_along_segments(self.hidden, ends.hidden, shift), _along_segments(self.cell, ends.cell, shift))

    def init_state(self, batch: int, n_bins: int) -> MemoryState:
        """Nothing heard."""
        zeros = self.hidden.linear.weight.new_zeros(batch, n_bins, self.hidden.linear.in_features)
        return MemoryState(LSTMState(zeros, zeros), LSTMState(zeros, zeros))

    def step(self, ended: LSTMState, state: MemoryState) -> tuple[LSTMState, MemoryState]:
        """Where one segment ended, (B, F, C) -> what the memory makes of it, and its state."""
        hidden, after_hidden = _one_segment(self.hidden, ended.hidden, state.hidden)
        cell, after_cell = _one_segment(self.cell, ended.cell, state.cell)
        return LSTMState(hidden, cell), MemoryState(after_hidden, after_cell)


def _along_segments(unit: ResidualLSTM, ends: Tensor, shift: int) -> Tensor:
    heard = unit(ends.transpose(0, 1).flatten(1, 2))[0]  # (S, B * F, C)
    made = heard.unflatten(1, (ends.shape[0], -1)).transpose(0, 1)
    return F.pad(made, (0, 0, 0, 0, shift, 0))[:, : ends.shape[1]]


def _one_segment(unit: ResidualLSTM, ended: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
    made, after = unit(ended.flatten(0, 1).unsqueeze(0), LSTMState(*(part.flatten(0, 1) for part in state)))
    return made.view_as(ended), LSTMState(*(part.view_as(ended) for part in after))
