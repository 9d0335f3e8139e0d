"""The selective scan on a CUDA device, written in Triton: every program walks one sequence for a block of channels.

A program keeps the states of its channels in registers and reads every input once. Backwards it computes the states of
one chunk again into a scratch of its own, then takes the chunk from its end. Sums over channels, which several programs
share, are written in parts and added up by torch, so that results repeat. The algorithm is that of stepwise.py.

Checked by Triton's interpreter on the processor; a device has to prove itself first (`works`).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 64  # channels of a program


@triton.jit
def _forward(
    u, delta, A, B, C, y, last, starts, n_steps, n_channels, n_states, n_chunks, CHUNK: tl.constexpr,
    BLOCK: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    n, block = tl.program_id(0), tl.program_id(1)
    d, s = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, STATES)
    here, there = d < n_channels, s < n_states
    both, grid = here[:, None] & there[None, :], d[:, None] * n_states + s[None, :]
    decays = tl.load(A + grid, mask=both, other=0.0)
    state = tl.zeros((BLOCK, STATES), dtype=tl.float32)
    n = n.to(tl.int64)
    for t in range(n_steps):
        if t % CHUNK == 0:
            tl.store(starts + (n * n_chunks + t // CHUNK) * n_channels * n_states + grid, state, mask=both)
        row, column = (n * n_steps + t) * n_channels + d, (n * n_steps + t) * n_states + s
        step = tl.load(delta + row, mask=here, other=0.0)
        source = step * tl.load(u + row, mask=here, other=0.0)
        write, read = tl.load(B + column, mask=there, other=0.0), tl.load(C + column, mask=there, other=0.0)
        state = tl.exp(step[:, None] * decays) * state + source[:, None] * write[None, :]
        tl.store(y + row, tl.sum(state * read[None, :], axis=1), mask=here)
    tl.store(last + n * n_channels * n_states + grid, state, mask=both)


@triton.jit
def _backward(
    u, delta, A, B, C, starts, dy, dlast, du, ddelta, dA, dB, dC, scratch, n_steps, n_channels, n_states, n_chunks,
    CHUNK: tl.constexpr, BLOCK: tl.constexpr, STATES: tl.constexpr,
):  # fmt: skip
    n, block = tl.program_id(0), tl.program_id(1)
    d, s = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, STATES)
    here, there = d < n_channels, s < n_states
    both, grid = here[:, None] & there[None, :], d[:, None] * n_states + s[None, :]
    decays = tl.load(A + grid, mask=both, other=0.0)
    size = n_channels * n_states
    part = n.to(tl.int64) * tl.num_programs(1) + block
    n = n.to(tl.int64)
    adjoint = tl.load(dlast + n * size + grid, mask=both, other=0.0)
    gradient = tl.zeros((BLOCK, STATES), dtype=tl.float32)
    for back in range(n_chunks):
        index = n_chunks - 1 - back
        begin = index * CHUNK
        length = tl.minimum(CHUNK, n_steps - begin)
        state = tl.load(starts + (n * n_chunks + index) * size + grid, mask=both, other=0.0)
        for i in range(length):
            row, column = (n * n_steps + begin + i) * n_channels + d, (n * n_steps + begin + i) * n_states + s
            tl.store(scratch + (n * CHUNK + i) * size + grid, state, mask=both)
            step = tl.load(delta + row, mask=here, other=0.0)
            source = step * tl.load(u + row, mask=here, other=0.0)
            write = tl.load(B + column, mask=there, other=0.0)
            state = tl.exp(step[:, None] * decays) * state + source[:, None] * write[None, :]
        tl.debug_barrier()  # what one thread has written another may read
        for j in range(length):
            i = length - 1 - j
            row, column = (n * n_steps + begin + i) * n_channels + d, (n * n_steps + begin + i) * n_states + s
            step = tl.load(delta + row, mask=here, other=0.0)
            value = tl.load(u + row, mask=here, other=0.0)
            out = tl.load(dy + row, mask=here, other=0.0)
            write, read = tl.load(B + column, mask=there, other=0.0), tl.load(C + column, mask=there, other=0.0)
            before = tl.load(scratch + (n * CHUNK + i) * size + grid, mask=both, other=0.0)
            decay = tl.exp(step[:, None] * decays)
            after = decay * before + (step * value)[:, None] * write[None, :]
            adjoint += out[:, None] * read[None, :]
            shared = (part * n_steps + begin + i) * n_states + s
            tl.store(dC + shared, tl.sum(out[:, None] * after, axis=0), mask=there)
            tl.store(dB + shared, tl.sum((step * value)[:, None] * adjoint, axis=0), mask=there)
            dsource = tl.sum(adjoint * write[None, :], axis=1)
            adjoint = adjoint * decay
            dexponent = adjoint * before
            gradient += dexponent * step[:, None]
            tl.store(du + row, dsource * step, mask=here)
            tl.store(ddelta + row, dsource * value + tl.sum(dexponent * decays, axis=1), mask=here)
        tl.debug_barrier()  # the scratch is written again
    tl.store(dA + n * size + grid, gradient, mask=both)


def forward(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `stepwise.forward`, for float32 on a CUDA device."""
    n_sequences, n_steps, n_channels = u.shape
    inputs = [x.contiguous() for x in (u, delta, A, B, C)]
    n_chunks = -(-n_steps // chunk)
    y = torch.empty_like(inputs[0])
    last = u.new_empty(n_sequences, *A.shape)
    starts = u.new_empty(n_sequences, n_chunks, *A.shape)
    sizes = (n_steps, n_channels, A.shape[1], n_chunks)
    _forward[_grid(u)](*inputs, y, last, starts, *sizes, chunk, BLOCK, _states(A))
    return y, last, starts


def backward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor, dy: Tensor, dlast: Tensor, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `stepwise.backward`, for float32 on a CUDA device."""
    n_sequences, n_steps, n_channels = u.shape
    inputs = [x.contiguous() for x in (u, delta, A, B, C, starts, dy, dlast)]
    du, ddelta = torch.empty_like(inputs[0]), torch.empty_like(inputs[1])
    dA = u.new_empty(n_sequences, *A.shape)
    parts = u.new_empty(2, n_sequences, _grid(u)[1], n_steps, A.shape[1])  # of the gradients of B and C
    scratch = u.new_empty(n_sequences, chunk, *A.shape)
    sizes = (n_steps, n_channels, A.shape[1], starts.shape[1])
    _backward[_grid(u)](*inputs, du, ddelta, dA, parts[0], parts[1], scratch, *sizes, chunk, BLOCK, _states(A))
    return du, ddelta, dA.sum(0), parts[0].sum(1), parts[1].sum(1)


def works(device: torch.device) -> Exception | None:
    """Run both passes once on a device; what went wrong, if anything did."""
    x, A = torch.ones(1, 2, 1, device=device), -torch.ones(1, 1, device=device)
    try:
        y, last, starts = forward(x, x, A, x, x, 1)
        gradients: Any = backward(x, x, A, x, x, starts, y, last, 1)
        if not all(bool(one.isfinite().all()) for one in (y, *gradients)):
            return ArithmeticError("a small scan gave no numbers")
    except Exception as error:  # a compiler, a driver or a device may fail in any way
        return error
    return None


def _grid(u: Tensor) -> tuple[int, int]:
    return u.shape[0], -(-u.shape[2] // BLOCK)


def _states(A: Tensor) -> int:
    return triton.next_power_of_2(A.shape[1])
