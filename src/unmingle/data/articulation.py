"""How a mouth might move with a recorded voice: enough of it, and as loosely, that lips can be learned to be read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmingle.data.crops import FRAME_RATE, frames_of

Curve = NDArray[np.floating[Any]]

_RANGE_DB = 32.0  # below the loudest syllables by this much, the mouth is closed
_LOUD = 95  # percentile of the level that counts as loud
_BRIGHT_HZ = 2000.0
_WINDOW_SECONDS = 0.064


class Movement(NamedTuple):
    """A mouth, 25 times per second."""

    opening: Curve  # (frames,) 0 closed to 1 wide open
    spread: Curve  # (frames,) -1 rounded, as for "oo", to 1 spread, as for "ee"


def movement_of(samples: Curve, sample_rate: int, rng: np.random.Generator) -> Movement:
    """Lips for a voice.

    The opening follows the level of the voice, a little ahead of it as real lips are; the spread follows how bright it
    sounds. Both are smoothed, and swayed by chance by about a fifth: a mouth is no level meter.

    Args:
        samples: (time,).
        sample_rate: Hz.
        rng: where chance comes from.
    """
    n_frames = frames_of(len(samples), sample_rate)
    level, brightness = _heard(samples, sample_rate, n_frames)
    loud = np.percentile(level, _LOUD)
    opening = np.clip((level - loud) / _RANGE_DB + 1, 0, 1.15) ** rng.uniform(1.2, 2.0)
    opening = _smooth(_ahead(opening, rng.uniform(0, 1.5))) * (1 + 0.2 * _sway(rng, n_frames, 6))
    spread = np.tanh(2.5 * (brightness - rng.uniform(0.25, 0.35))) * rng.uniform(0.6, 1.0)
    spread = _smooth(spread * np.minimum(1, 4 * opening)) + 0.2 * _sway(rng, n_frames, 8)
    return Movement(np.clip(opening, 0, 1).astype(np.float32), np.clip(spread, -1, 1).astype(np.float32))


def _heard(samples: Curve, sample_rate: int, n_frames: int) -> tuple[Curve, Curve]:
    """Level in dB, and the share of it (root of the energy) above 2 kHz, around the middle of each frame."""
    half = round(_WINDOW_SECONDS * sample_rate / 2)
    middles = ((np.arange(n_frames) + 0.5) * sample_rate / FRAME_RATE).astype(int)
    padded = np.pad(samples.astype(np.float32), (half, half + sample_rate))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[middles] * np.hanning(2 * half)
    energies = np.abs(np.fft.rfft(windows, axis=-1)) ** 2
    bright = energies[:, round(_BRIGHT_HZ * 2 * half / sample_rate) :].sum(-1)
    total = energies.sum(-1) + 1e-9
    return (10 * np.log10(total)).astype(np.float32), np.sqrt(bright / total).astype(np.float32)


def _ahead(curve: Curve, frames: float) -> Curve:
    """The curve so many frames earlier."""
    places = np.arange(len(curve)) + frames
    return np.interp(places, np.arange(len(curve)), curve).astype(np.float32)


def _smooth(curve: Curve) -> Curve:
    padded = np.pad(curve, 1, mode="edge")
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def _sway(rng: np.random.Generator, n_frames: int, period: int) -> Curve:
    """Chance that changes slowly: about -1 to 1, a new value every `period` frames."""
    knots = rng.uniform(-1, 1, n_frames // period + 2)
    return np.interp(np.arange(n_frames) / period, np.arange(len(knots)), knots).astype(np.float32)
