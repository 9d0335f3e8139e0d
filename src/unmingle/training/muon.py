"""Muon for the matrices of a network, Adam for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

MOMENTUM = 0.95


class MuonAndAdam(Optimizer):
    """Two optimizers that share one rate.

    Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) makes the average gradient of a matrix
    orthogonal, so that every direction of it moves equally far. Its steps are scaled to be as long as Adam's (Liu et
    al., "Muon is Scalable for LLM Training", 2025, section 2.2), hence one rate serves both.

    Args:
        parameters: those of a network. Matrices are the weights of linear layers and of 1x1 convolutions; filters with
            a length, depth-wise ones, gains and offsets go to Adam.
        lr: rate of both; what a parameter group is given later counts.
        betas: Adam's two averages. Muon's momentum is 0.95, as published.
        weight_decay: of both, apart from the gradient.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        parameters = list(parameters)
        super().__init__(parameters, {"lr": lr})
        self._matrices = [(weight, _flat(weight)) for weight in parameters if is_matrix(weight)]
        others = [weight for weight in parameters if not is_matrix(weight)]
        self._inner: dict[str, Optimizer] = {}
        if self._matrices:
            flat = [matrix for _, matrix in self._matrices]
            self._inner["muon"] = Muon(
                flat, lr=lr, momentum=MOMENTUM, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        if others:
            self._inner["adam"] = AdamW(others, lr=lr, betas=betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every weight that has a gradient; what the closure, called first, returns comes back."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for weight, matrix in self._matrices:
            matrix.data = weight.detach().view_as(matrix)  # it may have moved to other memory
            matrix.grad = None if weight.grad is None else weight.grad.view_as(matrix)
        for optimizer in self._inner.values():
            for group in optimizer.param_groups:
                group["lr"] = self.param_groups[0]["lr"]
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What both remember."""
        return {name: optimizer.state_dict() for name, optimizer in self._inner.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for name, optimizer in self._inner.items():
            optimizer.load_state_dict(state_dict[name])


def is_matrix(weight: nn.Parameter) -> bool:
    """Whether a weight maps one vector of channels to another."""
    return weight.ndim >= 2 and min(weight.shape[:2]) > 1 and weight.shape[2:].numel() == 1


def _flat(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.detach().view(weight.shape[:2]))
