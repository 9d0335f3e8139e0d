"""Many recordings, one after the other: do the job, tell how it ended, skip what is done.

    inputs (files, folders, globs) -> plan_jobs -> Job, Job, ... -> attempt -> tracks, then the sidecar -> Outcome

A job writes `{stem}_spk1.wav ...` and, last and in one step, `{stem}.separation.json`: where that file is, the
job is complete. A job that fails or is interrupted leaves nothing behind.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from unmingle.errors import (
    AudioReadError,
    CheckpointError,
    ConfigError,
    MissingExtraError,
    OutputError,
    OutputExistsError,
    UnmingleError,
)
from unmingle.inference.handle import Model, list_models, load_model, require_sound_alone
from unmingle.inference.inputs import Job
from unmingle.inference.report import Progress, SeparationOptions, SeparationReport


def choose_model(name_or_path: str | Path | None, *, n_src: int | None = None, device: str = "cpu") -> Model:
    """The model of that name; without one the default, or a bundled one for the number of speakers asked for.

    Raises:
        ConfigError: it separates another number of speakers, or wants to see them.
        UnknownModelError, CheckpointError: there is no such model, or its weights cannot be used.
    """
    model = load_model(name_or_path, device=device)
    if n_src is not None and n_src != model.n_src:
        fitting = [entry.name for entry in list_models() if entry.bundled and entry.n_src == n_src]
        if name_or_path is not None or not fitting:
            advice = f"bundled for {n_src}: {', '.join(fitting)}" if fitting else f"no bundled model separates {n_src}"
            raise ConfigError(f"{model.name} separates {model.n_src} speakers, {n_src} were asked for; {advice}")
        model = load_model(fitting[0], device=device)
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
    """

    model: Model
    options: SeparationOptions = field(default_factory=SeparationOptions)
    overwrite: bool = False
    resume: bool = False
    plot: bool = False

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


def attempt(job: Job, settings: Settings, *, progress: Progress | None = None) -> Outcome:
    """Do one job, or find that it is done; its failure is an outcome, so that the next job gets its turn.

    Raises:
        CheckpointError, ConfigError: the model cannot run, which no other job would change.
    """
    try:
        if settings.resume and (report := read_sidecar(job)) is not None and _is_done(job, report, settings):
            return Outcome(job, "skipped", report)
        return Outcome(job, "done", run_job(job, settings, progress=progress))
    except (CheckpointError, ConfigError):
        raise
    except (UnmingleError, OSError, MemoryError) as error:
        return Outcome(job, "failed", error=str(error) or "not enough memory")


def run_job(job: Job, settings: Settings, *, progress: Progress | None = None) -> dict[str, Any]:
    """Separate one recording into its tracks, then write the sidecar, then draw.

    Returns:
        What the sidecar says.

    Raises:
        OutputExistsError: something of this job is already there and `overwrite` was not asked for.
        UnmingleError: anything else that `separate_to_files` refuses.
    """
    from unmingle.inference.offline import separate_to_files
    from unmingle.inference.trackfiles import folder

    _refuse_odd_name(job)
    if not settings.overwrite:
        _refuse_existing(job, settings)
    before = read_sidecar(job)
    with folder(job.out_dir):
        report = separate_to_files(
            job.source,
            job.out_dir,
            settings.model,
            settings.options,
            format=job.format,
            overwrite=settings.overwrite,
            progress=progress,
        )
        described = _describe(job, report)
        try:
            _write_sidecar(job, described)
        except BaseException:
            for track in report.tracks:
                if track.path is not None:
                    track.path.unlink(missing_ok=True)
            raise
    if before is not None:
        _remove_outdated(job, before, described)
    if settings.plot:
        draw(job, described)
    return described


def _remove_outdated(job: Job, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Remove what the separation before this one wrote and this one did not replace: it would pass for its result."""
    written = {track["path"] for track in now["tracks"]}
    for name in {track["path"] for track in before["tracks"]} - written:
        if job.owns(name):
            (job.out_dir / name).unlink(missing_ok=True)
    job.picture.unlink(missing_ok=True)


def _describe(job: Job, report: SeparationReport) -> dict[str, Any]:
    said = {"name": job.source.name, "size_bytes": job.source.stat().st_size}
    return {"input": said, **report.to_dict(), "format": job.format}


def draw(job: Job, report: dict[str, Any]) -> None:
    """Draw the mixture and the tracks of a job that is done."""
    from unmingle.inference.plot import plot_separation

    paths = [job.out_dir / track["path"] for track in report["tracks"]]
    plot_separation(job.source, paths, job.picture, captions=[_caption(track) for track in report["tracks"]])


def _caption(track: dict[str, Any]) -> str:
    name = str(track["name"]).replace("spk", "speaker ")
    confidence = "" if track["confidence"] is None else f"   confidence {track['confidence']:.2f}"
    return f"{name}   {track['level_dbfs']:.1f} dBFS   {track['active_seconds']:.1f} s of speech{confidence}"


def read_sidecar(job: Job) -> dict[str, Any] | None:
    """What the sidecar of a job says; None when there is none, or none that can be read."""
    try:
        report = json.loads(job.sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if _is_report(report) else None


def _is_report(value: Any) -> bool:
    """Whether a JSON value has what is used of a sidecar; somebody may have edited it."""
    kinds = {"input": dict, "settings": dict, "tracks": list, "conversions": list, "warnings": list}
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), kind) for key, kind in kinds.items())
        and all(isinstance(track, dict) and isinstance(track.get("path"), str) for track in value["tracks"])
    )


def _write_sidecar(job: Job, described: dict[str, Any]) -> None:
    unfinished = job.sidecar.with_name(f".{job.sidecar.name}.part")
    try:
        text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(job.sidecar)
    except OSError as error:
        raise OutputError(f"cannot write {job.sidecar}: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _is_done(job: Job, report: dict[str, Any], settings: Settings) -> bool:
    """Whether the sidecar is about this recording, separated in this way, and everything it names is there.

    Raises:
        OutputExistsError: it was separated in another way.
    """
    names = [track["path"] for track in report["tracks"]]
    if not names or not all((job.out_dir / name).is_file() for name in names):
        return False
    asked = {"model": settings.model.name, "format": job.format, **asdict(settings.options)}
    was = {"model": report.get("model"), "format": report.get("format"), **report["settings"]}
    other = [
        f"{name} {was.get(name)!r} instead of {value!r}" for name, value in asked.items() if was.get(name) != value
    ]
    if job.source.is_file() and report["input"].get("size_bytes") != job.source.stat().st_size:
        other.append("another version of the recording")
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


def _refuse_existing(job: Job, settings: Settings) -> None:
    wanted = [job.sidecar, *job.tracks(settings.model.n_src), *([job.picture] if settings.plot else [])]
    for path in wanted:
        if path.exists():
            said = "but no report says that it is complete" if settings.resume else "--resume skips what is done"
            raise OutputExistsError(
                f"{path} is already there, {said}; --overwrite replaces it, or choose another output folder"
            )
