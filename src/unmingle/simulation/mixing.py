"""The arithmetic of mixing: levels, lengths, signal-to-noise ratio. Pure functions of numpy arrays, no randomness.

A level is the root mean square of a whole signal, in dB over 1.0. A ratio between two signals compares their levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.levels import gain_from_db

Signal = NDArray[np.floating[Any]]

INT16_STEPS = 32_768


def rms(signal: Signal) -> float:
    """Root mean square of a signal of any shape; 0.0 for an empty one."""
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) if signal.size else 0.0


def level_db(signal: Signal) -> float:
    """Level in dB over 1.0; -inf for silence."""
    with np.errstate(divide="ignore"):
        return float(20 * np.log10(rms(signal)))


def ratio_db(signal: Signal, other: Signal) -> float:
    """How much louder one signal is than another, in dB: the signal-to-noise ratio when the other is noise."""
    return level_db(signal) - level_db(other)


def balanced_levels(differences_db: Sequence[float]) -> list[float]:
    """Levels of the sources, averaging 0 dB, from the level of the first source over each of the others.

    One difference d gives d/2 and -d/2: which voice is the first makes no difference to the loudness of the pair.
    """
    levels = np.array([0.0, *(-difference for difference in differences_db)])
    return [float(level) for level in levels - levels.mean()]


def at_level(signal: Signal, decibels: float) -> Signal:
    """The signal scaled to a level. Silence stays as it is."""
    now = rms(signal)
    return signal * (gain_from_db(decibels) / now) if now > 0 else signal


def fit_lengths(signals: Sequence[Signal], mode: Literal["min", "max"]) -> Signal:
    """Signals of different lengths as one array, all starting together.

    Args:
        signals: one-dimensional, at least one.
        mode: `min` cuts all to the shortest; `max` appends silence up to the longest.
    Returns:
        (n_signals, time).
    """
    lengths = [len(signal) for signal in signals]
    if mode == "min":
        return np.stack([signal[: min(lengths)] for signal in signals])
    return np.stack([np.pad(signal, (0, max(lengths) - len(signal))) for signal in signals])


def repeat_to(signal: Signal, length: int) -> Signal:
    """Exactly `length` samples of a signal: cut, or repeated from its beginning. Nothing repeats to silence."""
    return np.resize(signal, length) if len(signal) else np.zeros(length, signal.dtype)


def noise_at_snr(signal: Signal, noise: Signal, snr_db: float) -> Signal:
    """Noise scaled so that `signal` is `snr_db` dB louder than it. Silent noise stays silent."""
    level = level_db(signal)
    return at_level(noise, level - snr_db) if np.isfinite(level) else np.zeros_like(noise)


def on_int16_grid(signal: Signal) -> NDArray[np.int16]:
    """Samples in -1..1 rounded to 16 bits; a sum of such rounded signals is exact, which a sum of floats is not."""
    return np.round(signal * INT16_STEPS).astype(np.int16)


def interpolate(signal: Signal, *, speed: float, length: int) -> Signal:
    """The first `length` samples of a signal played at `speed`, pitch and tempo together, by linear interpolation.

    Args:
        signal: one-dimensional, at least `length * speed + 1` samples (the last sample is held beyond its end).
        speed: 1.0 is unchanged, 2.0 an octave higher.
        length: samples wanted.
    """
    positions = np.arange(length) * speed
    return np.interp(positions, np.arange(len(signal)), signal).astype(np.float32)


def recolour(signal: Signal, *, phase: float, octaves_db: Sequence[float], sample_rate: int) -> Signal:
    """Another recording of the same voice: all frequencies turned by one phase, octaves raised or lowered.

    Args:
        signal: (time,).
        phase: radians; pi turns the sign, nothing in between can be heard.
        octaves_db: gain at half the rate, at a quarter, and so on down; straight lines between them over log frequency,
            level below the last. Empty: none.
        sample_rate: of the signal, Hz.
    """
    turned = np.fft.rfft(signal) * np.exp(1j * phase)
    if octaves_db:
        frequencies = np.fft.rfftfreq(len(signal), 1 / sample_rate)
        corners = sample_rate / 2 ** np.arange(len(octaves_db), 0, -1)  # rising, as `interp` wants them
        heights = np.interp(np.log2(np.maximum(frequencies, 1.0)), np.log2(corners), octaves_db[::-1])
        turned = turned * 10 ** (heights / 20)
    return np.fft.irfft(turned, len(signal)).astype(signal.dtype)
