"""The sound picture that the voice encoder was trained on: power in 40 mel bands, every 10 ms."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples

SAMPLE_RATE = 16_000
"""Hz."""

HOP, WINDOW, N_BANDS = 160, 400, 40
"""Samples between frames, samples in a frame, bands of a frame."""

_LINEAR_HZ, _MELS_PER_HZ = 1000.0, 0.015  # the scale is straight up to here ...
_OCTAVE_STEP = np.log(6.4) / 27.0  # ... and has 27 steps from 1 to 6.4 kHz above


def mel_power(samples: Samples) -> NDArray[np.float32]:
    """(time,) at 16 kHz -> (frames, 40), frames centred on every 160th sample, silence around the signal.

    Source: Slaney, "Auditory Toolbox", 1998, for the scale and for triangles of equal area.
    """
    padded = np.pad(samples.astype(np.float32, copy=False), WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * _taper(), axis=1)
    return (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32) @ _bands()


@cache
def _taper() -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def _bands() -> NDArray[np.float32]:
    """(bins, bands) triangles."""
    bins = np.fft.rfftfreq(WINDOW, 1.0 / SAMPLE_RATE)
    edges = _to_hz(np.linspace(0.0, _to_mel(SAMPLE_RATE / 2), N_BANDS + 2))
    rise = (bins[:, np.newaxis] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, np.newaxis]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    return (triangles * 2.0 / (edges[2:] - edges[:-2])).astype(np.float32)


def _to_mel(hz: float) -> float:
    return _MELS_PER_HZ * _LINEAR_HZ + float(np.log(hz / _LINEAR_HZ)) / _OCTAVE_STEP


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    corner = _MELS_PER_HZ * _LINEAR_HZ
    return np.where(mel < corner, mel / _MELS_PER_HZ, _LINEAR_HZ * np.exp(_OCTAVE_STEP * (mel - corner)))
