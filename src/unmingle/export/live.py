"""A network that streams as a module that takes its state in and gives it out, a hop at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from unmingle.errors import ExportError
from unmingle.layers.live_graph import HopGraph
from unmingle.layers.state import choose_items, map_state, named_tensors, with_tensors
from unmingle.models.base import FrameStreamingModel


def has_bounded_state(network: FrameStreamingModel) -> bool:
    """Whether a network streams, and remembers no more the longer it does."""
    config: Any = network.config
    return config.causal and config.attn_context is not None


class LiveNetwork(nn.Module):
    """`forward(mixture, state)`: (batch, hop) and the tensors of a state -> (batch, n_src, hop) and those after it.

    A state of zeros is the state before the first sample; streams of one batch may stand anywhere.

    Attributes:
        network: what is wrapped.
        names: of the tensors, as in the state that `network.step` takes.
    """

    def __init__(self, network: FrameStreamingModel, *, name: str) -> None:
        """Prepare a network.

        Raises:
            ConfigError: it does not stream.
            ExportError: it looks ahead.
        """
        super().__init__()
        if network.live.lookahead:
            raise ExportError(
                f"{name} looks a frame ahead, and a graph cannot know which frame is the last; "
                "set deconv_lookahead to 0 in its configuration"
            )
        self.network = network
        self.hop = HopGraph(network.live)
        first = dict(named_tensors(network.init_state(1)))
        self.silence: Any = map_state(torch.zeros_like, network.init_state(1))
        self.names = list(first)
        self.fresh = {name: tensor.detach() for name, tensor in first.items() if tensor.count_nonzero()}

    def tensors(self, batch: int) -> dict[str, Tensor]:
        """The state before the first sample, by name."""
        return {name: tensor.repeat(batch, *[1] * (tensor.ndim - 1)) for name, tensor in named_tensors(self.silence)}

    def forward(self, mixture: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One hop."""
        tensors = dict(zip(self.names, state, strict=True))
        for name, first in self.fresh.items():
            (tensors[name],) = choose_items(tensors["frames.hops"] > 0, (tensors[name],), (first,))
        before = with_tensors(self.silence, tensors)
        estimates, after = self.hop(mixture, before, self.network.separate_frame)
        return estimates, [tensor for _, tensor in named_tensors(after)]
