"""Many recordings, one after the other: do the job, tell how it ended, skip what is done.

    inputs (files, folders, globs) -> plan_jobs -> Job, Job, ... -> attempt -> tracks and sidecar -> Outcome

A job writes `{stem}_spk1.wav ...`, then who speaks when, then `{stem}.separation.json`, and when all is on the disk it
gives them their names in this order (`audio/renaming.py`): where the last one is, the job is complete. Whatever goes
wrong, all files of this job are there or all that were there before it. A job that fails or is interrupted leaves
nothing behind but, in hidden files, the work of the network when that is worth a minute of sound or more; one that is
killed leaves hidden files that its next run goes on from, or removes, and what it had begun to rename is put back then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from unmingle.audio.renaming import Draft
from unmingle.errors import (
    AudioReadError,
    CheckpointError,
    ConfigError,
    MissingExtraError,
    OutputExistsError,
    UnmingleError,
)
from unmingle.inference.claim import claim
from unmingle.inference.drawing import draw
from unmingle.inference.handle import Model, list_models, load_model, require_sound_alone
from unmingle.inference.inputs import Job
from unmingle.inference.report import Progress, SeparationOptions
from unmingle.inference.sidecar import drafts_of_report, read_sidecar, report_of_whole, unfinished
from unmingle.presets import is_audio_visual


def choose_model(
    name_or_path: str | Path | None, *, n_src: int | None = None, device: str = "cpu", seeing: bool = False
) -> Model:
    """The model of that name; without one the default, or a bundled one for the number of speakers asked for.

    Where there is none for that number, voices are followed through the tracks of the model (`identity.py`).

    Args:
        name_or_path: see `load_model`.
        n_src: speakers, when their number was given.
        device: where its network shall run.
        seeing: take a model that wants to see the speakers, whose faces then say how many there are.

    Raises:
        ConfigError: it wants to see the speakers and is not shown any.
        UnknownModelError, CheckpointError: there is no such model, or its weights cannot be used.
    """
    model = load_model(name_or_path, device=device)
    if seeing and is_audio_visual(model.config):
        return model
    if name_or_path is None and n_src not in (None, model.n_src):
        fitting = [entry.name for entry in list_models() if entry.bundled and entry.n_src == n_src]
        model = load_model(fitting[0], device=device) if fitting else model
    require_sound_alone(model.config, name=model.name)
    return model


@dataclass(frozen=True)
class Settings:
    """What holds for every job of a run.

    Attributes:
        model: the model that separates.
        options: how it separates.
        overwrite: replace what is already there.
        resume: skip the jobs that are complete.
        plot: draw a picture of each separation.
        further: what else decides about the result, by name: a job done with other values is not done for `resume`.
    """

    model: Model
    options: SeparationOptions = field(default_factory=SeparationOptions)
    overwrite: bool = False
    resume: bool = False
    plot: bool = False
    further: Mapping[str, object] = field(default_factory=dict[str, object])

    def __post_init__(self) -> None:
        """Refuse a picture before the work, not after it."""
        if self.plot and find_spec("matplotlib") is None:
            raise MissingExtraError("matplotlib", extra="plot", purpose="drawing a picture")


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: the job.
        state: `done`, `skipped` (it was complete already) or `failed`.
        report: what its sidecar says; None when it failed.
        error: why it failed.
    """

    job: Job
    state: Literal["done", "skipped", "failed"]
    report: dict[str, Any] | None = None
    error: str | None = None


class Result(Protocol):
    """What a way of separating says about what it made."""

    def to_dict(self) -> dict[str, Any]:
        """What the sidecar shall say; names of files without their folder, those besides the tracks under `renders`."""
        ...


@dataclass(frozen=True)
class Made:
    """What a way of separating made.

    Attributes:
        result: what is to be said about it.
        drafts: every file, and the name that it shall get.
    """

    result: Result
    drafts: Sequence[Draft]


Separate = Callable[[Job, Settings, Progress | None], AbstractContextManager[Made]]
"""A way of separating one recording into files, which get their names in the body; in the end the others are gone.

What the next run needs to go on is kept when the body fails.
"""


@contextmanager
def by_ear(job: Job, settings: Settings, progress: Progress | None) -> Generator[Made]:
    """Separate the sound alone."""
    from unmingle.inference.identity import possible_names
    from unmingle.inference.offline import separate_to_drafts
    from unmingle.inference.trackfiles import track_paths

    if not settings.overwrite:
        names = possible_names(settings.options, n_src=settings.model.n_src)
        _refuse_existing(track_paths(job.out_dir, job.stem, names, job.format), resume=settings.resume)
    with separate_to_drafts(
        job.source,
        job.out_dir,
        settings.model,
        settings.options,
        format=job.format,
        overwrite=settings.overwrite,
        resume=settings.resume,
        progress=progress,
    ) as (report, files):
        yield Made(report, files.drafts)


