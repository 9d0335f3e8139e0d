"""`torch.compile` as an option: the probe that turns a missing compiler into one clear message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

from unmingle.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function, *, device: torch.device) -> Function:
    """Compile a function for one shape of its arguments.

    Args:
        function: of tensors.
        device: where they are; on the CPU a C++ compiler is called.

    Raises:
        ConfigError: this machine cannot compile.
    """
    _probe(device)
    return cast("Function", torch.compile(function, dynamic=False))


def _probe(device: torch.device) -> None:
    def one_loop(values: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(values) * values + 1

    try:
        torch.compile(one_loop, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # whatever the compiler stack raises: its classes differ between versions and back ends
        last = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"training.compile is on, but torch.compile does not work here ({last}); install a C++ compiler "
            "(on Debian: apt install g++ python3-dev) or name yours in CXX, or set training.compile=false"
        ) from error
