"""Loudness in LUFS and true peaks, of several tracks, each by itself, while they come in blocks.

Source: ITU-R BS.1770-4: K-weighting (the analogue prototypes behind its coefficients, at any sample rate), blocks of
400 ms of which neighbours share three quarters, an absolute gate at -70 LUFS and a relative one 10 LU below the rest.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.audio.levels import peak
from unmingle.audio.resample import StreamResampler

_OFFSET = -0.691  # dB: a sine of 997 Hz at full scale is -3.01 LUFS
_SHELF_HZ, _SHELF_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_PASS_HZ, _PASS_Q = 38.13547087602444, 0.5003270373238773
_RESPONSE_SECONDS = 0.15  # by then the response to an impulse has died away
_STEP_SECONDS, _STEPS = 0.1, 4  # a block is four steps
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, 10.0
_PEAK_RATE = 176_400  # Hz from which samples show the peaks between those of usual rates


class LoudnessMeter:
    """Push blocks, then ask."""

    def __init__(self, channels: int, sample_rate: int) -> None:
        """Measure (channels, time) samples, every channel as a mono track."""
        self._response = _weighting(sample_rate)
        self._tail = np.zeros((channels, len(self._response) - 1))
        self._step = round(_STEP_SECONDS * sample_rate)
        self._rest = np.zeros((channels, 0))  # weighted samples of a step that is not whole
        self._steps = [np.zeros((channels, 0))]  # mean squares
        self._energy, self._n_samples = np.zeros(channels), 0
        over = max(1, math.ceil(_PEAK_RATE / sample_rate))
        self._upsampler = StreamResampler(sample_rate, over * sample_rate, channels)
        self.true_peaks = np.zeros(channels)

    def push(self, samples: Samples, *, last: bool = False) -> None:
        """Take (channels, time) samples; nothing may follow the last."""
        over = self._upsampler.push(samples, last=last)
        for seen in (over, samples):  # resampling takes away what is next to the Nyquist frequency
            self.true_peaks = np.maximum(self.true_peaks, [peak(channel) for channel in seen])
        weighted = self._weight(samples.astype(np.float64))
        self._energy += np.square(weighted).sum(axis=1)
        self._n_samples += weighted.shape[1]
        joined = np.concatenate([self._rest, weighted], axis=1)
        n_steps = joined.shape[1] // self._step
        whole, self._rest = joined[:, : n_steps * self._step], joined[:, n_steps * self._step :]
        self._steps.append(np.square(whole).reshape(len(whole), n_steps, self._step).mean(axis=2))

    def loudness(self) -> list[float | None]:
        """LUFS of every channel so far, None for silence; less than 400 ms are measured as they are, without gates."""
        steps = np.concatenate(self._steps, axis=1)
        self._steps = [steps]
        if steps.shape[1] < _STEPS:
            return [_lufs(float(energy) / max(self._n_samples, 1)) for energy in self._energy]
        sums = np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
        blocks = (sums[:, _STEPS:] - sums[:, :-_STEPS]) / _STEPS
        return [_gated(channel) for channel in blocks]

    def _weight(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        length = samples.shape[1]
        size = 1 << (length + len(self._response) - 2).bit_length()
        spectra = np.fft.rfft(samples, size, axis=1) * np.fft.rfft(self._response, size)
        full = np.fft.irfft(spectra, size, axis=1)[:, : length + len(self._response) - 1]
        full[:, : self._tail.shape[1]] += self._tail
        self._tail = full[:, length:]
        return full[:, :length]


def _gated(blocks: NDArray[np.float64]) -> float | None:
    """(n_blocks,) mean squares -> LUFS."""
    heard = blocks[blocks > _power(_ABSOLUTE_GATE)]
    if heard.size == 0:
        return None
    return _lufs(float(heard[heard > heard.mean() * 10 ** (-_RELATIVE_GATE / 10)].mean()))


def _lufs(power: float) -> float | None:
    return _OFFSET + 10.0 * math.log10(power) if power > _power(_ABSOLUTE_GATE) else None


def _power(lufs: float) -> float:
    return 10 ** ((lufs - _OFFSET) / 10)


def _weighting(sample_rate: int) -> NDArray[np.float64]:
    """The K-weighting filter's response to an impulse."""
    size = 1 << sample_rate.bit_length()  # over a second: nothing of the response is left to fold back
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    gain = 10 ** (_SHELF_DB / 20)
    k = math.tan(math.pi * _SHELF_HZ / sample_rate)
    edge = gain**0.4996667741545416
    shelf = _biquad(
        delay,
        (gain + edge * k / _SHELF_Q + k * k, 2 * (k * k - gain), gain - edge * k / _SHELF_Q + k * k),
        (1 + k / _SHELF_Q + k * k, 2 * (k * k - 1), 1 - k / _SHELF_Q + k * k),
    )
    k = math.tan(math.pi * _PASS_HZ / sample_rate)
    scale = 1 + k / _PASS_Q + k * k
    high_pass = _biquad(delay, (scale, -2 * scale, scale), (scale, 2 * (k * k - 1), 1 - k / _PASS_Q + k * k))
    return np.fft.irfft(shelf * high_pass, size)[: round(_RESPONSE_SECONDS * sample_rate)]


def _biquad(
    delay: NDArray[np.complex128], over: tuple[float, float, float], under: tuple[float, float, float]
) -> NDArray[np.complex128]:
    return np.polyval(over[::-1], delay) / np.polyval(under[::-1], delay)
