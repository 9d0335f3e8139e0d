"""Which voice is on which of the network's tracks, over a whole recording: counted, followed, named.

    tracks at the network's rate -> speech? -> looks (vectors, powers) -> voices -> course -> routing, turns, names

The network only tells apart who speaks at the same time; who is who, also after a pause of minutes, and how many there
are altogether, is decided here. All of it follows from the stored tracks alone, so that a separation that was stopped
and resumed ends with the same result (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples, runs_of_true
from unmingle.errors import SignalError
from unmingle.inference.engine import Heard
from unmingle.inference.report import SeparationOptions
from unmingle.inference.routing import FADE_SECONDS, Routing
from unmingle.inference.store import TrackStore
from unmingle.voices.activity import TICK_SECONDS, SpeechFinder
from unmingle.voices.clustering import Voices, find_voices
from unmingle.voices.encoder import average
from unmingle.voices.enrolment import SAME_PERSON, Enrolled, enrol, match
from unmingle.voices.looks import TICKS, Looks, levels_db, look
from unmingle.voices.rttm import Turn
from unmingle.voices.turns import NOBODY, follow

_BLOCK_SECONDS = 10.0
_SURE = 0.1  # how much more alike than another voice (or a stranger) makes a turn as sure as 0.73
_UNSURE = 0.6  # confidence below which a turn is pointed out
_SHORT_PAUSE, _SHORT_TURN = 0.3, 0.2  # seconds: bridged, and left out
_SILENT_TRACK_DB = 9.0  # below the loudest, where a track of a straight routing counts as silent


@dataclass(frozen=True)
class Plan:
    """What is to be done with the network's tracks.

    Attributes:
        names: of the voices, in the order of the routing.
        routing: which voice gets which track.
        turns: who speaks when.
        confidence: per voice, 0..1, or None where there was nothing to compare.
        given: the voices that are asked for; all, or those of `only`.
        followed: whether voices were followed; else every track is as the network gave it.
        counted: how many people were found, None where they were not counted.
        conversions: what the numbers of voices mean for the tracks, one sentence each.
        warnings: what is doubtful, one sentence each.
    """

    names: list[str]
    routing: Routing
    turns: list[Turn]
    confidence: list[float | None]
    given: list[int]
    followed: bool
    counted: int | None = None
    conversions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def rows(self, *, residual: bool) -> list[int]:
        """Which rows of (voices, then the residual when it is kept) are given out."""
        return [*self.given, *([len(self.names)] if residual else [])]

    def track_names(self, *, residual: bool) -> list[str]:
        """The names of these rows."""
        return [*(self.names[voice] for voice in self.given), *(["residual"] if residual else [])]


def possible_names(options: SeparationOptions, *, n_src: int) -> list[str]:
    """All names that a plan can come to."""
    most = options.max_speakers if options.n_speakers == "auto" else options.n_speakers or n_src
    named = [name for name, _ in options.enroll]
    voices = list(options.only) or [*(f"spk{number}" for number in range(1, most + 1)), *named]
    return [*voices, *(["residual"] if options.keep_residual else [])]


def enrol_all(options: SeparationOptions) -> list[Enrolled]:
    """Learn the voices that the options name; to be done before any work.

    Raises:
        MissingFileError, AudioReadError, SampleRateError, SignalError: an enrolment cannot be used.
    """
    return [enrol(name, path) for name, path in options.enroll]


def identify(
    heard: Heard,
    options: SeparationOptions,
    enrolled: Sequence[Enrolled] = (),
    *,
    tell: Callable[[float], None] | None = None,
) -> Plan:
    """Decide which voice gets which track.

    Args:
        heard: the network's tracks.
        options: how many people there are, and who is wanted.
        enrolled: voices with names.
        tell: called with the share that is done, 0..1.

    Raises:
        SignalError: none of the voices that alone are wanted is in the recording.
    """
    store, sample_rate = heard.store, heard.sample_rate
    looks = look(
        store.read,
        store.n_samples,
        sample_rate=sample_rate,
        speech=_find_speech(store, sample_rate),
        vectors=bool(enrolled) or not _fits(heard, options),
        tell=tell,
    )
    voices = _count(looks, store.n_src, options)
    if len(voices) == 0 and options.n_speakers in ("auto", 1):
        plan, centres = _together(looks, store.n_src), voices.centres
    elif _is_straight(voices, heard, options):
        plan, centres = _straight(looks, heard.confidence), _centres_of_tracks(looks, store.n_src)
    else:
        plan, centres = _followed(looks, voices, sample_rate)
    if options.n_speakers == "auto":
        plan = replace(plan, counted=len(voices))
    if len(plan.names) > store.n_src:
        plan = replace(plan, conversions=(_by_turns(len(plan.names), store.n_src),))
    if isinstance(options.n_speakers, int) and len(plan.names) < options.n_speakers:
        plan = replace(plan, warnings=(_too_few(len(plan.names), options.n_speakers),))
    return _with_doubts(_named(plan, enrolled, centres, options))


def _by_turns(voices: int, n_src: int) -> str:
    return (
        f"followed {voices} voices with a model that separates {n_src}: they take turns on its tracks; where more than "
        f"{n_src} speak at once, the others are heard in the tracks of these {n_src}"
    )


def _too_few(voices: int, asked: int) -> str:
    return (
        f"{asked} people were asked for, but only {voices} voices could be told apart here; -n auto counts them, and "
        "whoever speaks for a few seconds alone is found most easily"
    )


def _find_speech(store: TrackStore, sample_rate: int) -> NDArray[np.bool_]:
    block, tick = round(_BLOCK_SECONDS * sample_rate), round(TICK_SECONDS * sample_rate)
    powers = [_powers(tracks.sum(axis=0), tick) for tracks in store.pieces(block)]
    finder = SpeechFinder(sample_rate, loud_power=float(np.percentile(np.concatenate(powers), 95)))
    for tracks in store.pieces(block):
        finder.push(tracks.sum(axis=0))
    finder.push(np.zeros(0, np.float32), last=True)
    return finder.found()


def _powers(samples: Samples, length: int) -> NDArray[np.float64]:
    """Mean squares of pieces of this length, and of the shorter one at the end."""
    starts = np.arange(0, len(samples), length)
    sums = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    return sums / np.minimum(length, len(samples) - starts)


def _count(looks: Looks, n_src: int, options: SeparationOptions) -> Voices:
    if options.n_speakers == "auto":
        return find_voices(looks, most=options.max_speakers)
    return find_voices(looks, n_speakers=options.n_speakers or n_src)


def _is_straight(voices: Voices, heard: Heard, options: SeparationOptions) -> bool:
    """Whether every track stays as the network gave it: in one window, or when no voice is heard well enough alone."""
    n_src = heard.store.n_src
    if options.n_speakers == "auto":
        return len(voices) == 0 or (len(voices) == n_src and not voices.alone)
    if options.n_speakers not in (None, n_src):
        return len(voices) < min(options.n_speakers, n_src)
    return _fits(heard, options) or len(voices) < n_src or not voices.alone


def _fits(heard: Heard, options: SeparationOptions) -> bool:
    """Whether the network itself heard all there is: everybody on a track of his own, in one window."""
    as_many = options.n_speakers in (None, heard.store.n_src)
    return as_many and heard.store.n_samples <= options.window_seconds * heard.sample_rate


def _straight(looks: Looks, confidence: list[float | None]) -> Plan:
    loud = (looks.powers >= looks.powers.max(axis=0) * 10 ** (-_SILENT_TRACK_DB / 10)) & looks.speech
    names = [f"spk{number}" for number in range(1, len(loud) + 1)]
    turns = _turns(loud, None, names)
    return Plan(names, Routing.straight(len(loud)), turns, confidence, list(range(len(loud))), followed=False)


def _together(looks: Looks, n_src: int) -> Plan:
    """One track of a recording in which no voice is found: better than several of noise."""
    return Plan(["spk1"], Routing.together(n_src), _turns(looks.speech[np.newaxis], None, ["spk1"]), [None], [0], False)


def _followed(looks: Looks, voices: Voices, sample_rate: int) -> tuple[Plan, NDArray[np.float32]]:
    course, margins = follow(looks, voices.centres)
    ticks = np.repeat(course, TICKS, axis=0)
    order = _first_heard(ticks, len(voices))
    ticks = np.where(ticks == NOBODY, NOBODY, order[ticks])
    names = [f"spk{number}" for number in range(1, len(voices) + 1)]
    speaks = np.stack([np.any(ticks == voice, axis=1) for voice in range(len(voices))]) & looks.speech
    turns = _turns(speaks, 1.0 / (1.0 + np.exp(-np.repeat(margins, TICKS) / _SURE)), names)
    confidence = [_average_confidence(turns, name) for name in names]
    routing = _routing(ticks, len(voices), sample_rate)
    plan = Plan(names, routing, turns, confidence, list(range(len(voices))), followed=True)
    return plan, voices.centres[np.argsort(order)]


def _average_confidence(turns: Sequence[Turn], name: str) -> float | None:
    mine = [(turn.confidence or 0.0, turn.end - turn.start) for turn in turns if turn.track == name]
    return sum(sure * seconds for sure, seconds in mine) / sum(seconds for _, seconds in mine) if mine else None


def _first_heard(ticks: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(k,) the new number of every voice, so that the first one to speak is the first."""
    first = [
        int(np.argmax(np.any(ticks == voice, axis=1))) if np.any(ticks == voice) else len(ticks) for voice in range(k)
    ]
    order = np.empty(k, np.int64)
    order[np.argsort(first, kind="stable")] = np.arange(k)
    return order


