"""The front door: whole recordings in, one track per speaker out.

    separate            arrays or tensors in memory
    separate_file       a file -> tracks in memory
    separate_to_files   a file of any length -> files, in bounded memory

All three run the same engine (`engine.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.formats import Subtype
from unmingle.audio.framing import Samples
from unmingle.audio.levels import gain_from_db
from unmingle.inference import engine
from unmingle.inference.arrays import separate
from unmingle.inference.describe import describe
from unmingle.inference.handle import Model, load_model, require_sound_alone
from unmingle.inference.identity import enrol_all, identify, possible_names
from unmingle.inference.journal import Journal, work_on
from unmingle.inference.report import Progress, SeparationOptions, SeparationReport, Track, TrackFormat
from unmingle.inference.source import Source
from unmingle.inference.store import TrackStore
from unmingle.inference.trackfiles import TrackFiles, check_targets, folder, track_paths

log = logging.getLogger(__name__)

__all__ = ["Separation", "separate", "separate_file", "separate_to_files"]


@dataclass(frozen=True)
class Separation:
    """The tracks of one recording, in memory.

    Attributes:
        estimates: (n_src, time) float32, as long as the recording; a residual, when kept, is one row more.
        sample_rate: Hz, that of the recording.
        report: levels, confidence, conversions, warnings, settings.
        stem: what the names of saved tracks begin with.
        subtype: coding of saved tracks, as fine as the recording's.
    """

    estimates: NDArray[np.float32]
    sample_rate: int
    report: SeparationReport
    stem: str
    subtype: Subtype = "PCM_16"

    @property
    def tracks(self) -> list[Track]:
        """What is known about each track, in the order of `estimates`."""
        return list(self.report.tracks)

    @property
    def conversions(self) -> list[str]:
        """What was done to the recording so that the network could take it."""
        return list(self.report.conversions)

    @property
    def warnings(self) -> list[str]:
        """What may have harmed the result."""
        return list(self.report.warnings)

    def save(self, out_dir: str | Path, *, overwrite: bool = False, format: TrackFormat = "wav") -> list[Path]:  # noqa: A002
        """Write `{stem}_spk1.wav`, ... into a folder, which is made when it is not there: all tracks or none.

        What a format cannot hold above full scale is turned down, or written in 32-bit float, and a warning is logged.

        Raises:
            OutputExistsError: a track is already there and `overwrite` was not asked for.
            OutputError: the folder cannot be written.
        """
        paths = track_paths(Path(out_dir), self.stem, [track.name for track in self.tracks], format)
        check_targets(paths, overwrite=overwrite)
        with (
            folder(Path(out_dir)),
            TrackFiles.open(
                paths,
                self.sample_rate,
                subtype=self.subtype,
                format=format,
                overwrite=overwrite,
                frames=self.estimates.shape[1],
            ) as files,
        ):
            files.write(self.estimates)
            for sentence in files.close([1.0] * len(paths)):
                log.warning("%s", sentence)
            files.commit()
        return paths


def separate_file(
    path: str | Path,
    model: Model | str | Path | None = None,
    *,
    options: SeparationOptions | None = None,
    progress: Progress | None = None,
) -> Separation:
    """Separate a recording and keep the tracks in memory; for hours of sound see `separate_to_files`.

    Args:
        path: an audio or video file.
        model: a model, its name, or the path of its weights; None is the default model.
        options: how to separate.
        progress: called with (seconds done, seconds of the whole recording).

    Raises:
        MissingFileError, AudioReadError: the recording is not there or not readable.
        SignalError, SampleRateError: its samples cannot be separated.
        UnknownModelError, CheckpointError, ConfigError: the model is not to be had, or wants a video too.
    """
    options = options or SeparationOptions()
    model = as_model(model)
    enrolled = enrol_all(options)
    source = Source(Path(path), model)
    heard = source.listen(model, options, store=TrackStore(model.n_src), progress=progress)
    plan = identify(heard, options, enrolled, tell=source.teller(progress))
    rows = plan.rows(residual=options.keep_residual)
    estimates = np.zeros((len(rows), source.recording.n_samples), np.float32)
    filled = 0

    def keep(piece: Samples) -> None:
        nonlocal filled
        estimates[:, filled : filled + piece.shape[1]] = piece[rows]
        filled += piece.shape[1]

    measures = source.hand_out(heard, plan.routing, options, sink=keep, progress=progress)
    gains = engine.level_gains(measures, options)
    estimates *= np.asarray(gains, np.float32)[rows, np.newaxis]
    report = describe(model, source, options, plan, measures, gains)
    return Separation(estimates, source.reader.sample_rate, report, source.path.stem, source.subtype)


def separate_to_files(
    path: str | Path,
    out_dir: str | Path,
    model: Model | str | Path | None = None,
    options: SeparationOptions | None = None,
    *,
    format: TrackFormat = "wav",  # noqa: A002
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> SeparationReport:
    """Separate a recording of any length in bounded memory, straight to `{stem}_spk1.wav`, ... in `out_dir`.

    Tracks appear under their names all at once, when the last sample is written. Whatever goes wrong before, an
    interruption included, leaves neither tracks nor temporary files nor new folders behind; except that a minute of
    separated sound and more is kept in hidden files (`journal.py`), from which a run with `resume` goes on.

    Args:
        path: an audio or video file.
        out_dir: folder of the tracks; made when it is not there.
        model: a model, its name, or the path of its weights; None is the default model.
        options: how to separate.
        format: `wav` (as many bits as the recording; 32-bit float where a track exceeds full scale) or `flac`.
        overwrite: replace tracks that are already there.
        resume: go on where an earlier run of the same recording, model and settings was stopped, however it was
            stopped; the tracks are those of a run that was not. Without, what it left is removed.
        progress: called with (seconds done, seconds of the whole recording).

    Raises:
        MissingFileError, AudioReadError: the recording is not there or not readable.
        SignalError, SampleRateError: its samples cannot be separated.
        OutputExistsError, OutputError: the tracks cannot be written.
        UnknownModelError, CheckpointError, ConfigError: the model is not to be had, or wants a video too.
    """
    with separate_to_drafts(
        path, out_dir, model, options, format=format, overwrite=overwrite, resume=resume, progress=progress
    ) as (report, files):
        files.commit()
    return report


@contextmanager
def separate_to_drafts(
    path: str | Path,
    out_dir: str | Path,
    model: Model | str | Path | None = None,
    options: SeparationOptions | None = None,
    *,
    format: TrackFormat = "wav",  # noqa: A002
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Generator[tuple[SeparationReport, TrackFiles]]:
    """Separate like `separate_to_files`, but leave it to the body to give the tracks their names.

    Tracks without a name are gone in the end; the network's work is kept for `resume` when the body fails.
    """
    options = options or SeparationOptions()
    model = as_model(model)
    stem = Path(path).stem
    possible = possible_names(options, n_src=model.n_src)
    check_targets(track_paths(Path(out_dir), stem, possible, format), overwrite=overwrite)
    enrolled = enrol_all(options)
    source = Source(Path(path), model)
    with (
        folder(Path(out_dir)),
        Journal.open(
            Path(out_dir),
            stem,
            n_src=model.n_src,
            sample_rate=model.sample_rate,
            about=work_on(source.path, model, options),
            resume=resume,
        ) as journal,
    ):
        heard = source.listen(model, options, store=journal.store, progress=progress, journal=journal)
        plan = identify(heard, options, enrolled, tell=source.teller(progress))
        rows = plan.rows(residual=options.keep_residual)
        paths = track_paths(Path(out_dir), stem, plan.track_names(residual=options.keep_residual), format)
        with TrackFiles.open(
            paths,
            source.reader.sample_rate,
            subtype=source.subtype,
            format=format,
            overwrite=overwrite,
            frames=source.recording.n_samples,
            rescaled=options.rescaled,
        ) as files:
            measures = source.hand_out(
                heard, plan.routing, options, sink=lambda piece: files.write(piece[rows]), progress=progress
            )
            gains = engine.level_gains(measures, options)
            clipping = files.close([gains[row] for row in rows])
            for row, attenuation in zip(rows, files.attenuations_db, strict=True):
                gains[row] *= gain_from_db(-attenuation)
            yield describe(model, source, options, plan, measures, gains, warnings=clipping, paths=paths), files


def as_model(model: Model | str | Path | None) -> Model:
    """The model that is meant, checked to be one that needs sound alone."""
    found = model if isinstance(model, Model) else load_model(model)
    require_sound_alone(found.config, name=found.name)
    return found
