"""Who talks when: turns that answer each other, overlap for a share of the speech, and pause, now and then for long.

At most two talk at once. Everything is drawn from a generator, so a plan is a function of its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmingle.config import check_range
from unmingle.errors import ConfigError
from unmingle.simulation.mixing import Signal, rms
from unmingle.simulation.rooms import reverberate
from unmingle.voices import rttm

_FADE_SECONDS = 0.02  # at the ends of a turn, which may be cut out of a sentence
_TALKATIVE = (0.5, 1.5)  # how often a talker takes the turn, relative to the others
_COVERED = (0.3, 1.0)  # share of the shorter of two turns that an overlap covers


@dataclass(frozen=True)
class ConversationSettings:
    """Ranges that a conversation is drawn from.

    Attributes:
        seconds: how long it is.
        talkers: how many take part.
        overlap: share of the time with speech in which two talk.
        turn_seconds: of one turn; longer utterances are cut.
        gap_seconds: between two turns that do not overlap.
        long_pauses_per_hour: in which nobody talks.
        long_pause_seconds: of one of these.
    """

    seconds: float = 600.0
    talkers: tuple[int, int] = (2, 4)
    overlap: tuple[float, float] = (0.1, 0.4)
    turn_seconds: tuple[float, float] = (1.0, 12.0)
    gap_seconds: tuple[float, float] = (0.1, 1.5)
    long_pauses_per_hour: float = 12.0
    long_pause_seconds: tuple[float, float] = (20.0, 120.0)

    def check(self) -> None:
        """Refuse what is no conversation; not at birth, where the parser of recipes would bury what is said.

        Raises:
            ConfigError: a range that cannot be.
        """
        if self.talkers[0] < 1 or self.seconds <= 0 or self.turn_seconds[0] <= 0:
            raise ConfigError("a conversation has a talker, and lasts; so does every turn of it")
        for name in ("talkers", "overlap", "turn_seconds", "gap_seconds", "long_pause_seconds"):
            check_range(f"conversation.{name}", getattr(self, name))
        if not 0 <= self.overlap[0] <= self.overlap[1] <= 0.5:
            raise ConfigError(f"conversation.overlap is {list(self.overlap)}; a share of 0 to 0.5 can be reached")


@dataclass(frozen=True)
class Turn:
    """One talker talks: `length` samples from sample `start`."""

    talker: int
    start: int
    length: int

    @property
    def stop(self) -> int:
        """The first sample after it."""
        return self.start + self.length


def plan_turns(
    rng: np.random.Generator, settings: ConversationSettings, *, n_talkers: int, sample_rate: int
) -> list[Turn]:
    """Who talks when, in the order of the beginnings."""
    end = round(settings.seconds * sample_rate)
    wanted = rng.uniform(*settings.overlap)
    weights = rng.uniform(*_TALKATIVE, size=n_talkers)
    n_pauses = round(settings.long_pauses_per_hour * settings.seconds / 3600)
    pauses = sorted(rng.uniform(0.1, 0.9, size=n_pauses) * end)
    turns: list[Turn] = []
    spoken = overlapped = 0  # samples with speech, samples with two voices
    while True:
        length = round(np.exp(rng.uniform(*np.log(settings.turn_seconds))) * sample_rate)
        before = max((turn.stop for turn in turns), default=0)
        shared = 0
        if pauses and before > pauses[0]:
            pauses.pop(0)
            start = before + round(rng.uniform(*settings.long_pause_seconds) * sample_rate)
        elif n_talkers > 1 and turns and overlapped < wanted * spoken:
            shared = _overlap(rng, turns, length)
            start = before - shared
        else:
            start = before + round(rng.uniform(*settings.gap_seconds) * sample_rate)
        if start + length > end:
            break
        turns.append(Turn(_next_talker(rng, weights, turns), start, length))
        spoken, overlapped = spoken + length - shared, overlapped + shared
    if not turns:
        raise ConfigError(f"no turn fits into {settings.seconds:g} s; lower conversation.turn_seconds")
    return turns


def _overlap(rng: np.random.Generator, turns: Sequence[Turn], length: int) -> int:
    """How much of the end of the last turn the next one covers, without a third voice."""
    last = max(turns, key=lambda turn: turn.stop)
    free = max((turn.stop for turn in turns if turn is not last), default=0)
    alone = last.stop - max(last.start, free)
    return min(round(rng.uniform(*_COVERED) * min(length, last.length)), alone)


def _next_talker(rng: np.random.Generator, weights: NDArray[np.float64], turns: Sequence[Turn]) -> int:
    odds = weights.copy()
    if turns and len(weights) > 1:
        odds[max(turns, key=lambda turn: turn.stop).talker] = 0.0
    return int(np.searchsorted(np.cumsum(odds), rng.random() * odds.sum(), side="right"))


def speak(
    turns: Sequence[Turn],
    draw: Callable[[int], Signal],
    *,
    length: int,
    sample_rate: int,
    response: Signal | None = None,
) -> NDArray[np.float32]:
    """One talker's part of a conversation: every turn at an RMS of one as it is spoken.

    Args:
        turns: of this talker.
        draw: gives speech of about so many samples, fewer when there are none.
        length: samples of the whole conversation.
        sample_rate: Hz.
        response: how the room answers to an impulse from the talker's place; None: no room.

    Returns:
        (length,).
    """
    track = np.zeros(length, np.float32)
    fade = max(1, round(_FADE_SECONDS * sample_rate))
    tail = 0 if response is None else len(response) - 1
    for turn in turns:
        voice = np.resize(draw(turn.length), turn.length).astype(np.float32)
        rise = np.minimum(1.0, (np.arange(turn.length) + 1) / fade)
        voice *= (rise * rise[::-1] / max(rms(voice), 1e-3)).astype(np.float32)
        heard = voice if response is None else reverberate(np.pad(voice, (0, tail)), response)
        room = track[turn.start : turn.start + len(heard)]
        room += heard[: len(room)]
    return track


def to_rttm(turns: Sequence[Turn], *, name: str, talkers: Sequence[str], sample_rate: int) -> str:
    """The turns as lines of the Rich Transcription Time Marked format."""
    spoken = [
        rttm.Turn(turn.start / sample_rate, turn.stop / sample_rate, "_".join(talkers[turn.talker].split()))
        for turn in turns
    ]
    return rttm.to_rttm(spoken, stem=name)
