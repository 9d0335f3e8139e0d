"""The selective scan as one operation of an exported graph, which holds for any number of steps."""

from __future__ import annotations

import torch
from torch import Tensor


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """As `plain.scan`. For export only: outside of it the first call compiles for seconds."""
    from torch._higher_order_ops.scan import scan as scan_operation  # torch has no public name for it yet

    def step(state: Tensor, at: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        size, source, write, read = at
        state = torch.exp(size.unsqueeze(-1) * A) * state + source.unsqueeze(-1) * write.unsqueeze(1)
        return state, (state * read.unsqueeze(1)).sum(-1)

    steps = tuple(x.transpose(0, 1).contiguous() for x in (delta, delta * u, B, C))  # (L, n, ...)
    last, y = scan_operation(step, torch.zeros_like(u[:, 0].unsqueeze(-1) * A), steps)
    return y.transpose(0, 1), last
