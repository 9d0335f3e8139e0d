"""The selective scan by torch operations, a step at a time: any device, any floating-point type, no other package.

The forward pass keeps one state in place and writes down the states at which chunks begin. The backward pass takes the
chunks from the last to the first, computes the states inside a chunk again, and runs the adjoint recurrence
g_t = C_t dy_t + exp(delta_{t+1} A) g_{t+1}. Decays are only ever multiplied, never divided: they may underflow.

Letters: n sequences, L steps, d channels, N states of each, K steps of a chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor


def forward(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments as for `plain.scan`; gives y, the last state, and the states before each chunk, (n, chunks, d, N)."""
    n_sequences, n_steps, _ = u.shape
    inputs, steps = (delta * u).transpose(0, 1).contiguous(), delta.transpose(0, 1).contiguous()  # (L, n, d)
    writes, reads = B.transpose(0, 1).contiguous(), C.transpose(0, 1).contiguous()  # (L, n, N)
    state, decay = u.new_zeros(n_sequences, *A.shape), u.new_empty(n_sequences, *A.shape)
    starts = u.new_empty(n_sequences, -(-n_steps // chunk), *A.shape)
    y = u.new_empty(n_steps, n_sequences, A.shape[0], 1)
    for t in range(n_steps):
        if t % chunk == 0:
            starts[:, t // chunk] = state
        torch.mul(steps[t].unsqueeze(-1), A, out=decay)
        state.mul_(decay.exp_()).addcmul_(inputs[t].unsqueeze(-1), writes[t].unsqueeze(1))
        torch.matmul(state, reads[t].unsqueeze(-1), out=y[t])
    return y.squeeze(-1).transpose(0, 1).contiguous(), state, starts


def backward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor, dy: Tensor, dlast: Tensor, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C from those of y and of the last state."""
    du, ddelta, dA = torch.empty_like(u), torch.empty_like(delta), torch.zeros_like(A)
    dB, dC = torch.empty_like(B), torch.empty_like(C)
    adjoint = dlast  # of the state after the chunk, (n, d, N)
    for index in reversed(range(starts.shape[1])):
        part = slice(index * chunk, (index + 1) * chunk)
        decays = torch.exp(delta[:, part].unsqueeze(-1) * A)  # (n, K, d, N)
        inputs = delta[:, part] * u[:, part]
        states = _states(decays, inputs, B[:, part], starts[:, index])  # (n, K + 1, d, N)
        adjoints, adjoint = _adjoints(decays, dy[:, part], C[:, part], adjoint)
        dC[:, part] = torch.einsum("nkds,nkd->nks", states[:, 1:], dy[:, part])
        dB[:, part] = torch.einsum("nkds,nkd->nks", adjoints, inputs)
        dinputs = torch.einsum("nkds,nks->nkd", adjoints, B[:, part])
        dexponents = adjoints * states[:, :-1] * decays
        du[:, part] = dinputs * delta[:, part]
        ddelta[:, part] = dinputs * u[:, part] + torch.einsum("nkds,ds->nkd", dexponents, A)
        dA += torch.einsum("nkds,nkd->ds", dexponents, delta[:, part])
    return du, ddelta, dA, dB, dC


def _states(decays: Tensor, inputs: Tensor, B: Tensor, start: Tensor) -> Tensor:
    states = torch.cat([start.unsqueeze(1), inputs.unsqueeze(-1) * B.unsqueeze(2)], dim=1)
    for t in range(decays.shape[1]):
        states[:, t + 1].addcmul_(decays[:, t], states[:, t])
    return states


def _adjoints(decays: Tensor, dy: Tensor, C: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """The adjoint of every state in a chunk, and of the state before it."""
    adjoints = dy.unsqueeze(-1) * C.unsqueeze(2)
    for t in reversed(range(decays.shape[1])):
        adjoints[:, t] += after
        after = decays[:, t] * adjoints[:, t]
    return adjoints, after
