"""A video of any length to one track per face by the lips, in bounded memory.

    recording -> one channel -> network's rate -> mixture file -> LipListener, once per face -> track files
    track files -> recording's rate -> levels, gate, residual -> files of the faces

The files in between are removed in the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from unmingle._version import __version__
from unmingle.audio.framing import Samples
from unmingle.audio.levels import FLOOR_DBFS, gain_from_db
from unmingle.inference import engine
from unmingle.inference.inputs import Job
from unmingle.inference.jobs import Settings
from unmingle.inference.report import Progress, SeparationOptions, SeparationReport, Track
from unmingle.inference.routing import Routing
from unmingle.inference.source import Source
from unmingle.inference.store import TrackStore
from unmingle.inference.trackfiles import TrackFiles, track_paths
from unmingle.panel import agreement
from unmingle.panel.report import HeardFace
from unmingle.panel.speaking import turns
from unmingle.panel.watching import LipListener
from unmingle.video.tracks import FaceReport

_PIECE = 1 << 16


def separate_by_lips(
    job: Job, settings: Settings, seen: FaceReport, folder: Path, *, progress: Progress | None = None
) -> tuple[SeparationReport, list[HeardFace], list[str]]:
    """Separate a video by an audio-visual network.

    Args:
        job: the video.
        settings: the network, and how to finish the tracks.
        seen: the faces, with mouth crops.
        folder: where the tracks go, and what lies in between.
        progress: called with (seconds done, seconds of the whole recording).

    Returns:
        The report, the faces, and what is to be said about them.

    Raises:
        AudioReadError, SignalError, SampleRateError: the sound cannot be read or separated.
        ConfigError, CheckpointError: the network cannot watch.
        OutputError: the tracks cannot be written.
    """
    listener = LipListener(settings.model)
    source = Source(job.source, settings.model, beyond="belongs to no face and is left out")
    names = [face.name for face in seen.tracks]
    with ExitStack() as stack:
        mixture = stack.enter_context(TrackStore.beside(folder / "mixture.part", 1))
        source.resample(mixture)
        voices: list[TrackStore] = []
        for number, face in enumerate(seen.tracks):
            store = stack.enter_context(TrackStore.beside(folder / f"voice{number}.part", 1))
            for piece in listener.listen(face, lambda a, b: mixture.read(a, b)[0], mixture.n_samples):
                store.append(piece[np.newaxis])
                _tell(progress, number + store.n_samples / mixture.n_samples, len(names), source.seconds)
            voices.append(store)
        together = stack.enter_context(TrackStore.beside(folder / "together.part", len(names)))
        for start in range(0, mixture.n_samples, _PIECE):
            stop = min(start + _PIECE, mixture.n_samples)
            together.append(np.concatenate([voice.read(start, stop) for voice in voices]))
        report = _finish(job, settings, source, together, names, folder)
    report = replace(report, segments=turns(report.tracks[: len(names)], n_ticks=max(1, seen.n_frames)))
    faces = [HeardFace(face, agreement.talks(face), face.name, None) for face in seen.tracks]
    return report, faces, [*_about_people(settings.options, len(faces)), *_about_absences(faces)]


def _finish(
    job: Job, settings: Settings, source: Source, together: TrackStore, names: Sequence[str], folder: Path
) -> SeparationReport:
    """Bring the voices to the recording's rate and into files."""
    options, rate = settings.options, source.recording.sample_rate
    written = [*names, *(["residual"] if options.keep_residual else [])]
    paths = track_paths(folder, job.stem, written, job.format)
    heard = engine.Heard(together, settings.model.sample_rate, [None] * len(names))
    with TrackFiles.open(
        paths,
        rate,
        subtype=source.subtype,
        format=job.format,
        overwrite=True,
        frames=source.recording.n_samples,
        rescaled=options.rescaled,
    ) as files:

        def keep(piece: Samples) -> None:
            files.write(piece[: len(written)])

        # What no face says is nobody's, and not to be shared out.
        undivided = replace(options, keep_residual=True)
        measures = source.hand_out(heard, Routing.straight(len(names)), undivided, sink=keep, progress=None)
        gains = engine.level_gains(measures, options)[: len(written)]
        missed = engine.missed_loudness(measures, options, gains, names=names)
        clipping = files.close(gains)
        gains = [gain * gain_from_db(-down) for gain, down in zip(gains, files.attenuations_db, strict=True)]
        files.commit()
    return SeparationReport(
        model=settings.model.name,
        unmingle_version=__version__,
        sample_rate=rate,
        n_samples=source.recording.n_samples,
        tracks=_tracks(written, paths, measures, gains, source.seconds),
        conversions=source.conversions,
        warnings=[*source.warnings, *missed, *clipping],
        settings=asdict(options),
    )


def _tracks(
    names: Sequence[str], paths: Sequence[Path], measures: engine.Measures, gains: Sequence[float], seconds: float
) -> list[Track]:
    return [
        Track(name, round(max(FLOOR_DBFS, level + 20.0 * math.log10(gain)), 2), round(active, 2), None, path)
        for name, path, level, gain, active in zip(
            names, paths, measures.levels_dbfs, gains, [*measures.active_seconds, seconds], strict=False
        )
    ]


def _about_people(options: SeparationOptions, n_faces: int) -> list[str]:
    """What was asked for and lips do not need."""
    sentences: list[str] = []
    if options.n_speakers not in (None, "auto", n_faces):
        sentences.append(
            f"{options.n_speakers} people were said to speak, but {n_faces} faces were listened to (--faces)"
        )
    if options.enroll:
        sentences.append("enrolled voices were not used: lips tell whose voice is whose")
    if options.twice:
        sentences.append("everything was heard once: hearing it twice is for networks that only hear")
    return sentences


def _about_absences(faces: Sequence[HeardFace]) -> list[str]:
    return [
        f"{face.name} is not always seen; half a second from where it is, its track falls silent"
        for face in faces
        if not face.track.present.all()
    ]


def _tell(progress: Progress | None, done: float, total: int, seconds: float) -> None:
    if progress is not None:
        progress(done / total * seconds, seconds)
