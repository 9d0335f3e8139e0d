"""One hop of `LiveFrames` in the terms of a graph, in which nothing is asked: each case is computed, one is chosen.

A batch may hold streams that stand anywhere.

Letters: B items, S sources, F bins.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.live_stft import FramesState, LiveFrames, LiveState, OverlapState
from unmingle.layers.state import choose_items
from unmingle.layers.stft import ConvSTFT, divide


class FrameStep(Protocol):
    """A network from frame to frame that asks for no value."""

    def __call__(self, planes: Tensor, state: Any, *, before: Tensor) -> tuple[Tensor, Any]:
        """One frame; see `unmingle.models.base.FrameStreamingModel.separate_frame`."""
        ...


class HopGraph(nn.Module):
    """(B, hop) and a `LiveState` -> (B, S, hop), late by `live.delay`, and the state after. Nothing is looked ahead."""

    def __init__(self, live: LiveFrames) -> None:
        super().__init__()
        self.live = live
        self.transform = ConvSTFT(live.window, live.hop)

    def forward(self, block: Tensor, state: LiveState, frame: FrameStep) -> tuple[Tensor, LiveState]:
        """Take one hop.

        Args:
            block: (B, hop) samples.
            state: of every stream.
            frame: the network.
        """
        hops, lead = state.frames.hops, self.live.analysis.lead
        planes, signal = self._analyse(block, state.frames)
        earlier = (state.network, state.frames.overlap)
        planes, network = frame(planes, state.network, before=(hops - lead + 1).clamp(min=0))
        samples, overlap = self._synthesise(planes, state.frames.overlap)
        network, overlap = choose_items(hops >= lead - 1, (network, overlap), earlier)
        at = hops.unsqueeze(1) * self.live.hop + torch.arange(self.live.hop, device=hops.device)  # (B, hop)
        placed = torch.where((at >= self.live.delay).unsqueeze(1), samples, 0.0)
        return placed, LiveState(FramesState(hops + 1, signal, overlap), network)

    def _analyse(self, block: Tensor, state: FramesState) -> tuple[Tensor, Tensor]:
        """(B, hop) -> the planes of the frame that is whole now, if one is, (B, 2, 1, F); and the latest samples."""
        analysis = self.live.analysis
        joined = torch.cat([state.signal, block], dim=1)
        first = analysis.lead - 1  # hops before the one that completes the first frame
        mirrored = analysis.mirror_start(joined, zero=analysis.context - first * analysis.hop)
        joined = torch.where((state.hops == first).unsqueeze(1), mirrored, joined)
        samples = joined[:, 1 : 1 + analysis.window]
        return self.transform.planes(samples.unsqueeze(1)), joined[:, analysis.hop :]

    def _synthesise(self, planes: Tensor, state: OverlapState) -> tuple[Tensor, OverlapState]:
        """(B, S, 2, 1, F) -> the samples to which no further frame adds, (B, S, hop); and the sums after them."""
        hop = self.live.hop
        signal = self.transform.frames(planes).squeeze(2) + F.pad(state.signal, (0, hop))
        envelope = self.transform.envelope.view(1, 1, -1) + F.pad(state.envelope, (0, hop))
        samples = divide(signal[..., :hop], envelope[..., :hop])
        return samples, OverlapState(signal[..., hop:], envelope[..., hop:])
