"""Whose voice is heard: drawn so that a speaker with one utterance and one with an hour are both used well."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmingle.errors import ConfigError


@dataclass(frozen=True)
class Utterance:
    """One stretch of one voice."""

    id: str
    speaker: str
    gender: str | None  # "F", "M", or None when unknown
    n_samples: int  # at the sample rate of the mixtures


class SpeakerPool:
    """Utterances by speaker. Speakers are drawn by the square root of their clipped duration, utterances by length."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        sample_rate: int,
        speaker_seconds: tuple[float, float] = (10.0, 600.0),
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Order the speakers by name, so that the order of the utterances' files plays no part.

        Args:
            utterances: all of them.
            sample_rate: Hz.
            speaker_seconds: clipping range for the seconds of a speaker.
            weights: how many times more often a speaker is drawn; 1 for those not named.

        Raises:
            ConfigError: there is no utterance.
        """
        if not utterances:
            raise ConfigError("there is no speech to draw from: the list of utterances is empty")
        self.utterances = list(utterances)
        self.speakers = sorted({utterance.speaker for utterance in utterances})
        number = {speaker: index for index, speaker in enumerate(self.speakers)}
        rows: list[list[int]] = [[] for _ in self.speakers]
        for index in sorted(range(len(self.utterances)), key=lambda index: self.utterances[index].id):
            rows[number[self.utterances[index].speaker]].append(index)
        lengths = [np.array([self.utterances[index].n_samples for index in own], np.float64) for own in rows]
        self._rows = rows
        self._row_odds = [np.cumsum(own) for own in lengths]
        self.genders = [self.utterances[own[0]].gender for own in rows]
        seconds = np.array([own.sum() for own in lengths]) / sample_rate
        self.odds = np.sqrt(np.clip(seconds, *speaker_seconds))
        self.odds *= [(weights or {}).get(speaker, 1.0) for speaker in self.speakers]

    def of_gender(self, gender: str) -> NDArray[np.bool_]:
        """Which speakers are of a gender."""
        return np.array([own == gender for own in self.genders])

    def draw_speaker(
        self, rng: np.random.Generator, *, without: Collection[int] = (), among: NDArray[np.bool_] | None = None
    ) -> int:
        """A speaker's number.

        Args:
            rng: where chance comes from.
            without: speakers already taken.
            among: which speakers may be drawn; disregarded when it leaves nobody.

        Raises:
            ConfigError: every speaker is taken.
        """
        odds = self.odds.copy()
        odds[list(without)] = 0
        if among is not None and np.any(odds[among] > 0):
            odds[~among] = 0
        if not np.any(odds > 0):
            raise ConfigError(
                f"a mixture wants more different speakers than the {len(self.speakers)} that the speech has; "
                "lower n_src or babble_talkers, or add speakers"
            )
        return draw_by(rng, np.cumsum(odds))

    def draw_utterance(self, rng: np.random.Generator, speaker: int) -> int:
        """The number of one of a speaker's utterances; longer ones more often, so that every second is as likely."""
        return self._rows[speaker][draw_by(rng, self._row_odds[speaker])]


def draw_by(rng: np.random.Generator, cumulated_odds: NDArray[np.float64]) -> int:
    """An index, drawn with given odds. Many times faster than `rng.choice`."""
    return int(np.searchsorted(cumulated_odds, rng.random() * cumulated_odds[-1], side="right"))
