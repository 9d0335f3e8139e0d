"""What tracks are written in, and called. Nothing heavy is imported here, so that a command line may name it."""

from __future__ import annotations

import re
from typing import Literal

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]
TrackFormat = Literal["wav", "flac"]

FACELESS = r"spk\d+|offscreen\d+|faces|residual"
"""What files of no face and of no enrolled voice are called."""

# What libsndfile calls codings (PCM_24, ALAC_24, FLOAT), and FFmpeg (pcm_s24le, alac_24, pcm_f32le).
_FINE = re.compile(r"(pcm|alac|flac|mlp|truehd|tta|wavpack)_[su]?(20|24|32|64)(le|be)?", re.IGNORECASE)
_FLOATING = re.compile(r"float|double|pcm_f\d+(le|be)", re.IGNORECASE)


def choose_subtype(recorded: str) -> Subtype:
    """As many bits as the recording has; what was compressed with loss gets 16."""
    if _FLOATING.fullmatch(recorded):
        return "FLOAT"
    return "PCM_24" if _FINE.fullmatch(recorded) else "PCM_16"
