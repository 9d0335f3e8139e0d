"""When does anybody speak? By silero-vad where it is installed (the `voices` extra), by loudness where it is not."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.audio.resample import StreamResampler

TICK_SECONDS = 0.1
"""Resolution of what this module says."""

_RATE, _FRAME = 16_000, 512  # what silero-vad hears
_PROBABLE, _HEARD_POWER = 0.5, 10 ** (-20 / 10)
_GOES_ON = 0.1  # so probable it has to stay on both sides of what is probable: quiet beginnings, swallowed words
_LOUD, _SILENT = 10 ** (-25 / 10), 1e-9  # power relative to the loud parts, and at all, for loudness alone
_HOLD_TICKS = 1  # before and after speech that still count as speech


class SpeechFinder:
    """Push one channel block by block, then ask `found`.

    Attributes:
        method: `silero-vad` or `loudness`.
    """

    def __init__(self, sample_rate: int, *, loud_power: float | None = None) -> None:
        """Prepare for a recording.

        Args:
            sample_rate: Hz.
            loud_power: mean square of its loud parts, where it is known; silero-vad overhears what is faint, so it is
                brought to a level.
        """
        self._network = _silero()
        self.method = "loudness" if self._network is None else "silero-vad"
        self._rate = sample_rate if self._network is None else _RATE
        self._size = round(TICK_SECONDS * self._rate) if self._network is None else _FRAME
        self._down = StreamResampler(sample_rate, self._rate, 1)
        self._gain = np.float32(np.sqrt(_HEARD_POWER / max(loud_power or _HEARD_POWER, _SILENT)))
        self._rest = np.zeros(0, np.float32)
        self._scores: list[NDArray[np.float64]] = []

    def push(self, samples: Samples, *, last: bool = False) -> None:
        """Hear the next (time,) samples."""
        heard = np.concatenate([self._rest, self._down.push(samples[np.newaxis], last=last)[0]])
        if last:
            heard = np.pad(heard, (0, -len(heard) % self._size))
        cut = len(heard) // self._size * self._size
        frames, self._rest = heard[:cut].reshape(-1, self._size), heard[cut:]
        if len(frames):
            self._scores.append(self._judge(frames))

    def found(self) -> NDArray[np.bool_]:
        """(ticks,) whether anybody speaks, after the last push."""
        scores = np.concatenate([np.zeros(0), *self._scores])
        if not len(scores):
            return np.zeros(0, np.bool_)
        speaks = _loud(scores) if self._network is None else _stretches(scores)
        n_ticks = round(len(scores) * self._size / self._rate / TICK_SECONDS)
        middle = (np.arange(n_ticks) + 0.5) * TICK_SECONDS * self._rate / self._size
        speech = speaks[np.minimum(middle.astype(int), len(scores) - 1)]
        return np.convolve(speech, np.ones(2 * _HOLD_TICKS + 1), "same")[:n_ticks] > 0.5 if n_ticks else speech

    def _judge(self, frames: Samples) -> NDArray[np.float64]:
        """How probable speech is in every frame, or how much power it has."""
        if self._network is None:
            return np.square(frames, dtype=np.float64).mean(axis=1)
        import torch

        with torch.inference_mode():
            return np.array([float(self._network(torch.from_numpy(self._gain * frame), _RATE)) for frame in frames])


def _loud(powers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a frame is as loud as speech is, going by loudness alone."""
    return powers > max(_LOUD * np.percentile(powers, 95), _SILENT)


def _stretches(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a frame is part of a stretch that may be speech throughout and surely is somewhere."""
    possible = scores > _GOES_ON
    number = np.cumsum(np.diff(possible, prepend=False))  # of the stretch, odd where speech is possible
    sure = np.zeros(len(scores) + 1, np.bool_)
    sure[number[scores > _PROBABLE]] = True
    return possible & sure[number]


def _silero() -> Any:
    """The network from the package's own file: importing the package would set torch's threads."""
    package = find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "data" / "silero_vad.jit"
    if not path.is_file():
        return None
    try:
        import torch
    except ImportError:  # an exported model does without it
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the format that the package ships
        network: Any = torch.jit.load(str(path), map_location="cpu").eval()
    network.reset_states()
    return network
