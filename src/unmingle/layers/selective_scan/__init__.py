"""Selective scan, the recurrence inside Mamba, by whichever back end is fastest where the tensors are.

| back end  | runs on                  | needs       | file              |
|-----------|--------------------------|-------------|-------------------|
| plain     | anything                 | nothing     | plain.py          |
| stepwise  | anything                 | nothing     | stepwise.py       |
| compiled  | the processor, float32   | numba       | compiled.py       |
| triton    | CUDA, float32            | triton      | triton_kernels.py |
| mamba_ssm | CUDA, float32            | mamba-ssm   | fused.py          |
| traced    | exported graphs          | nothing     | traced.py         |

All compute the same, which a test demands; all compute in float32 at least, whatever an autocast region says.
Source: Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", arXiv:2312.00752.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unmingle.errors import ConfigError, did_you_mean
from unmingle.layers.selective_scan import operator, plain, traced

logger = logging.getLogger(__name__)

_NEEDS = {
    "plain": None,
    "stepwise": None,
    "compiled": "numba",
    "triton": "triton",
    "mamba_ssm": "mamba_ssm",
    "traced": None,
}
_DEVICES = {"compiled": "cpu", "triton": "cuda", "mamba_ssm": "cuda"}
BACKENDS = tuple(_NEEDS)


class ScanResult(NamedTuple):
    """Output (n, d, L) and the state after the last step, (n, d, N)."""

    output: Tensor
    last_state: Tensor


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str = "auto",
) -> ScanResult:
    """y_t = h_t C_t + D u_t, gated by SiLU(z_t), with h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t and h_0 = 0.

    Letters: n sequences, d channels, L steps, N states of each channel.

    Args:
        u: (n, d, L).
        delta: step sizes, (n, d, L); positive after bias and softplus.
        A: (d, N), negative.
        B: (n, N, L).
        C: (n, N, L).
        D: (d), the way around the recurrence.
        z: (n, d, L), the gate.
        delta_bias: (d), added to `delta`.
        delta_softplus: whether softplus is then applied to it.
        backend: one of `BACKENDS`, or `auto`.
    Returns:
        Output and last state, float32, or float64 where `u` is.
    Raises:
        ConfigError: no such back end, or it cannot run here.
    """
    dtype = torch.promote_types(u.dtype, torch.float32)
    inside_autocast = u.device.type != "meta" and torch.is_autocast_enabled(u.device.type)
    with torch.autocast(u.device.type, enabled=False) if inside_autocast else nullcontext():
        needed = [x.to(dtype) for x in (u, delta, A, B, C)]
        extras = [None if x is None else x.to(dtype) for x in (D, z, delta_bias)]
        chosen = choose_backend(needed[0]) if backend == "auto" else _checked(backend, needed[0])
        if chosen == "mamba_ssm":
            from unmingle.layers.selective_scan import fused

            return ScanResult(*fused.scan(*needed, *extras, delta_softplus=delta_softplus))
        return _scan_unfused(*needed, *extras, delta_softplus=delta_softplus, backend=chosen)


def _scan_unfused(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    *,
    delta_softplus: bool,
    backend: str,
) -> ScanResult:
    step = delta if delta_bias is None else delta + delta_bias.unsqueeze(-1)
    step = F.softplus(step) if delta_softplus else step
    core = (u.mT, step.mT, A, B.mT, C.mT)
    direct = {"plain": plain.scan, "traced": traced.scan}.get(backend)
    y, last_state = direct(*core) if direct else operator.scan(*core, backend=backend)
    y = y.mT if D is None else torch.addcmul(y.mT, u, D.unsqueeze(-1))
    return ScanResult(y if z is None else y * F.silu(z), last_state)


def choose_backend(u: Tensor) -> str:
    """The fastest back end for tensors like this one; while a graph is exported, the one that graphs can hold."""
    if torch.compiler.is_exporting():
        return "traced"
    if u.is_cuda and u.dtype == torch.float32:
        if _is_there("mamba_ssm"):
            return "mamba_ssm"
        return "triton" if _is_there("triton") and _triton_works(u.device) else "stepwise"
    if u.device.type == "cpu" and u.dtype == torch.float32 and _is_there("compiled"):
        return "compiled"
    return "stepwise"


def describe_backends() -> str:
    """Which back end `auto` takes on each device of this machine, and what would bring another, in words for people."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    taken = ", ".join(f"{choose_backend(torch.empty(0, device=device))} on {device}" for device in devices)
    lacking = [
        f"{_NEEDS[name]} would bring {name} on {device}"
        for name, device in _DEVICES.items()
        if device in devices and not _is_there(name)
    ]
    return taken + (f" ({'; '.join(lacking)})" if lacking else "")


@cache
def _is_there(name: str) -> bool:
    need = _NEEDS[name]
    if need is None:
        return True
    try:
        import_module(need)
    except Exception as error:  # a package that is there may still fail in any way, for want of a driver for instance
        if name == "compiled":
            logger.warning(
                "numba cannot be imported (%s), so state space layers run several times slower than they could; "
                "run: pip install 'unmingle[fast]'",
                error,
            )
        return False
    return True


@cache
def _triton_works(device: torch.device) -> bool:
    from unmingle.layers.selective_scan import triton_kernels

    error = triton_kernels.works(device)
    if error is not None:
        logger.warning(
            "Triton fails on %s (%s), so state space layers run many times slower than they could", device, error
        )
    return error is None


def _checked(backend: str, u: Tensor) -> str:
    if backend not in _NEEDS:
        raise ConfigError(
            f"no scan back end is called {backend!r}, only {', '.join(BACKENDS)}{did_you_mean(backend, BACKENDS)}"
        )
    if not _is_there(backend):
        raise ConfigError(f"the scan back end {backend} needs {_NEEDS[backend]}, which cannot be imported; use auto")
    wanted = _DEVICES.get(backend)
    if wanted and (u.device.type != wanted or u.dtype != torch.float32):
        raise ConfigError(
            f"the scan back end {backend} wants float32 on {wanted}; got {u.dtype} on {u.device}; use auto"
        )
    return backend


__all__ = ["BACKENDS", "ScanResult", "choose_backend", "describe_backends", "selective_scan"]
