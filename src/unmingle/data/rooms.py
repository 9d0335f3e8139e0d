"""A bank of simulated rooms: an image-source simulation takes a second, training draws a room in microseconds."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unmingle.data.settings import DataSettings
from unmingle.simulation.mixing import at_level, level_db
from unmingle.simulation.rooms import draw_room, early_part, reverberate, stack_responses

_STREAM = 0x526F6F6D  # keeps the rooms' random numbers apart from those of the mixtures


class RoomBank:
    """Impulse responses of several rooms, (n_rooms, n_src, taps), a function of the seed alone."""

    def __init__(
        self, responses: NDArray[np.float32], *, sample_rate: int, targets: Literal["reverberant", "early"]
    ) -> None:
        """Keep responses that `draw_room` made."""
        self.responses = responses
        self.targets = targets
        self.early = early_part(responses, sample_rate=sample_rate)

    @classmethod
    def open(cls, settings: DataSettings) -> RoomBank:
        """Simulate the rooms that the settings ask for."""
        rooms = [
            draw_room(
                np.random.default_rng([settings.seed, _STREAM, number]),
                n_src=settings.n_src,
                sample_rate=settings.sample_rate,
            )
            for number in range(settings.mixing.n_rooms)
        ]
        flat = stack_responses([response for room in rooms for response in room])
        responses = flat.reshape(len(rooms), settings.n_src, -1)
        return cls(responses, sample_rate=settings.sample_rate, targets=settings.mixing.room_targets)

    def through(
        self, rng: np.random.Generator, voices: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is heard of each voice in one room, as loud as the voice, and what a separator should give of it.

        Args:
            rng: draws the room and who stands where.
            voices: (n_src, time).

        Returns:
            heard and wanted, (n_src, time) each.
        """
        room = int(rng.integers(len(self.responses)))
        places = rng.permutation(len(voices))
        heard, wanted = np.empty_like(voices), np.empty_like(voices)
        for index, (voice, place) in enumerate(zip(voices, places, strict=True)):
            full = reverberate(voice, self.responses[room, place])
            target = full if self.targets == "reverberant" else reverberate(voice, self.early[room, place])
            heard[index] = at_level(full, level_db(voice))
            scale = np.linalg.norm(heard[index]) / max(float(np.linalg.norm(full)), 1e-12)
            wanted[index] = target * scale
        return heard, wanted