def _routing(ticks: NDArray[np.int64], k: int, sample_rate: int) -> Routing:
    """Every track to its person; one without goes to whoever speaks, for it holds only leakage of that voice."""
    anybody = np.max(ticks, axis=1, keepdims=True)
    targets = np.where(ticks == NOBODY, anybody, ticks)
    changes = [0, *(np.flatnonzero(np.any(targets[1:] != targets[:-1], axis=1)) + 1)]
    starts = tuple(round(tick * TICK_SECONDS * sample_rate) for tick in changes)
    return Routing(
        k, starts, tuple(tuple(map(int, targets[tick])) for tick in changes), round(FADE_SECONDS * sample_rate)
    )


def _turns(speaks: NDArray[np.bool_], sure: NDArray[np.float64] | None, names: Sequence[str]) -> list[Turn]:
    """(k, ticks) who speaks -> turns in the order of time."""
    turns: list[Turn] = []
    for name, row in zip(names, speaks, strict=True):
        spans: list[list[int]] = []
        for start, end in runs_of_true(row):
            if spans and (start - spans[-1][1]) * TICK_SECONDS <= _SHORT_PAUSE:
                spans[-1][1] = end
            else:
                spans.append([start, end])
        for start, end in spans:
            if (end - start) * TICK_SECONDS > _SHORT_TURN:
                known = None if sure is None else round(float(sure[start:end].mean()), 3)
                turns.append(Turn(round(start * TICK_SECONDS, 3), round(end * TICK_SECONDS, 3), name, known))
    return sorted(turns, key=lambda turn: (turn.start, turn.track))


