"""The transforms of `layers.stft`, hop by hop: same frames, same samples, reflection at both ends included.

Frame t is centred on sample t * hop, so it is whole when the hop before sample t * hop + window / 2 has come in. `lead`
is that delay in hops. The last frames lean on samples mirrored at the end of the signal, and come out of `finish`.

Letters: B items, S sources, T frames, F bins. Planes are (..., 2, T, F), real and imaginary part.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unmingle.errors import ShapeError
from unmingle.layers.stft import divide, from_planes, hann, overlap_add, to_planes


class LiveSTFT:
    """Analysis. Its state is the last `context` samples, (B, context)."""

    def __init__(self, window: int, hop: int) -> None:
        """For frames of `window` samples, even, every `hop` samples, at most half as many."""
        self.window = window
        self.hop = hop
        self.lead = -(-window // (2 * hop))
        self.context = (self.lead - 1) * hop + window // 2 + 1  # one more than a frame leans on: the end is mirrored

    def init_state(self, batch: int, *, like: Tensor) -> Tensor:
        """No samples yet."""
        return like.new_zeros(batch, self.context)

    def step(self, block: Tensor, past: Tensor, *, hops: int) -> tuple[Tensor, Tensor]:
        """The frames that become whole, and the samples to remember.

        Args:
            block: (B, n * hop) samples.
            past: the state.
            hops: how many came before.
        Returns:
            Planes (B, 2, T, F), with n frames once `lead` hops have come before, fewer at the start; the state.
        """
        n = block.shape[1] // self.hop
        joined = torch.cat([past, block], dim=1)
        if hops < self.lead <= hops + n:
            joined = self._mirror_start(joined, zero=self.context - hops * self.hop)
        kept = joined[:, joined.shape[1] - self.context :]
        first = max(0, self.lead - 1 - hops)  # windows before this one are no frames
        return self._planes(joined[:, 1 + first * self.hop :], max(0, n - first)), kept

    def finish(self, rest: Tensor, past: Tensor, *, hops: int) -> Tensor:
        """The last frames: `rest` is (B, r), the r < hop samples after the last whole hop.

        Raises:
            ShapeError: the whole signal is too short to be mirrored.
        """
        half, length = self.window // 2, hops * self.hop + rest.shape[1]
        if length <= half:
            raise ShapeError(
                f"a stream of {length} samples ends before its first frame; {half + 1} are the least, so pad it"
            )
        joined = torch.cat([past, rest], dim=1)
        if hops < self.lead:
            joined = self._mirror_start(joined, zero=self.context - hops * self.hop)
        joined = torch.cat([joined, joined[:, -half - 1 : -1].flip(1)], dim=1)
        emitted = max(0, hops - self.lead + 1)
        first = max(0, self.lead - 1 - hops)
        return self._planes(joined[:, 1 + first * self.hop :], hops + 1 - emitted)

    def _mirror_start(self, joined: Tensor, *, zero: int) -> Tensor:
        """Fill in what precedes sample 0, at index `zero`: sample -j is sample j.

        Sample -window / 2 stays 0, because the window is 0 there and sample window / 2 may not have come in yet.
        """
        half = self.window // 2
        mirrored = joined[:, zero + 1 : zero + half].flip(1)
        return torch.cat([joined[:, : zero - half + 1], mirrored, joined[:, zero:]], dim=1)

    def _planes(self, samples: Tensor, n: int) -> Tensor:
        if n == 0:
            return samples.new_zeros(samples.shape[0], 2, 0, self.window // 2 + 1)
        frames = samples[:, : (n - 1) * self.hop + self.window].unfold(1, self.window, self.hop)  # (B, T, window)
        return to_planes(torch.fft.rfft(frames * hann(self.window, like=samples)))


class OverlapState(NamedTuple):
    """Sums that further frames will add to: of the windowed frames, and of the squared windows."""

    signal: Tensor  # (B, S, window - hop)
    envelope: Tensor  # (B, 1, window - hop)


class LiveISTFT:
    """Synthesis. It emits a hop per frame; the first half window of what it emits lies before sample 0."""

    def __init__(self, window: int, hop: int) -> None:
        """For frames of `window` samples, even, every `hop` samples, at most half as many."""
        self.window = window
        self.hop = hop

    def init_state(self, batch: int, n_src: int, *, like: Tensor) -> OverlapState:
        """No frames yet."""
        kept = self.window - self.hop
        return OverlapState(like.new_zeros(batch, n_src, kept), like.new_zeros(batch, 1, kept))

    def step(self, planes: Tensor, state: OverlapState) -> tuple[Tensor, OverlapState]:
        """(B, S, 2, T, F) -> the next T * hop samples, (B, S, T * hop), and the state."""
        batch, n_src, _, n, _ = planes.shape
        if n == 0:
            return planes.new_zeros(batch, n_src, 0), state
        shape = hann(self.window, like=planes)
        frames = torch.fft.irfft(from_planes(planes), n=self.window) * shape  # (B, S, T, window)
        signal = self._add(frames, state.signal)
        envelope = self._add(shape.square().expand(batch, 1, n, self.window), state.envelope)
        ready = n * self.hop
        samples = divide(signal[..., :ready], envelope[..., :ready])
        return samples, OverlapState(signal[..., ready:], envelope[..., ready:])

    def finish(self, state: OverlapState) -> Tensor:
        """What is left when no further frame comes, (B, S, window - hop)."""
        return divide(state.signal, state.envelope)

    def _add(self, frames: Tensor, before: Tensor) -> Tensor:
        """The overlapping frames (B, S, T, window) added up behind and onto what is there already."""
        batch, n_src, n, window = frames.shape
        summed = overlap_add(frames.reshape(-1, n, window), self.hop).view(batch, n_src, -1)
        head = summed[..., : window - self.hop] + before
        return torch.cat([head, summed[..., window - self.hop :]], dim=-1)
