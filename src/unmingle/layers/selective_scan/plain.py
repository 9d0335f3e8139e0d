"""The selective scan as it is written on paper. Slow, and what every other back end is held to."""

from __future__ import annotations

import torch
from torch import Tensor


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t and y_t = h_t C_t, from h_0 = 0.

    Letters: n sequences, L steps, d channels, N states of each.

    Args:
        u: (n, L, d).
        delta: (n, L, d), positive.
        A: (d, N), negative.
        B: (n, L, N).
        C: (n, L, N).
    Returns:
        y, (n, L, d), and the last state, (n, d, N).
    """
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs: list[Tensor] = []
    for t in range(u.shape[1]):
        decay = torch.exp(delta[:, t].unsqueeze(-1) * A)  # (n, d, N)
        state = decay * state + (delta[:, t] * u[:, t]).unsqueeze(-1) * B[:, t].unsqueeze(1)
        outputs.append((state * C[:, t].unsqueeze(1)).sum(-1))
    return torch.stack(outputs, dim=1), state