def _centres_of_tracks(looks: Looks, n_src: int) -> NDArray[np.float32]:
    """(n_src, 64) what each track sounds like where it is not drowned; where it is alone, the mixture says it."""
    levels = levels_db(looks.powers)
    centres: list[NDArray[np.float32]] = []
    for track in range(n_src):
        alone = (levels[track] == 0.0)[:, np.newaxis] & ~np.any(looks.tracks[track] != 0, axis=1, keepdims=True)
        centres.append(average(np.concatenate([looks.tracks[track], looks.mixture * alone])))
    return np.stack(centres)


def _named(plan: Plan, enrolled: Sequence[Enrolled], centres: NDArray[np.float32], options: SeparationOptions) -> Plan:
    """The plan with the names of the voices that were enrolled."""
    if not enrolled:
        return plan
    found, best = match(enrolled, centres)
    renamed = {plan.names[voice]: name for voice, name in found.items()}
    names = [renamed.get(name, name) for name in plan.names]
    turns = [replace(turn, track=renamed.get(turn.track, turn.track)) for turn in plan.turns]
    missing = [one.name for one in enrolled if one.name not in renamed.values()]
    said = [
        f"{name} is not heard: the nearest voice has a likeness of {best[name]:.2f}, {SAME_PERSON:g} is needed"
        for name in missing
    ]
    given = [voice for voice, name in enumerate(names) if not options.only or name in options.only]
    if options.only and not given:
        raise SignalError(
            f"nobody who is wanted speaks here ({'; '.join(said)}); check the enrolment, or leave --only out"
        )
    return replace(plan, names=names, turns=turns, given=given, warnings=(*plan.warnings, *said))


def _with_doubts(plan: Plan) -> Plan:
    """The plan with a sentence about the turns that are not sure."""
    unsure = [turn for turn in plan.turns if turn.confidence is not None and turn.confidence < _UNSURE]
    if not unsure:
        return plan
    longest = max(unsure, key=lambda turn: turn.end - turn.start)
    seconds = sum(turn.end - turn.start for turn in unsure)
    said = (
        f"it is not sure who speaks in {len(unsure)} of {len(plan.turns)} turns ({seconds:.0f} s), the longest of them "
        f"from {longest.start:.1f} to {longest.end:.1f} s; the report has the confidence of every turn"
    )
    return replace(plan, warnings=(*plan.warnings, said))
