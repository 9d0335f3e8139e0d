"""Voices that somebody names: a short recording of each, and which of the voices that were found is whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.audio.io import AudioReader
from unmingle.audio.resample import check_sample_rate
from unmingle.audio.survey import plan_downmix, survey
from unmingle.errors import SignalError
from unmingle.voices.activity import TICK_SECONDS, SpeechFinder
from unmingle.voices.encoder import PARTIAL_SECONDS, Vectors, average, embed

SAME_PERSON = 0.35
"""Least likeness of an enrolled voice and one in a recording."""

SHORTEST_SECONDS = 2.0
"""Of speech, in an enrolment."""

_LONGEST_SECONDS = 120.0
_BLOCK_SECONDS = 2.0


@dataclass(frozen=True)
class Enrolled:
    """A voice with a name.

    Attributes:
        name: what its track is called.
        vector: (64,) what it sounds like.
    """

    name: str
    vector: NDArray[np.float32]


def enrol(name: str, path: str | Path) -> Enrolled:
    """Learn a voice from a recording in which nobody else speaks; its first two minutes are enough.

    Raises:
        MissingFileError, AudioReadError, SampleRateError: the recording is not there or not readable.
        SignalError: it holds no speech, too little, or samples that are not numbers.
    """
    with AudioReader(path) as reader:
        rate = int(reader.sample_rate)
        check_sample_rate(rate, name=str(path))
        blocks, length = list[Samples](), 0
        for block in reader.blocks(round(_BLOCK_SECONDS * rate)):
            blocks.append(block)
            length += block.shape[1]
            if length > _LONGEST_SECONDS * rate:
                break
    heard = survey(
        blocks, sample_rate=rate, channels=reader.channels, name=f"{path}, enrolled as {name},", silence=True
    )
    finder, downmix = SpeechFinder(rate), plan_downmix(heard)
    pieces = [downmix(block) for block in blocks]
    for piece in pieces:
        finder.push(piece)
    finder.push(np.zeros(0, np.float32), last=True)
    speech = _cut_pauses(np.concatenate(pieces), finder.found(), rate)
    seconds = len(speech) / rate
    if seconds < SHORTEST_SECONDS:
        raise SignalError(
            f"{path}, enrolled as {name}, holds {seconds:.1f} s of speech; at least {SHORTEST_SECONDS:g} s are needed "
            "to know a voice, 10 s are good: record more, of this person alone"
        )
    return Enrolled(name, average(embed(speech, sample_rate=rate, hop_seconds=PARTIAL_SECONDS / 4)))


def match(enrolled: Sequence[Enrolled], centres: Vectors) -> tuple[dict[int, str], dict[str, float]]:
    """Whose the voices are.

    Args:
        enrolled: voices with names.
        centres: (k, 64) the voices of a recording.

    Returns:
        The name of every voice that has one; and the likeness of every enrolled voice to the nearest in the recording.
    """
    if not enrolled or not len(centres):
        return {}, {one.name: 0.0 for one in enrolled}
    likeness = np.stack([one.vector for one in enrolled]) @ centres.T
    best = {one.name: float(row.max()) for one, row in zip(enrolled, likeness, strict=True)}
    names: dict[int, str] = {}
    open_rows = likeness.copy()
    while open_rows.max() >= SAME_PERSON:
        row, voice = np.unravel_index(int(np.argmax(open_rows)), open_rows.shape)
        names[int(voice)] = enrolled[int(row)].name
        open_rows[row], open_rows[:, voice] = -np.inf, -np.inf
    return names, best


def _cut_pauses(samples: Samples, speech: NDArray[np.bool_], rate: int) -> Samples:
    ticks = (np.arange(len(samples)) / (TICK_SECONDS * rate)).astype(int)
    return samples[speech[np.minimum(ticks, len(speech) - 1)]] if len(speech) else samples[:0]
