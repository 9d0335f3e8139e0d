"""The words of a live stream: the hello, what answers it, commands, and refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from unmingle.audio.pcm import PcmFormat
from unmingle.audio.resample import check_sample_rate
from unmingle.errors import SampleRateError, did_you_mean

WhenLate = Literal["wait", "drop"]
Command = Literal["flush", "reset"]

# Close codes of RFC 6455 and its registry.
UNSUPPORTED, BAD_DATA, POLICY, TOO_BIG, OUR_FAULT, RESTART, LATER = 1003, 1007, 1008, 1009, 1011, 1012, 1013

LONGEST_TEXT = 4_096
"""Characters of a hello or a command."""


class StreamRefusedError(Exception):
    """A stream that is not begun, or broken off: a close code and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        """Say why."""
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Hello:
    """What a client wants.

    Attributes:
        sample_rate: Hz, of what it sends and of what it gets.
        format: coding of the samples, both ways.
        n_src: how many voices it expects; None takes what the model gives.
        when_late: when sound comes faster than it is separated, `wait` (the sender is held back, nothing is lost) or
            `drop` (what waits is thrown away and told, so that the voices stay close to now).
    """

    sample_rate: int
    format: PcmFormat = "s16le"
    n_src: int | None = None
    when_late: WhenLate = "wait"


_KINDS: dict[str, type] = {"sample_rate": int, "format": str, "n_src": int, "when_late": str}
_CHOICES = {"format": get_args(PcmFormat), "when_late": get_args(WhenLate)}
_EXAMPLE = '{"sample_rate": 16000, "format": "s16le", "n_src": 2}'


def parse_hello(text: str, *, n_src: int) -> Hello:
    """Read the first message of a stream.

    Args:
        text: the message.
        n_src: speakers that the model separates.

    Raises:
        StreamRefusedError: it is no JSON object, has unknown or missing keys, or asks for what there is not.
    """
    values = _json_object(text)
    for key, value in values.items():
        if key not in _KINDS:
            raise _bad(f"the hello has an unknown key {key!r}{did_you_mean(key, _KINDS)}; it has {', '.join(_KINDS)}")
        if type(value) is not _KINDS[key]:
            raise _bad(f"{key} in the hello is {value!r}; wanted {'a number' if _KINDS[key] is int else 'a word'}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise _bad(f"{key} in the hello is {value!r}; wanted {' or '.join(_CHOICES[key])}")
    if "sample_rate" not in values:
        raise _bad(f"the hello names no sample_rate; send one such as {_EXAMPLE}")
    try:
        check_sample_rate(values["sample_rate"], name="the stream")
    except SampleRateError as error:
        raise _bad(str(error)) from error
    if values.get("n_src", n_src) != n_src:
        raise _bad(f"the model separates {n_src} speakers and {values['n_src']} were asked for; leave n_src out")
    return Hello(**values)


def parse_command(text: str) -> Command:
    """Read a text that came after the hello: `flush` or `reset`, alone or as {"type": "flush"}.

    Raises:
        StreamRefusedError: it is neither.
    """
    word: object = text.strip()
    if text.lstrip().startswith("{"):
        word = _json_object(text).get("type")
    if word not in get_args(Command):
        raise _bad(f"the text {text[:40]!r} is no command; there are flush and reset, and sound goes in binary frames")
    return cast(Command, word)


def _json_object(text: str) -> dict[str, Any]:
    if len(text) > LONGEST_TEXT:
        raise StreamRefusedError(TOO_BIG, f"the text has {len(text)} characters; at most {LONGEST_TEXT} are read")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise _bad(f"the text {text[:40]!r} is no JSON object; a stream begins with one such as {_EXAMPLE}")
    return cast("dict[str, Any]", values)


def _bad(message: str) -> StreamRefusedError:
    return StreamRefusedError(BAD_DATA, message)
