"""Who speaks when, by what is heard on each track."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import runs_of_true
from unmingle.inference.report import Track
from unmingle.panel.listening import track_powers
from unmingle.video.tracks import CLOCK_RATE
from unmingle.voices.rttm import Turn

_SMOOTHING_TICKS = 9
_AUDIBLE = 1e-3  # power against the loud parts of all tracks together
_SHORTEST_SECONDS = 0.2  # of a turn
_BESIDE = 0.3  # power against the loudest track: tracks leak into each other


def who_speaks(paths: Sequence[Path], *, n_ticks: int) -> NDArray[np.bool_]:
    """(n_tracks, n_ticks): whether each track holds a voice that stands out, at each tick of the faces' clock."""
    powers = track_powers(paths, n_ticks=n_ticks)
    window = np.ones(min(_SMOOTHING_TICKS, n_ticks)) / _SMOOTHING_TICKS
    smooth = np.stack([np.convolve(power, window, "same") for power in powers])
    loud = float(np.percentile(powers.sum(axis=0), 95))
    return (smooth > _AUDIBLE * loud) & (smooth > _BESIDE * smooth.max(axis=0, keepdims=True))


def turns(tracks: Sequence[Track], *, n_ticks: int) -> list[Turn]:
    """Who speaks when, in the order of time, by what is heard on tracks that were written."""
    speaking = who_speaks([track.path for track in tracks if track.path is not None], n_ticks=n_ticks)
    found = [
        Turn(start / CLOCK_RATE, end / CLOCK_RATE, track.name)
        for track, row in zip(tracks, speaking, strict=True)
        for start, end in runs_of_true(row)
        if (end - start) / CLOCK_RATE >= _SHORTEST_SECONDS
    ]
    return sorted(found, key=lambda turn: (turn.start, turn.track))
