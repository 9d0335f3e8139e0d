"""A first look at a whole recording: is it sound, how loud is it, and how do its channels become one.

The look costs one decoding and saves many surprises: errors come before anything is written, and level, offset and
choice of channels are one decision for the whole recording instead of one per block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Framer, Samples
from unmingle.audio.levels import LOUDEST, power_dbfs, unusable
from unmingle.errors import SignalError

SHORTEST_SECONDS = 0.1
_SILENT_PEAK = 10 ** (-90 / 20)
_FRAME_SECONDS = 0.02
_CLIPPED, _CLIPPED_RUN, _CLIPPED_RUNS = 0.999, 3, 5
_FAR_BEYOND = 8.0
_OFFSET = 0.005  # -46 dBFS; smaller offsets are inaudible and harm nothing
_DEAD_CHANNEL = 10 ** (-50 / 10)  # power relative to the loudest channel
_ROUNDING = 1e-14  # what may be left of the power of a constant
_CANCELLED = 0.1  # share of the power that channels without any relation would keep in their average


@dataclass(frozen=True)
class Survey:
    """What a recording holds, over all of it.

    Attributes:
        n_samples: per channel.
        sample_rate: Hz.
        peak: largest magnitude.
        means: (channels,) the offset of each channel.
        covariance: (channels, channels) of the samples.
        speech_power: mean square of the loud parts: the 95th percentile over 20 ms frames, averaged over channels.
        n_clipped: places where the signal stays at full scale.
    """

    n_samples: int
    sample_rate: int
    peak: float
    means: NDArray[np.float64]
    covariance: NDArray[np.float64]
    speech_power: float
    n_clipped: int


@dataclass(frozen=True)
class Downmix:
    """How several channels become the one that a network hears: `weights @ samples - offset`.

    Attributes:
        weights: (channels,) float32.
        offset: constant that is removed.
        speech_power: mean square of the loud parts of the result.
        conversions: what is done, one sentence each.
        warnings: what is suspicious, one sentence each.
    """

    weights: NDArray[np.float32]
    offset: float
    speech_power: float
    conversions: tuple[str, ...]
    warnings: tuple[str, ...]

    def __call__(self, samples: Samples) -> Samples:
        """(channels, time) -> (time,)."""
        if self.weights.shape[0] == 1 and self.offset == 0.0:
            return samples[0]
        return self.weights @ samples - np.float32(self.offset)


def survey(blocks: Iterable[Samples], *, sample_rate: int, channels: int, name: str, silence: bool = False) -> Survey:
    """Look through a recording once.

    Args:
        blocks: (channels, time) pieces.
        sample_rate: Hz.
        channels: how many.
        name: what messages call the recording.
        silence: take a silent recording.

    Raises:
        SignalError: it is empty, shorter than `SHORTEST_SECONDS`, silent, or has NaN or infinite samples.
    """
    n_samples, highest, n_clipped = 0, 0.0, 0
    sums = np.zeros(channels)
    products = np.zeros((channels, channels))
    powers: list[NDArray[np.float32]] = []
    framer = Framer(channels, round(_FRAME_SECONDS * sample_rate))
    for block in blocks:
        bad = np.any(unusable(block), axis=0)
        if bad.any():
            _refuse_no_sound(bad, at=n_samples, sample_rate=sample_rate, name=name)
        exact = block.astype(np.float64)
        sums += exact.sum(axis=1)
        products += exact @ exact.T
        highest = max(highest, float(np.max(np.abs(block), initial=0.0)))
        n_clipped += _count_clipped(block)
        powers.append(np.square(framer.push(block)).mean(axis=(0, 2)))
        n_samples += block.shape[1]
    _refuse_nothing(n_samples, np.inf if silence else highest, sample_rate=sample_rate, name=name)
    powers.append(np.square(framer.push(np.zeros((channels, 0), np.float32), last=True)).mean(axis=(0, 2)))
    means = sums / n_samples
    return Survey(
        n_samples=n_samples,
        sample_rate=sample_rate,
        peak=highest,
        means=means,
        covariance=products / n_samples - np.outer(means, means),
        speech_power=float(np.percentile(np.concatenate(powers), 95)),
        n_clipped=n_clipped,
    )


def plan_downmix(recording: Survey) -> Downmix:
    """Decide how the channels become one: their average, without the dead ones, or one of them when they cancel."""
    conversions: list[str] = []
    warnings: list[str] = []
    weights = _choose_weights(recording, conversions, warnings)
    offset = float(weights @ recording.means)
    if abs(offset) >= _OFFSET:
        conversions.append(f"removed a constant offset of {offset:+.3f} of full scale")
    else:
        offset = 0.0
    if recording.n_clipped >= _CLIPPED_RUNS:
        warnings.append(
            f"the recording is clipped at full scale in {recording.n_clipped} places; the tracks may sound harsh there"
        )
    if recording.peak > _FAR_BEYOND:
        warnings.append(f"samples reach {recording.peak:.3g} times full scale; were they integers once?")
    heard = float(weights @ recording.covariance @ weights)
    mean_power = float(np.trace(recording.covariance)) / len(weights)
    with_offset = float(np.mean(recording.means**2))
    scale = heard / max(mean_power + with_offset, 1e-20)
    if power_dbfs(heard) < -60.0:
        warnings.append(f"the recording is very quiet ({power_dbfs(heard):.0f} dBFS on average); noise may dominate it")
    return Downmix(
        weights=weights.astype(np.float32),
        offset=offset,
        speech_power=recording.speech_power * scale,
        conversions=tuple(conversions),
        warnings=tuple(warnings),
    )


def _choose_weights(recording: Survey, conversions: list[str], warnings: list[str]) -> NDArray[np.float64]:
    powers = np.diag(recording.covariance)
    channels = len(powers)
    if channels == 1:
        return np.ones(1)
    silent = powers.max() <= _ROUNDING
    alive = silent | (powers > _DEAD_CHANNEL * powers.max())
    n_alive = int(alive.sum())
    loudest = int(np.argmax(powers))
    average = alive / n_alive
    if (
        n_alive > 1
        and not silent
        and average @ recording.covariance @ average < _CANCELLED * powers[alive].mean() / n_alive
    ):
        warnings.append(f"the {n_alive} channels cancel each other when averaged; one has its polarity reversed")
        conversions.append(f"took channel {loudest + 1} of {channels}, the loudest")
        return np.eye(channels)[loudest]
    if n_alive == 1:
        conversions.append(f"took channel {loudest + 1} of {channels}, the only one with sound")
    elif n_alive < channels:
        conversions.append(f"averaged the {n_alive} of {channels} channels with sound into one")
    else:
        conversions.append(f"averaged {channels} channels into one")
    return average


def _count_clipped(block: Samples) -> int:
    at_limit = (np.abs(block) >= _CLIPPED) & (np.abs(block) <= 1.001)  # float files may well go beyond
    runs = np.ones_like(at_limit[:, _CLIPPED_RUN - 1 :])
    for shift in range(_CLIPPED_RUN):
        runs &= at_limit[:, shift : at_limit.shape[1] - (_CLIPPED_RUN - 1 - shift)]
    return int((runs[:, 1:] & ~runs[:, :-1]).sum() + runs[:, :1].sum())


def _refuse_no_sound(bad: NDArray[np.bool_], *, at: int, sample_rate: int, name: str) -> None:
    first = at + int(np.argmax(bad))
    raise SignalError(
        f"{name} holds samples that are not numbers (NaN or infinite) or beyond {LOUDEST:g} times full scale, the "
        f"first at {first / sample_rate:.3f} s; export it again from the program that wrote it"
    )


def _refuse_nothing(n_samples: int, highest: float, *, sample_rate: int, name: str) -> None:
    if n_samples == 0:
        raise SignalError(f"{name} holds no samples; there is nothing to separate")
    if n_samples < SHORTEST_SECONDS * sample_rate:
        raise SignalError(
            f"{name} lasts {1000 * n_samples / sample_rate:.3g} ms; to tell voices apart takes at least "
            f"{1000 * SHORTEST_SECONDS:.0f} ms, and a second or more to do it well"
        )
    if highest < _SILENT_PEAK:
        raise SignalError(f"{name} is silent from beginning to end; there is nothing to separate")
