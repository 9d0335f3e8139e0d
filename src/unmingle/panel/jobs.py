"""One recording for `unmingle separate`: by its faces where it shows any, by ear where it does not.

Everything is made in a hidden folder beside the results, from which all files move to their names together, and with
the report. The work of the network stays there when that is interrupted or fails, for a run with `--resume`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from unmingle.audio.io import probe
from unmingle.audio.writing import check_target
from unmingle.errors import FaceError, MissingExtraError, MissingFileError, VideoReadError
from unmingle.inference import jobs
from unmingle.inference.inputs import Job
from unmingle.inference.jobs import Made, Outcome, Settings
from unmingle.inference.report import Progress, SeparationReport
from unmingle.inference.trackfiles import track_paths
from unmingle.panel.report import HeardFace, Method, PanelReport
from unmingle.presets import is_audio_visual
from unmingle.video.tracks import FaceReport

Render = Literal["faces", "side-by-side"]

_OTHER_LENGTH = 1.0  # seconds by which faces and video may differ; FFmpeg may estimate a duration


@dataclass(frozen=True)
class Looking:
    """What is to be done with the picture of a video.

    Attributes:
        faces: `auto` looks for faces where there is a picture, and separates by ear where there are none; `off` does
            not look; a number, or a file of faces (`unmingle faces`), insists.
        render: also make videos: `faces` one per face with its voice, `side-by-side` one in which those who speak are
            marked and heard from where they are.
    """

    faces: Literal["auto", "off"] | int | Path = "auto"
    render: Render | None = None

    @property
    def asked(self) -> dict[str, object]:
        """As it stands among the settings of a report."""
        return {"faces": str(self.faces) if isinstance(self.faces, Path) else self.faces, "render": self.render}


def attempt(job: Job, settings: Settings, looking: Looking, *, progress: Progress | None = None) -> Outcome:
    """Do one job, or find that it is done; see `inference.jobs.attempt`.

    Raises:
        CheckpointError, ConfigError: the model cannot run, which no other job would change.
    """
    if looking.faces == "off" or not (_insists(looking, settings) or _has_picture(job.source)):
        return jobs.attempt(job, settings, progress=progress)
    return jobs.attempt(
        job,
        replace(settings, further={**settings.further, **looking.asked}),
        progress=progress,
        separate=partial(separate, looking),
    )


@contextmanager
def separate(looking: Looking, job: Job, settings: Settings, progress: Progress | None) -> Generator[Made]:
    """Separate a video into one track per face; into those of the sound alone when faces are only looked for.

    The files get their names in the body.

    Raises:
        FaceError: no face, where faces were asked for.
        UnmingleError: whatever else keeps the recording from being looked at or separated.
    """
    probe(job.source)  # without sound, nobody need be looked for
    seen, notes = _look(looking, job, settings, _half(progress, 0))
    if seen is None:
        with jobs.by_ear(job, settings, progress) as made:
            yield replace(made, result=PanelReport(made.result, asked=looking.asked, notes=notes))
        return
    _check_names(seen, [name for name, _ in settings.options.enroll])
    method: Method = "lips" if is_audio_visual(settings.model.config) else "ear"
    _check_targets(job, looking, [track.name for track in seen.tracks], settings, method)
    with _staging(job) as folder, _heard(job, settings, seen, folder, _half(progress, 1)) as (sound, faces, said):
        renders = _render(looking, job, sound, faces, seen, folder)
        report = PanelReport(sound, faces, method, seen, renders=renders, asked=looking.asked, notes=[*notes, *said])
        yield Made(report, [(path, job.out_dir / path.name) for path in [*sound.files, *renders]])


def _check_names(seen: FaceReport, enrolled: Sequence[str]) -> None:
    """Refuse a face with the name of an enrolled voice: nobody who is seen may speak it, and then it keeps its name."""
    voices = {name.casefold() for name in enrolled}  # file names may ignore the case
    for face in seen.tracks:
        if face.name.casefold() in voices:
            raise FaceError(
                f"a face and a voice are both called {face.name}, and their tracks would be one file; give the face "
                "another name in the file of faces, or enroll the voice by another one"
            )


def _insists(looking: Looking, settings: Settings) -> bool:
    """Whether a video without faces is an error."""
    return looking.faces != "auto" or looking.render is not None or is_audio_visual(settings.model.config)


def _has_picture(path: Path) -> bool:
    from unmingle.video.frames import check_picture

    try:
        check_picture(path)
    except (VideoReadError, MissingFileError, OSError):
        return False
    return True


def _look(
    looking: Looking, job: Job, settings: Settings, progress: Progress | None
) -> tuple[FaceReport | None, list[str]]:
    """The faces, and what there is to say; None where the sound has to do alone."""
    try:
        seen = _find(looking, job.source, progress, crops=is_audio_visual(settings.model.config))
        if not seen.tracks:
            raise FaceError("; ".join(seen.warnings) or f"no face is seen in {job.source.name} for a second or longer")
    except (FaceError, VideoReadError, MissingExtraError) as error:
        if _insists(looking, settings):
            raise
        return None, [f"{error}; separated by ear alone, and its voices belong to nobody"]
    return seen, list(seen.warnings)


def _find(looking: Looking, source: Path, progress: Progress | None, *, crops: bool) -> FaceReport:
    from unmingle.video.faces import cut_mouths, find_faces, read_faces

    if isinstance(looking.faces, Path):
        seen = read_faces(looking.faces)
        _check_belongs(seen, source, looking.faces)
        return cut_mouths(source, seen, progress=progress) if crops else seen
    n_faces = looking.faces if isinstance(looking.faces, int) else None
    return find_faces(source, n_faces=n_faces, crops=crops, progress=progress)


def _check_belongs(seen: FaceReport, source: Path, named: Path) -> None:
    from unmingle.video.frames import probe_video

    info = probe_video(source)
    if info.picture != seen.picture or (info.seconds is not None and abs(info.seconds - seen.duration) > _OTHER_LENGTH):
        lasts = "" if info.seconds is None else f" and {info.seconds:.1f} s"
        raise FaceError(
            f"{named} holds the faces of a video of {seen.picture[0]} x {seen.picture[1]} pixels and "
            f"{seen.duration:.1f} s, but {source.name} has {info.picture[0]} x {info.picture[1]} pixels{lasts}; give "
            "the faces of this video"
        )


@contextmanager
def _heard(
    job: Job, settings: Settings, seen: FaceReport, folder: Path, progress: Progress | None
) -> Generator[tuple[SeparationReport, list[HeardFace], list[str]]]:
    """The tracks of the faces, in that folder; what the network heard is kept when the body fails."""
    if is_audio_visual(settings.model.config):
        from unmingle.panel.by_lips import separate_by_lips

        yield separate_by_lips(job, settings, seen, folder, progress=progress)
        return
    from unmingle.inference.offline import separate_to_drafts
    from unmingle.panel.listening import hand_out

    with separate_to_drafts(
        job.source,
        folder,
        settings.model,
        settings.options,
        format=job.format,
        overwrite=True,
        resume=settings.resume,
        progress=progress,
    ) as (sound, files):
        files.commit()
        yield hand_out(sound, seen, job, folder)


def _render(
    looking: Looking, job: Job, sound: SeparationReport, faces: Sequence[HeardFace], seen: FaceReport, folder: Path
) -> list[Path]:
    if looking.render is None:
        return []
    from unmingle.panel.rendering import render_faces, render_side_by_side

    if looking.render == "faces":
        return render_faces(job.source, sound.tracks[: len(faces)], folder)
    return [render_side_by_side(job.source, sound.tracks, seen, folder / f"{job.stem}_faces.mp4")]


def _check_targets(job: Job, looking: Looking, names: Sequence[str], settings: Settings, method: Method) -> None:
    """Refuse before the work what would be refused after it."""
    wanted = track_paths(job.out_dir, job.stem, names, job.format)
    if looking.render == "faces":
        wanted += [path.with_suffix(".mp4") for path in wanted]
    elif looking.render is not None:
        wanted.append(job.out_dir / f"{job.stem}_faces.mp4")
    wanted += track_paths(job.out_dir, job.stem, _names_of_nobody(settings, method), job.format)
    for path in wanted:
        if path == job.source:
            raise FaceError(f"the result {path} would replace the video itself; choose another output folder")
        check_target(path, overwrite=settings.overwrite)


def _names_of_nobody(settings: Settings, method: Method) -> list[str]:
    """All names that tracks of no face can get."""
    if method == "lips":
        return ["residual"] if settings.options.keep_residual else []
    from unmingle.inference.identity import possible_names
    from unmingle.panel.listening import offscreen_names

    return offscreen_names(possible_names(settings.options, n_src=settings.model.n_src))


@contextmanager
def _staging(job: Job) -> Generator[Path]:
    """A hidden folder for what is being made; afterwards only the journal of an interrupted separation is left."""
    folder = job.out_dir / f".{job.stem}.faces"
    folder.mkdir(exist_ok=True)
    try:
        _clear(folder, job.stem)
        yield folder
    finally:
        _clear(folder, job.stem)
        if not any(folder.iterdir()):
            folder.rmdir()


def _clear(folder: Path, stem: str) -> None:
    for path in folder.iterdir():
        if not path.name.startswith(f".{stem}."):
            path.unlink()


def _half(progress: Progress | None, done_before: int) -> Progress | None:
    """Looking is the first half of the work, hearing the second."""
    if progress is None:
        return None

    def report(done: float, total: float | None) -> None:
        progress(done / 2 if total is None else (done_before * total + done) / 2, total)

    return report
