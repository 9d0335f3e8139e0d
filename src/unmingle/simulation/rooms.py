"""Rooms: shoebox impulse responses by pyroomacoustics, or measured ones, and what they make of a voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unmingle.errors import ConfigError, MissingExtraError
from unmingle.simulation.mixing import Signal

EARLY_MS = 50.0  # reflections up to here help a listener; the usual boundary of speech intelligibility (C50)
WALL_CLEARANCE = 0.5  # metres between anybody and a wall


@dataclass(frozen=True)
class RoomSettings:
    """Ranges that a room is drawn from: metres and seconds.

    Attributes:
        length: longer horizontal side.
        width: shorter horizontal side.
        height: of the ceiling.
        rt60: reverberation time; raised for a room too large to be that dry.
        distance: from a talker to the microphone.
    """

    length: tuple[float, float] = (4.0, 8.0)
    width: tuple[float, float] = (3.0, 6.0)
    height: tuple[float, float] = (2.4, 3.5)
    rt60: tuple[float, float] = (0.15, 0.5)
    distance: tuple[float, float] = (0.5, 2.5)

    def __post_init__(self) -> None:
        """Refuse ranges the wrong way round, and rooms of no size."""
        for name, (low, high) in vars(self).items():
            if not 0 < low <= high:
                raise ConfigError(
                    f"room.{name} is [{low}, {high}], but a range is above 0 and the lower bound comes first"
                )


def draw_room(
    rng: np.random.Generator, *, n_src: int, sample_rate: int, settings: RoomSettings | None = None
) -> NDArray[np.float32]:
    """Impulse responses from `n_src` talkers to one microphone in a room drawn at random.

    Returns:
        (n_src, taps), delays removed so that the first arrival of every talker is at sample 0, its peak 1.0.

    Raises:
        MissingExtraError: pyroomacoustics is not installed.
    """
    settings = settings or RoomSettings()
    size = np.array([rng.uniform(*settings.length), rng.uniform(*settings.width), rng.uniform(*settings.height)])
    microphone = rng.uniform(WALL_CLEARANCE, size - WALL_CLEARANCE)
    talkers = [_place(rng, microphone, size, settings.distance) for _ in range(n_src)]
    responses = _shoebox(size, rng.uniform(*settings.rt60), microphone, talkers, sample_rate)
    return stack_responses([from_direct_sound(response) for response in responses])


def _place(
    rng: np.random.Generator, microphone: NDArray[np.float64], size: NDArray[np.float64], distance: tuple[float, float]
) -> NDArray[np.float64]:
    for _ in range(100):
        direction = rng.normal(size=3) * (1.0, 1.0, 0.2)  # talkers are about as high as the microphone
        place = microphone + direction / np.linalg.norm(direction) * rng.uniform(*distance)
        if np.all(place > WALL_CLEARANCE) and np.all(place < size - WALL_CLEARANCE):
            return place
    return size / 2  # a room smaller than the distances asked for


def _shoebox(
    size: NDArray[np.float64],
    rt60: float,
    microphone: NDArray[np.float64],
    talkers: Sequence[NDArray[np.float64]],
    sample_rate: int,
) -> list[NDArray[np.float64]]:
    acoustics = _pyroomacoustics()
    driest = 1.05 * 24 * np.log(10) / 343 * np.prod(size) / (2 * (size[0] * size[1] + size[2] * (size[0] + size[1])))
    absorption, order = acoustics.inverse_sabine(max(rt60, float(driest)), size)
    # The order of additions, and so the last bit, would depend on how many threads share the work.
    acoustics.constants.set("num_threads", 1)
    room = acoustics.ShoeBox(size, fs=sample_rate, materials=acoustics.Material(absorption), max_order=order)
    for talker in talkers:
        room.add_source(talker)
    room.add_microphone(microphone)
    room.compute_rir()
    return list(room.rir[0])


def _pyroomacoustics() -> Any:
    try:
        import pyroomacoustics
    except ImportError as error:
        raise MissingExtraError("pyroomacoustics", extra="train", purpose="simulating rooms") from error
    return cast(Any, pyroomacoustics)


def from_direct_sound(response: Signal) -> NDArray[np.float32]:
    """An impulse response from its first arrival on, that arrival scaled to 1.0.

    The first arrival is the first sample of at least half the peak: a strong reflection can be the peak itself.
    """
    magnitude = np.abs(response)
    first = int(np.argmax(magnitude >= 0.5 * magnitude.max()))
    peak = first + int(np.argmax(magnitude[first : first + 8]))
    return (response[peak:] / response[peak]).astype(np.float32)


def stack_responses(responses: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Impulse responses of different lengths as (n_responses, taps), zeros appended."""
    taps = max(len(response) for response in responses)
    return np.stack([np.pad(response, (0, taps - len(response))) for response in responses])


def early_part(responses: NDArray[np.float32], *, sample_rate: int) -> NDArray[np.float32]:
    """The direct sound and the reflections of the first 50 ms, as `from_direct_sound` lays them out."""
    return responses[..., : round(EARLY_MS / 1000 * sample_rate)]


def reverberate(signal: Signal, response: Signal) -> NDArray[np.float32]:
    """A signal heard through an impulse response, cut to its own length."""
    size = 1 << (len(signal) + len(response) - 2).bit_length()
    product = np.fft.rfft(signal, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(signal)].astype(np.float32)
