"""From what was measured and decided to the report of a separation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from unmingle._version import __version__
from unmingle.audio.levels import FLOOR_DBFS
from unmingle.audio.survey import Survey
from unmingle.inference import engine
from unmingle.inference.handle import Model
from unmingle.inference.identity import Plan
from unmingle.inference.report import SeparationOptions, SeparationReport, Track
from unmingle.inference.source import Source
from unmingle.voices.rttm import Turn

_FAINT_DB, _FAINT_SHARE = 25.0, 0.02
_LOW_CONFIDENCE = 0.5


def describe(
    model: Model,
    source: Source,
    options: SeparationOptions,
    plan: Plan,
    measures: engine.Measures,
    gains: Sequence[float],
    *,
    warnings: Sequence[str] = (),
    paths: Sequence[Path] = (),
) -> SeparationReport:
    """The report of one recording.

    Args:
        model: what separated it.
        source: the recording, read to its end.
        options: how it was separated.
        plan: which voice got which track.
        measures: of every voice, and the residual.
        gains: what each of them was multiplied with.
        warnings: what is doubtful about the files that were written.
        paths: files of the tracks that were given out; none when they stay in memory.
    """
    recording = source.recording
    tracks = _tracks(recording, options, plan, measures, gains)
    rows = plan.rows(residual=options.keep_residual)
    given = [replace(tracks[row], path=path) for row, path in zip(rows, paths or [None] * len(rows), strict=True)]
    names = {track.name for track in given}
    return SeparationReport(
        model=model.name,
        unmingle_version=__version__,
        sample_rate=recording.sample_rate,
        n_samples=recording.n_samples,
        tracks=given,
        conversions=[*source.conversions, *plan.conversions],
        warnings=[
            *source.warnings,
            *warnings,
            *plan.warnings,
            *_doubts(measures, tracks, plan),
            *engine.missed_loudness(measures, options, gains, names=[track.name for track in tracks]),
        ],
        settings=asdict(options),
        segments=[turn for turn in plan.turns if turn.track in names],
        n_speakers=plan.counted,
        at_once=at_once(plan.turns),
    )


def at_once(turns: Sequence[Turn]) -> int:
    """How many people speak together at most."""
    changes = sorted([(turn.start, 1) for turn in turns] + [(turn.end, -1) for turn in turns])
    most = now = 0
    for _, step in changes:
        now += step
        most = max(most, now)
    return most


def _tracks(
    recording: Survey, options: SeparationOptions, plan: Plan, measures: engine.Measures, gains: Sequence[float]
) -> list[Track]:
    """Every voice, and the residual where it is kept."""
    rest = options.keep_residual
    names = [*plan.names, *(["residual"] if rest else [])]
    active_seconds = [*measures.active_seconds, *([recording.n_samples / recording.sample_rate] if rest else [])]
    confidences: list[float | None] = [*plan.confidence, *([None] if rest else [])]
    levels = [
        round(max(FLOOR_DBFS, level + 20.0 * math.log10(gain)), 2)
        for level, gain in zip(measures.levels_dbfs, gains, strict=True)
    ]
    return [
        Track(name, level, round(active, 2), None if confidence is None else round(confidence, 4))
        for name, level, active, confidence in zip(names, levels, active_seconds, confidences, strict=True)
    ]


def _doubts(measures: engine.Measures, tracks: Sequence[Track], plan: Plan) -> list[str]:
    """What the tracks themselves say against the separation."""
    loudest = max(measures.levels_dbfs[voice] for voice in range(len(plan.names)))
    longest = max(measures.active_seconds)
    doubts: list[str] = []
    for voice in plan.given:
        faint = measures.levels_dbfs[voice] < loudest - _FAINT_DB
        confidence = plan.confidence[voice]
        if faint or measures.active_seconds[voice] < _FAINT_SHARE * longest:
            doubts.append(f"{tracks[voice].name} is all but silent; there may be fewer than {len(plan.names)} voices")
        elif not plan.followed and confidence is not None and confidence < _LOW_CONFIDENCE:
            doubts.append(f"two looks at {tracks[voice].name} agree little ({confidence:.2f}); do not rely on it")
    return doubts
