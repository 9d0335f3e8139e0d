"""The selective scan by the CUDA kernel of mamba-ssm; any version, since the kernel's function never moved."""

from __future__ import annotations

from importlib import import_module

from torch import Tensor


def scan(
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
) -> tuple[Tensor, Tensor]:
    """Everything at once; arguments as for `selective_scan`, float32."""
    kernel = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    rows = [None if x is None else x.contiguous() for x in (u, delta, A, B, C, D, z, delta_bias)]
    output, last_state = kernel(*rows, delta_softplus=delta_softplus, return_last_state=True)
    return output, last_state