def attempt(job: Job, settings: Settings, *, progress: Progress | None = None, separate: Separate = by_ear) -> Outcome:
    """Do one job, or find that it is done; its failure is an outcome, so that the next job gets its turn.

    Raises:
        CheckpointError, ConfigError: the model cannot run, which no other job would change.
    """
    try:
        if settings.resume and (report := report_of_whole(job)) is not None and _is_done(job, report, settings):
            return Outcome(job, "skipped", report)
        return Outcome(job, "done", run_job(job, settings, progress=progress, separate=separate))
    except (CheckpointError, ConfigError):
        raise
    except (UnmingleError, OSError, MemoryError) as error:
        return Outcome(job, "failed", error=str(error) or "not enough memory")


def run_job(
    job: Job, settings: Settings, *, progress: Progress | None = None, separate: Separate = by_ear
) -> dict[str, Any]:
    """Separate one recording into its tracks and the sidecar, then draw.

    Returns:
        What the sidecar says.

    Raises:
        OutputExistsError: something of this job is already there and `overwrite` was not asked for.
        UnmingleError: anything else that `separate` refuses.
    """
    from unmingle.inference.trackfiles import check_targets, folder

    _refuse_odd_name(job)
    with folder(job.out_dir), claim(unfinished(job), overwrite=settings.overwrite) as mark:
        if mark.replacing and settings.resume:
            settings = replace(settings, overwrite=True)  # as the run that was killed had been asked to
        beside = [job.sidecar, job.rttm, *([job.picture] if settings.plot else [])]
        if not settings.overwrite:
            _refuse_existing(beside, resume=settings.resume)
        check_targets(beside, overwrite=True)  # a folder of that name would cost the tracks after all the work
        before = read_sidecar(job)
        with separate(job, settings, progress) as made:
            described = _describe(job, made.result, settings.model)
            with drafts_of_report(job, described) as report:
                drafts = [*made.drafts, *report]
                if not settings.overwrite:
                    _refuse_existing([target for _, target in drafts], resume=settings.resume)
                mark.exchange(drafts, outdated=_outdated(job, before, described))
    if settings.plot:
        draw(job, described)
    return described


def _outdated(job: Job, before: dict[str, Any] | None, now: dict[str, Any]) -> list[Path]:
    """What the separation before this one wrote and this one does not replace: it would pass for its result."""
    outdated = [job.rttm] if now["rttm"] is None else []
    if before is not None:
        voices = {str(track.get("name")) for track in before["tracks"]}
        names = sorted(name for name in _names(before) - _names(now) if job.owns(name, voices=voices))
        outdated += [*(job.out_dir / name for name in names), job.picture]
    return [path for path in outdated if path.is_file()]


def _describe(job: Job, result: Result, model: Model) -> dict[str, Any]:
    said = {"name": job.source.name, "size_bytes": job.source.stat().st_size}
    values = result.to_dict()
    rttm = job.rttm.name if "segments" in values else None
    return {"input": said, **values, "weights_sha256": model.weights_digest(), "rttm": rttm, "format": job.format}


def _names(report: Mapping[str, Any]) -> set[str]:
    """The files that a sidecar names, without their folder."""
    rttm = report.get("rttm")
    return {*(track["path"] for track in report["tracks"]), *report.get("renders", []), *([rttm] if rttm else [])}


def _is_done(job: Job, report: dict[str, Any], settings: Settings) -> bool:
    """Whether the sidecar is about this recording, separated in this way, and everything it names is there.

    Raises:
        OutputExistsError: it was separated in another way.
    """
    names = _names(report)
    if not names or not all((job.out_dir / name).is_file() for name in names):
        return False
    asked = {"model": settings.model.name, "format": job.format, **asdict(settings.options), **settings.further}
    asked = json.loads(json.dumps(asked))  # as a sidecar says it
    was = {**asdict(SeparationOptions()), "model": report.get("model"), "format": report.get("format")}
    was = {**json.loads(json.dumps(was)), **report["settings"]}
    other = [
        f"{name} {was.get(name)!r} instead of {value!r}" for name, value in asked.items() if was.get(name) != value
    ]
    if job.source.is_file() and report["input"].get("size_bytes") != job.source.stat().st_size:
        other.append("another version of the recording")
    if report.get("weights_sha256", digest := settings.model.weights_digest()) != digest:
        other.append(f"other weights called {settings.model.name}")
    if other and not settings.overwrite:
        raise OutputExistsError(
            f"{job.source} was separated before with {', '.join(other)}; add --overwrite to do it again, "
            "or choose another output folder"
        )
    if not other and settings.plot and not job.picture.exists():
        draw(job, report)
    return not other


def _refuse_odd_name(job: Job) -> None:
    try:
        f"{job.source}{job.out_dir}".encode()
    except UnicodeEncodeError as error:
        raise AudioReadError(f"the name of {job.source} or of its folder is not UTF-8; rename it") from error


def _refuse_existing(paths: Sequence[Path], *, resume: bool) -> None:
    for path in paths:
        if path.exists():
            said = "but no report says that it is complete" if resume else "--resume skips what is done"
            raise OutputExistsError(
                f"{path} is already there, {said}; --overwrite replaces it, or choose another output folder"
            )
