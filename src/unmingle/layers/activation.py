"""Activations by name."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from unmingle.errors import ConfigError, did_you_mean

Activation = Literal["prelu", "relu", "leakyrelu", "elu", "selu", "gelu", "silu", "softplus", "sigmoid", "tanh"]

_PLAIN: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def activation_layer(name: str, *, n_slopes: int = 1) -> nn.Module:
    """The activation of a name, case ignored.

    Args:
        name: one of `Activation`.
        n_slopes: slopes of a PReLU, one for each index of axis 1 where there are several; they start at 0.25.
    Raises:
        ConfigError: no such activation.
    """
    lowered = name.lower()
    if lowered == "prelu":
        return nn.PReLU(n_slopes)
    if lowered not in _PLAIN:
        known = get_args(Activation)
        raise ConfigError(f"no activation is called {name!r}, only {', '.join(known)}{did_you_mean(lowered, known)}")
    return _PLAIN[lowered]()
