"""`torch.compile` as an option: what of a training step is compiled, and one clear message where that cannot be."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unmingle.errors import ConfigError
from unmingle.models.base import SeparationModel

Step = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]


def compiled(step: Step, *, network: SeparationModel, device: torch.device) -> Step:
    """Compile a training step for one shape of its arguments.

    A network that unfolds a block has that block compiled, in place; the compiler would otherwise see as many copies
    of it as there are iterations, and take as many times as long. Of other networks the whole step is compiled.

    Args:
        step: mixture, sources, video (where the network wants to see a face) and which items keep the order of their
            sources, to loss, through the network.
        network: the one that is trained.
        device: where it is; on the CPU a C++ compiler is called.

    Raises:
        ConfigError: this machine cannot compile.
    """
    _probe(device)
    blocks = network.unfolded_blocks()
    for block in blocks:
        block.compile(dynamic=False)
    return step if blocks else torch.compile(step, dynamic=False)


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
