"""What the configurations of networks on the grid of frames and bins have in common: their limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from unmingle.errors import ConfigError

_COUNTS = (
    "sample_rate",
    "n_src",
    "hop",
    "channels",
    "kernel",
    "stride",
    "n_blocks",
    "n_heads",
    "query_width",
)


class GridNumbers(Protocol):
    """The numbers that are checked against each other."""

    @property
    def window(self) -> int: ...
    @property
    def hop(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def kernel(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def n_heads(self) -> int: ...
    @property
    def eps(self) -> float: ...


def check_grid(config: GridNumbers, name: str, *, counts: Sequence[str] = ()) -> None:
    """Refuse numbers that make no network.

    Args:
        config: the configuration.
        name: the network's name, for the message.
        counts: further fields that have to be at least 1.
    Raises:
        ConfigError: the first number out of range.
    """
    for field in (*_COUNTS, *counts):
        if getattr(config, field) < 1:
            raise ConfigError(f"{field} is {getattr(config, field)}; {name} wants at least 1")
    if config.window < 4 or config.window % 2:
        raise ConfigError(f"window is {config.window} samples; {name} wants an even number from 4 up")
    if config.hop > config.window:
        raise ConfigError(
            f"hop is {config.hop} samples, more than the window of {config.window}; frames would not meet"
        )
    if config.stride > config.kernel:
        raise ConfigError(f"stride is {config.stride}, more than the kernel of {config.kernel}; vectors would not meet")
    if config.channels % config.n_heads:
        raise ConfigError(
            f"channels is {config.channels}; {name} wants a multiple of n_heads, {config.n_heads}, to share them out"
        )
    if not (math.isfinite(config.eps) and config.eps > 0):
        raise ConfigError(f"eps is {config.eps:g}; it keeps a division finite, so it has to be above 0")
