"""Sound on the clock of the faces: 25 ticks per second, tick 0 at the first sample."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.video.tracks import CLOCK_RATE

Powers = NDArray[np.float64]
"""Mean square of every track around every tick, (n_tracks, n_ticks)."""


def tick_powers(blocks: Iterable[Samples], *, sample_rate: int, n_ticks: int) -> Powers:
    """How loud each track is when each picture is shown.

    A tick hears the 40 ms around it, so that rates which are no multiple of 25 do not drift.

    Args:
        blocks: (n_tracks, time) pieces from the beginning.
        sample_rate: Hz.
        n_ticks: how many ticks; sound beyond the last is left out, ticks beyond the sound are silent.
    """
    sums: list[Powers] = []
    counts = np.zeros(n_ticks)
    position = 0
    for block in blocks:
        samples = np.arange(position, position + block.shape[1])
        ticks = np.floor(samples * (CLOCK_RATE / sample_rate) + 0.5).astype(np.int64)
        position += block.shape[1]
        if not sums:
            sums = [np.zeros(n_ticks) for _ in block]
        kept = ticks < n_ticks
        counts += np.bincount(ticks[kept], minlength=n_ticks)
        for total, track in zip(sums, block, strict=True):
            total += np.bincount(ticks[kept], np.square(track[kept], dtype=np.float64), minlength=n_ticks)
    return np.stack(sums) / np.maximum(counts, 1) if sums else np.zeros((0, n_ticks))
