"""What the configurations of networks with a learned front end have in common: their limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from unmingle.errors import ConfigError


def check_front_end(config: Any, name: str, *, even: Sequence[str]) -> None:
    """Refuse numbers that make no network.

    Args:
        config: a dataclass whose fields are all counts, at least 1.
        name: the network's name, for the message.
        even: fields of which half is taken, to overlap by it.
    Raises:
        ConfigError: the first number out of range.
    """
    for field in fields(config):
        if getattr(config, field.name) < 1:
            raise ConfigError(f"{field.name} is {getattr(config, field.name)}; {name} wants at least 1")
    for field in even:
        if getattr(config, field) % 2:
            raise ConfigError(f"{field} is {getattr(config, field)}; {name} overlaps by half, so take an even number")
