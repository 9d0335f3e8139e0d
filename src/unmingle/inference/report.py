"""What a separation hands back: the tracks, and what there is to know about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from unmingle.audio.formats import FACELESS, TrackFormat
from unmingle.errors import ConfigError, did_you_mean
from unmingle.voices.rttm import Turn

MOST_SPEAKERS = 10
"""People in one recording, at most."""

_TRACK_NAME = re.compile(r"\w[\w-]{0,63}")
_RESERVED_NAME = re.compile(rf"face\d+|{FACELESS}")

__all__ = ["Progress", "SeparationOptions", "SeparationReport", "Track", "TrackFormat"]

Progress = Callable[[float, float | None], None]
"""Called with the seconds separated so far and the seconds of the whole recording (None: not known)."""


@dataclass(frozen=True)
class SeparationOptions:
    """How to separate; the defaults suit speech.

    Attributes:
        window_seconds: how much sound the network sees at once. Shorter recordings are one window.
        overlap_seconds: how much neighbouring windows share at least; they are compared and cross-faded there.
        twice: let the network hear every window a second time, 2 ms later and with the sign of its waveform turned, and
            average both answers: voices come out cleaner, in twice the time.
        keep_residual: give what the network leaves over as a track of its own, instead of sharing it out.
        gate: silence a track while its speaker is silent (the tracks then no longer sum to the recording).
        level_dbfs: bring the active parts of each track to this RMS level; None keeps the recording's levels.
        n_speakers: how many people speak in the whole recording; `auto` counts them, None takes it that there are as
            many as the model separates. There may be more than it separates at once, when they take turns.
        max_speakers: the most that `auto` finds.
        enroll: pairs of a name and of a recording in which this person alone speaks; names the tracks.
        only: names out of `enroll` whose tracks alone are wanted; nothing for all.
        loudness_lufs: bring each track to this loudness (ITU-R BS.1770), or as near as a true peak of -1 dB below full
            scale lets it come; None keeps the recording's levels.
    """

    window_seconds: float = 20.0
    overlap_seconds: float = 2.5
    twice: bool = False
    keep_residual: bool = False
    gate: bool = False
    level_dbfs: float | None = None
    loudness_lufs: float | None = None
    n_speakers: int | Literal["auto"] | None = None
    max_speakers: int = 8
    enroll: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        self._check_windows()
        self._check_levels()
        self._check_people()

    def _check_windows(self) -> None:
        if not 1.0 <= self.window_seconds <= 120.0:
            raise ConfigError(f"window_seconds is {self.window_seconds:g}; give between 1 and 120 seconds")
        if not 0.1 <= self.overlap_seconds <= self.window_seconds / 2:
            raise ConfigError(
                f"overlap_seconds is {self.overlap_seconds:g}; give between 0.1 and half of the window "
                f"({self.window_seconds / 2:g} seconds)"
            )

    def _check_levels(self) -> None:
        if self.level_dbfs is not None and not -60.0 <= self.level_dbfs <= 0.0:
            raise ConfigError(f"level_dbfs is {self.level_dbfs:g}; give between -60 and 0 dB below full scale")
        if self.loudness_lufs is not None and not -60.0 <= self.loudness_lufs <= -5.0:
            raise ConfigError(f"loudness_lufs is {self.loudness_lufs:g}; give between -60 and -5, such as -23 or -16")
        if self.level_dbfs is not None and self.loudness_lufs is not None:
            raise ConfigError("level_dbfs and loudness_lufs both say how loud the tracks shall be; give one of them")

    def _check_people(self) -> None:
        if self.n_speakers not in (None, "auto") and type(self.n_speakers) is not int:
            raise ConfigError(f"n_speakers is {self.n_speakers!r}; give a whole number, 'auto' to count, or None")
        pairs = cast("Sequence[Sequence[str] | str]", self.enroll)  # of callers who know no types
        if any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
            raise ConfigError(f"enroll is {self.enroll!r}; give pairs such as ('alice', 'alice.wav')")
        for name, number in (("n_speakers", self.n_speakers), ("max_speakers", self.max_speakers)):
            if isinstance(number, int) and not 1 <= number <= MOST_SPEAKERS:
                raise ConfigError(f"{name} is {number}; give between 1 and {MOST_SPEAKERS}")
        names = [name for name, _ in self.enroll]
        for name in names:
            if _TRACK_NAME.fullmatch(name) is None or _RESERVED_NAME.fullmatch(name):
                raise ConfigError(
                    f"a voice cannot be called {name!r}: the name becomes part of a file's name; use letters, digits, "
                    "`-` and `_`, but not spk1, face1, offscreen1, faces or residual"
                )
            if names.count(name) > 1:
                raise ConfigError(f"two voices are called {name}; give every voice a name of its own")
        for name in self.only:
            if name not in names:
                known = f"enrolled are {', '.join(names)}" if names else "nobody is enrolled"
                raise ConfigError(
                    f"only {name} is wanted, but {known}; enroll this voice too{did_you_mean(name, names)}"
                )

    @property
    def rescaled(self) -> bool:
        """Whether the tracks are to have other levels than in the recording."""
        return self.level_dbfs is not None or self.loudness_lufs is not None


@dataclass(frozen=True)
class Track:
    """One separated voice.

    Attributes:
        name: `spk1`, `spk2`, ..., a name out of `enroll`, or `residual`.
        level_dbfs: RMS level of the whole track, dB below full scale; -120 is silence.
        active_seconds: how long the voice is heard.
        confidence: 0..1. Of a voice that was followed through the recording: how sure its turns are on average. Of a
            track as the network gave it: how well two looks at the same sound (neighbouring windows; in a recording of
            one window, the window and its middle half) agreed about it. Neither is proof: a network can be wrong twice
            in the same way. None where there was nothing to compare.
        path: where the track was written; None when it was not.
    """

    name: str
    level_dbfs: float
    active_seconds: float
    confidence: float | None
    path: Path | None = None


@dataclass(frozen=True)
class SeparationReport:
    """Everything about a separation but the samples.

    Attributes:
        model: name of the model.
        unmingle_version: version that separated.
        sample_rate: Hz of the recording and of the tracks.
        n_samples: length of the recording and of every track.
        tracks: the speakers, then the residual when it was kept.
        conversions: what was done to the recording so that the network could take it, one sentence each.
        warnings: what may have harmed the result, one sentence each.
        settings: the options used, by name.
        segments: who speaks when, in the order of time.
        n_speakers: how many people were counted; None when that was not asked for.
        at_once: how many of them spoke together at most.
    """

    model: str
    unmingle_version: str
    sample_rate: int
    n_samples: int
    tracks: Sequence[Track]
    conversions: Sequence[str]
    warnings: Sequence[str]
    settings: Mapping[str, object]
    segments: Sequence[Turn] = ()
    n_speakers: int | None = None
    at_once: int | None = None

    @property
    def seconds(self) -> float:
        """Duration of the recording."""
        return self.n_samples / self.sample_rate

    @property
    def files(self) -> Sequence[Path]:
        """The tracks that were written."""
        return [track.path for track in self.tracks if track.path is not None]

    def to_dict(self) -> dict[str, object]:
        """The report as values that JSON can hold; a track's path is reduced to its file name."""
        values = asdict(self)
        values["seconds"] = round(self.seconds, 6)
        values["tracks"] = [
            {**asdict(track), "path": None if track.path is None else track.path.name} for track in self.tracks
        ]
        values["segments"] = [asdict(turn) for turn in self.segments]
        return values


def facts(track: Mapping[str, Any]) -> list[str]:
    """What a report says of a track, in words: level, time of speech, which a residual has none of, and confidence."""
    said = [f"{track['level_dbfs']:.1f} dBFS"]
    if track["name"] != "residual":
        said.append(f"{track['active_seconds']:.1f} s of speech")
    if track["confidence"] is not None:
        said.append(f"confidence {track['confidence']:.2f}")
    return said
