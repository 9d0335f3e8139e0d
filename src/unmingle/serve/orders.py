"""The fields of a form -> an order: what is to be separated, and how, in the words of `unmingle separate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from starlette.exceptions import HTTPException

from unmingle.errors import ConfigError
from unmingle.inference.report import MOST_SPEAKERS, SeparationOptions, TrackFormat

Answer = Literal["zip", "json"]

RECORDING = "file"
"""The field of the recording that is to be separated."""

ENROLL = "enroll."
"""What a field with a voice is called; the name of the voice follows."""

FIELDS = (
    RECORDING,
    "n_src",
    "max_speakers",
    f"{ENROLL}NAME",
    "only",
    "format",
    "twice",
    "keep_residual",
    "gate",
    "level_dbfs",
    "loudness_lufs",
    "answer",
)
MOST_FILES = 1 + MOST_SPEAKERS
MOST_WORDS = len(FIELDS) + MOST_SPEAKERS

_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True)
class Order:
    """What a client wants to have separated, and how.

    Attributes:
        recording: its file here.
        options: how to separate; recordings of single voices are files here too.
        format: of the tracks.
        answer: tracks in a zip, or JSON with links to them.
    """

    recording: Path
    options: SeparationOptions
    format: TrackFormat
    answer: Answer

    @property
    def uploads(self) -> list[Path]:
        """Every file that came: the recordings of single voices, then the one to be separated."""
        return [*(Path(path) for _, path in self.options.enroll), self.recording]


def make_order(words: Mapping[str, str], only: Sequence[str], places: Mapping[str, Path], *, accept: str) -> Order:
    """Check the words of a form before anything of it is kept.

    Args:
        words: what the fields of one word say.
        only: voices whose tracks alone are wanted.
        places: field of a recording -> where that will be.
        accept: kinds of answer that the client takes, as the header says it.

    Raises:
        HTTPException: 422, a word makes no sense.
    """
    preferred = "json" if "application/json" in accept else "zip"
    voices = {name.removeprefix(ENROLL): str(path) for name, path in places.items() if name != RECORDING}
    return Order(
        places[RECORDING],
        _options(words, only, voices),
        cast(TrackFormat, _choice(words, "format", get_args(TrackFormat), "wav")),
        cast(Answer, _choice(words, "answer", get_args(Answer), preferred)),
    )


def _options(words: Mapping[str, str], only: Sequence[str], voices: Mapping[str, str]) -> SeparationOptions:
    try:
        return SeparationOptions(
            twice=_truth(words, "twice"),
            keep_residual=_truth(words, "keep_residual"),
            gate=_truth(words, "gate"),
            level_dbfs=_number(words, "level_dbfs", example=-26),
            loudness_lufs=_number(words, "loudness_lufs", example=-16),
            n_speakers="auto" if words.get("n_src") == "auto" else _count(words, "n_src", or_else="auto, or "),
            max_speakers=_count(words, "max_speakers") or SeparationOptions.max_speakers,
            enroll=tuple(voices.items()),
            only=tuple(only),
        )
    except ConfigError as error:
        raise HTTPException(422, str(error)) from error


def _truth(words: Mapping[str, str], name: str) -> bool:
    text = words.get(name, "false").lower()
    if text not in _TRUTHS:
        raise HTTPException(422, f"{name} is {text!r}; wanted true or false")
    return _TRUTHS[text]


def _number(words: Mapping[str, str], name: str, *, example: int) -> float | None:
    if name not in words:
        return None
    try:
        return float(words[name])
    except ValueError as error:
        raise HTTPException(422, f"{name} is {words[name]!r}; wanted a number such as {example}") from error


def _count(words: Mapping[str, str], name: str, *, or_else: str = "") -> int | None:
    if name not in words:
        return None
    text = words[name]
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MOST_SPEAKERS:
        raise HTTPException(422, f"{name} is {text!r}; wanted {or_else}a number of speakers from 1 to {MOST_SPEAKERS}")
    return int(text)


def _choice(words: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = words.get(name, default)
    if value not in allowed:
        raise HTTPException(422, f"{name} is {value!r}; wanted {' or '.join(allowed)}")
    return value
