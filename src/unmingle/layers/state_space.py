"""Selective state space layers: the Mamba mixer, and stacks of it that run one way or both ways.

Letters: n sequences, L steps, D features, d inner channels, N states of each, R rank of the step size.
Source: Gu and Dao, "Mamba: linear-time sequence modeling with selective state spaces", arXiv:2312.00752.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unmingle.layers.norm import RMSNorm
from unmingle.layers.selective_scan import selective_scan

_LEAST_STEP, _LARGEST_STEP, _STEP_FLOOR = 1e-3, 1e-1, 1e-4  # step sizes at the beginning of training


class MambaMixer(nn.Module):
    """Convolution over the last steps, a selective scan, and a gate. Causal: no output sees a later input.

    `backend` says what computes the scan; see `unmingle.layers.selective_scan`. Parameters have their customary names.
    """

    def __init__(self, features: int, *, d_state: int = 16, d_conv: int = 4, expand: int = 4) -> None:
        super().__init__()
        inner, rank = expand * features, -(-features // 16)
        self.backend = "auto"
        self.splits = (rank, d_state, d_state)
        self.in_proj = nn.Linear(features, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.splits), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))  # (d, N)
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, features, bias=False)
        self._reset_steps(rank)

    def _reset_steps(self, rank: int) -> None:
        """Steps between 1e-3 and 1e-1, evenly in the logarithm; the bias is what softplus makes them from."""
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            spread = math.log(_LARGEST_STEP / _LEAST_STEP)
            steps = (torch.rand_like(self.dt_proj.bias) * spread + math.log(_LEAST_STEP)).exp().clamp(min=_STEP_FLOOR)
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, L, D), same out."""
        u, z = self.in_proj(x).mT.chunk(2, dim=1)  # (n, d, L)
        u = F.silu(self.conv1d(F.pad(u, (self.conv1d.kernel_size[0] - 1, 0))))
        rank_steps, writes, reads = self.x_proj(u.mT).split(self.splits, dim=-1)  # (n, L, R), (n, L, N), (n, L, N)
        steps = F.linear(rank_steps, self.dt_proj.weight).mT  # (n, d, L)
        y, _ = selective_scan(
            u,
            steps,
            -torch.exp(self.A_log.float() if self.A_log.dtype != torch.float64 else self.A_log),
            writes.mT,
            reads.mT,
            self.D,
            z=z,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
            backend=self.backend,
        )
        return self.out_proj(y.mT.to(x.dtype))


class MambaUnit(nn.Module):
    """x + mixer(norm(x))."""

    def __init__(self, features: int, *, d_state: int, d_conv: int, expand: int) -> None:
        super().__init__()
        self.norm = RMSNorm(features)
        self.mixer = MambaMixer(features, d_state=d_state, d_conv=d_conv, expand=expand)

    def forward(self, x: Tensor) -> Tensor:
        """(n, L, D), same out."""
        return x + self.mixer(self.norm(x))


class BMamba(nn.Module):
    """Units one after another from the first step to the last and, if bidirectional, others from the last to the first.

    `out_features` says how many features come out: the forward ones, then the backward ones.
    """

    def __init__(
        self,
        features: int,
        *,
        n_units: int = 1,
        bidirectional: bool = True,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 4,
    ) -> None:
        super().__init__()

        def units(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                MambaUnit(features, d_state=d_state, d_conv=d_conv, expand=expand) for _ in range(count)
            )

        self.forward_units = units(n_units)
        self.backward_units = units(n_units if bidirectional else 0)
        self.out_features = 2 * features if bidirectional else features

    def forward(self, x: Tensor) -> Tensor:
        """(n, L, D) -> (n, L, out_features)."""
        forwards = x
        for unit in self.forward_units:
            forwards = unit(forwards)
        if not self.backward_units:
            return forwards
        backwards = x.flip(1)
        for unit in self.backward_units:
            backwards = unit(backwards)
        return torch.cat([forwards, backwards.flip(1)], dim=-1)

    def use_backend(self, backend: str) -> None:
        """Let another back end compute the scans of all units."""
        for unit in chain(self.forward_units, self.backward_units):
            cast(MambaUnit, unit).mixer.backend = backend
