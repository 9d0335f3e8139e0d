"""An exponential moving average of a network's weights: better to validate and to export than the weights."""

from __future__ import annotations

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Network = TypeVar("Network", bound=nn.Module)


def average_of(network: Network) -> Network:
    """A copy to average into: same weights, no gradients, evaluation mode."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float, step: int) -> None:
    """Move an average towards the network's weights.

    Args:
        average: from `average_of`; changed in place. Buffers are copied, not averaged.
        network: what it follows.
        decay: share of the average that stays; early on less of it does, so that the first weights are soon forgotten.
        step: steps done, from 1.
    """
    decay = min(decay, (step + 1) / (step + 10))
    pairs = zip(average.parameters(), network.parameters(), strict=True)
    kept, new = cast("tuple[list[Tensor], list[Tensor]]", [list(side) for side in zip(*pairs, strict=True)])
    get_ema_multi_avg_fn(decay)(kept, new, 0)
    for kept_buffer, new_buffer in zip(average.buffers(), network.buffers(), strict=True):
        kept_buffer.copy_(new_buffer)
