"""The transforms of `layers.stft`, hop by hop: same frames, same samples, reflection at both ends included.

Frame t is centred on sample t * hop, so it is whole when the hop before sample t * hop + window / 2 has come in. `lead`
is that delay in hops. The last frames lean on samples mirrored at the end of the signal, and come out of `finish`.

`LiveFrames` puts both around a network from frames to frames, for models.

Letters: B items, S sources, T frames, F bins. Planes are (..., 2, T, F), real and imaginary part.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from unmingle.errors import ShapeError
from unmingle.layers.state import step_by_phase
from unmingle.layers.stft import divide, from_planes, hann, overlap_add, to_planes
from unmingle.units import hops_to_first_frame, stream_delay


class LiveSTFT:
    """Analysis. Its state is the last `context` samples, (B, context)."""

    def __init__(self, window: int, hop: int) -> None:
        """For frames of `window` samples, even, every `hop` samples, at most half as many."""
        self.window = window
        self.hop = hop
        self.lead = hops_to_first_frame(window, hop)
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
            joined = self.mirror_start(joined, zero=self.context - hops * self.hop)
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
            joined = self.mirror_start(joined, zero=self.context - hops * self.hop)
        joined = torch.cat([joined, joined[:, -half - 1 : -1].flip(1)], dim=1)
        emitted = max(0, hops - self.lead + 1)
        first = max(0, self.lead - 1 - hops)
        return self._planes(joined[:, 1 + first * self.hop :], hops + 1 - emitted)

    def mirror_start(self, joined: Tensor, *, zero: int) -> Tensor:
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
        if n == 1:  # the usual step; adding zeros behind what is there is all that is left
            return frames.squeeze(2) + F.pad(before, (0, self.hop))
        summed = overlap_add(frames.reshape(-1, n, window), self.hop).view(batch, n_src, -1)
        head = summed[..., : window - self.hop] + before
        return torch.cat([head, summed[..., window - self.hop :]], dim=-1)


class FramesState(NamedTuple):
    """Where the streams of a batch stand."""

    hops: Tensor  # (B,) int64, taken so far
    signal: Tensor  # (B, samples), the last ones
    overlap: OverlapState


class LiveState(NamedTuple):
    """What streams remember: about samples, and about frames."""

    frames: FramesState
    network: Any


class FrameNetwork(Protocol):
    """A network from frames to frames."""

    def __call__(self, planes: Tensor, state: Any, *, before: Tensor, last: bool) -> tuple[Tensor, Any]:
        """The next frames, any number.

        Args:
            planes: (B, 2, T, F), of streams of one phase.
            state: of the network.
            before: (B,) how many frames came before.
            last: none will follow, so those that were looked ahead to are to come out now.
        Returns:
            (B, S, 2, T', F), T' other than T by what is looked ahead to at the beginning and at the end; the state.
        """
        ...


class LiveFrames:
    """Samples to planes, a network, planes to samples, hop for hop.

    What comes out lags behind by `delay`: the frame that has to be whole, the frames that the network looks ahead, and
    the half window in which later frames still add up.
    """

    def __init__(self, window: int, hop: int, *, n_src: int, lookahead: int = 0, period: int | None = None) -> None:
        """Prepare for one network.

        Args:
            window: samples of a frame, even.
            hop: samples between two frames.
            n_src: sources that come out.
            lookahead: frames by which the network's output lags behind.
            period: frames after which the network takes the same course again; streams that differ by whole periods
                step together. None is never.
        """
        self.window, self.hop, self.n_src, self.lookahead, self.period = window, hop, n_src, lookahead, period
        self.analysis = LiveSTFT(window, hop)
        self.synthesis = LiveISTFT(window, hop)
        self.delay = stream_delay(window, hop, lookahead=lookahead)
        self.least = window // 2 + 1

    def init_state(self, batch: int, network: Any, *, like: Tensor) -> LiveState:
        """Before the first sample, with the network's own state."""
        hops = torch.zeros(batch, dtype=torch.int64, device=like.device)
        signal = self.analysis.init_state(batch, like=like)
        overlap = self.synthesis.init_state(batch, self.n_src, like=like)
        return LiveState(FramesState(hops, signal, overlap), network)

    def step(self, block: Tensor, state: LiveState, network: FrameNetwork) -> tuple[Tensor, LiveState]:
        """(B, n * hop) -> (B, S, n * hop), late by `delay`, and the state."""
        phases = [self._phase(hops) for hops in state.frames.hops.tolist()]
        return step_by_phase(lambda x, now: self._step(x, now, network), block, state, phases)

    def finish(self, rest: Tensor, state: LiveState, network: FrameNetwork) -> Tensor:
        """(B, time), any number of samples -> what is owed, (B, S, time + delay)."""
        whole = rest.shape[1] // self.hop * self.hop
        parts: list[Tensor] = []
        if whole:
            part, state = self.step(rest[:, :whole], state, network)
            parts.append(part)
        ages = state.frames.hops.tolist()
        end, _ = step_by_phase(lambda x, now: (self._finish(x, now, network), now), rest[:, whole:], state, ages)
        return torch.cat([*parts, end], dim=2)

    def _phase(self, hops: int) -> object:
        frames = hops - self.analysis.lead + 1
        return (hops,) if self.period is None or frames < self.period else frames % self.period

    def _step(self, block: Tensor, state: LiveState, network: FrameNetwork) -> tuple[Tensor, LiveState]:
        frames, hops = state.frames, int(state.frames.hops[0])
        planes, signal = self.analysis.step(block, frames.signal, hops=hops)
        planes, after = network(planes, state.network, before=self._frames(frames), last=False)
        samples, overlap = self.synthesis.step(planes, frames.overlap)
        taken = frames.hops + block.shape[1] // self.hop
        return self._place(samples, hops, block.shape[1]), LiveState(FramesState(taken, signal, overlap), after)

    def _finish(self, rest: Tensor, state: LiveState, network: FrameNetwork) -> Tensor:
        frames, hops = state.frames, int(state.frames.hops[0])
        planes = self.analysis.finish(rest, frames.signal, hops=hops)
        planes, _ = network(planes, state.network, before=self._frames(frames), last=True)
        samples, overlap = self.synthesis.step(planes, frames.overlap)
        samples = torch.cat([samples, self.synthesis.finish(overlap)], dim=2)
        return self._place(samples, hops, rest.shape[1] + self.delay)

    def _frames(self, state: FramesState) -> Tensor:
        """How many frames each stream has had, (B,)."""
        return (state.hops - self.analysis.lead + 1).clamp(min=0)

    def _place(self, samples: Tensor, hops: int, length: int) -> Tensor:
        """Put what was synthesised after `hops` hops where it belongs in an output that lags by `delay`."""
        missing = min(length, max(0, self.delay - self.hop * hops - self.window // 2))
        placed = F.pad(samples, (missing, 0))[..., :length] if missing else samples[..., :length]
        early = min(length, max(0, self.delay - self.hop * hops))  # before sample 0
        return F.pad(placed[..., early:], (early, 0)) if early else placed
