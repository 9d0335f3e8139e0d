"""What tracks are written in, and called. Nothing heavy is imported here, so that a command line may name it."""

from __future__ import annotations

from typing import Literal

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]
TrackFormat = Literal["wav", "flac"]

FACELESS = r"spk\d+|offscreen\d+|faces|residual"
"""What files of no face and of no enrolled voice are called."""

_FINE = {"PCM_24", "PCM_32", "ALAC_24", "ALAC_32"}
_FLOATING = {"FLOAT", "DOUBLE"}


def choose_subtype(recorded: str) -> Subtype:
    """As many bits as the recording has; what was compressed with loss gets 16."""
    if recorded in _FLOATING:
        return "FLOAT"
    return "PCM_24" if recorded in _FINE else "PCM_16"
