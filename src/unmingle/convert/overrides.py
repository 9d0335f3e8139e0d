"""Settings that a caller gives beside published weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from unmingle.errors import ConfigError, did_you_mean


def check_overrides(
    overrides: Mapping[str, Any], *, shown: Mapping[str, Any], names: Collection[str], what: str
) -> None:
    """Refuse settings that nobody can give, or that contradict the tensors.

    Args:
        overrides: what the caller gives.
        shown: settings that the tensors decide.
        names: settings that can be given.
        what: the network's name, for messages.

    Raises:
        ConfigError: there is one.
    """
    for name, value in overrides.items():
        if name not in names:
            raise ConfigError(f"{what} has no setting {name!r} to give{did_you_mean(name, names)}")
        if name in shown and value != shown[name]:
            raise ConfigError(f"{name} is given as {value} but the weights show {shown[name]:g}; leave it out")
