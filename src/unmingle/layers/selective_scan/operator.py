"""The scan as one torch operator, so that gradients, compilers and counters of operations all know it.

Training keeps the inputs and one state per chunk, not one per step: memory does not grow with steps x states.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor

CHUNK = 32  # steps between two states that are kept for the backward pass


class Kernels(Protocol):
    """A module with the two passes; stepwise.py documents them."""

    forward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]


KERNELS = {"stepwise": "stepwise", "compiled": "compiled", "triton": "triton_kernels"}  # back end -> file


def _kernels(backend: str) -> Kernels:
    return cast(Kernels, import_module(f"unmingle.layers.selective_scan.{KERNELS[backend]}"))


@torch.library.custom_op("unmingle::scan", mutates_args=())
def _scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return _kernels(backend).forward(u, delta, A, B, C, chunk)


@torch.library.custom_op("unmingle::scan_backward", mutates_args=())
def _scan_backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    starts: Tensor,
    dy: Tensor,
    dlast: Tensor,
    chunk: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _kernels(backend).backward(u, delta, A, B, C, starts, dy, dlast, chunk)


@_scan.register_fake
def _(u: Tensor, _delta: Tensor, A: Tensor, _B: Tensor, _C: Tensor, chunk: int, _: str) -> tuple[Tensor, ...]:
    n_sequences, n_steps, _channels = u.shape
    chunks = (n_steps + chunk - 1) // chunk
    return u.new_empty(u.shape), u.new_empty(n_sequences, *A.shape), u.new_empty(n_sequences, chunks, *A.shape)


@_scan_backward.register_fake
def _(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *_: object) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (u, delta, A, B, C))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    u, delta, A, B, C, ctx.chunk, ctx.backend = inputs
    ctx.save_for_backward(u, delta, A, B, C, output[2])


def _differentiate(ctx: Any, dy: Tensor, dlast: Tensor, _dstarts: Tensor) -> tuple[Tensor | None, ...]:
    u, delta, A, B, C, starts = ctx.saved_tensors
    gradients = _scan_backward(u, delta, A, B, C, starts, dy, dlast, ctx.chunk, ctx.backend)
    return *gradients, None, None


_scan.register_autograd(_differentiate, setup_context=_keep)
SCAN = torch.ops.unmingle.scan  # for those who count operations: (u, delta, A, B, C, chunk, backend)


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *, backend: str) -> tuple[Tensor, Tensor]:
    """As `plain.scan`, by one of `KERNELS`."""
    tensors = (u, delta, A, B, C)
    training = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    y, last, _ = _scan(*tensors, CHUNK if training else max(1, u.shape[1]), backend)
    return y, last
