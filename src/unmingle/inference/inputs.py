"""What to read and where to write: files, folders and globs become jobs."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unmingle.audio.formats import FACELESS
from unmingle.errors import AudioReadError, OutputExistsError
from unmingle.inference.report import TrackFormat

_PLAIN = (".aif", ".aiff", ".alac", ".au", ".caf", ".flac", ".w64", ".wav")
_PACKED = (".aac", ".ac3", ".amr", ".m4a", ".mka", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".wma")
_VIDEO = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv")
SUFFIXES = frozenset((*_PLAIN, *_PACKED, *_VIDEO))
"""Names that a folder or a glob is searched for; a file named outright may have any suffix."""

SIDECAR_SUFFIX = ".separation.json"
_TRACK = re.compile(rf"(?P<stem>.+)_(face\d+|{FACELESS})\.\w+")


@dataclass(frozen=True)
class Job:
    """One recording and where its tracks go.

    Attributes:
        source: the recording.
        out_dir: folder of the tracks and of the sidecar.
        format: suffix of the tracks without its dot, such as `wav`.
    """

    source: Path
    out_dir: Path
    format: TrackFormat = "wav"

    @property
    def stem(self) -> str:
        """What all names of this job begin with."""
        return self.source.stem

    @property
    def sidecar(self) -> Path:
        """The report whose presence means that the job is complete."""
        return self.out_dir / f"{self.stem}{SIDECAR_SUFFIX}"

    @property
    def picture(self) -> Path:
        """The picture of mixture and tracks, where one was asked for."""
        return self.out_dir / f"{self.stem}.separation.png"

    @property
    def rttm(self) -> Path:
        """Who speaks when."""
        return self.out_dir / f"{self.stem}.rttm"

    def tracks(self, n_src: int) -> list[Path]:
        """The files of the separated speakers, in order."""
        return [self.out_dir / f"{self.stem}_spk{number}.{self.format}" for number in range(1, n_src + 1)]

    def owns(self, name: str, *, voices: Collection[str] = ()) -> bool:
        """Whether a file of this name beside the sidecar can be of this job: a track in whatever format, or its RTTM.

        Args:
            name: the file's name.
            voices: names of voices that its tracks may have.
        """
        if Path(name).name != name:
            return False
        match = _TRACK.fullmatch(name)
        named = Path(name).stem in {f"{self.stem}_{voice}" for voice in voices}
        return name == self.rttm.name or named or (match is not None and match["stem"] == self.stem)

    def can_write(self, name: str, *, voices: Collection[str] = (), render: bool = False) -> bool:
        """Whether this job can come to write a file of this name beside the sidecar.

        Args:
            name: the file's name.
            voices: names of voices that its tracks may have.
            render: whether it makes videos too.
        """
        suffixes = {f".{self.format}", *([".mp4"] if render else [])}
        beside = {self.sidecar.name, self.rttm.name, self.picture.name}
        return name in beside or (Path(name).suffix in suffixes and self.owns(name, voices=voices))


def plan_jobs(
    inputs: Sequence[str | Path],
    *,
    out_dir: str | Path | None = None,
    format: TrackFormat = "wav",  # noqa: A002
    enroll: Sequence[tuple[str, str]] = (),
    render: bool = False,
) -> list[Job]:
    """Turn files, folders and globs into jobs, in a fixed order, each recording once.

    A folder is searched with its sub-folders, whose structure is kept under `out_dir`. Hidden files and the tracks of
    earlier separations are passed over. A file that is not there still becomes a job: it fails when its turn comes.

    Args:
        inputs: paths, or patterns such as `interviews/*.m4a`.
        out_dir: where results go; without it, beside each recording.
        format: suffix of the tracks without its dot.
        enroll: names of voices, which tracks can have, and their recordings, which no result may replace.
        render: videos are made too.

    Raises:
        AudioReadError: a folder or a pattern brings no recording.
        OutputExistsError: two recordings would write the same files, or one would write over an input or an enrolment.
    """
    jobs: dict[Path, Job] = {}
    for one in inputs:
        for source, folder in _expand(one):
            target = source.parent if out_dir is None else Path(out_dir) / folder
            jobs.setdefault(source.resolve(), Job(source, target, format))
    planned = list(jobs.values())
    _refuse_collisions(planned)
    _refuse_replacing(planned, enroll, render=render)
    return planned


def _expand(one: str | Path) -> Iterable[tuple[Path, Path]]:
    """Pairs of (recording, sub-folder to keep in the output)."""
    path = Path(one).expanduser()
    if path.is_dir():
        found = [(source, source.parent.relative_to(path)) for source in _recordings(path.rglob("*"), below=path)]
        if not found:
            raise AudioReadError(
                f"the folder {path} holds no recording; name one whose files end in .wav, .flac, .mp3, .m4a, .mp4 ..."
            )
        return found
    if not path.exists() and glob.has_magic(str(one)):
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute patterns)
        found = [(source, Path()) for source in _recordings(matches, below=None)]
        if not found:
            raise AudioReadError(f"no recording matches the pattern {one}; check it, or name a folder")
        return found
    return [(path, Path())]


def _recordings(paths: Iterable[Path], *, below: Path | None) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in (path.relative_to(below).parts if below else (path.name,)))
        and path.is_file()
        and not _is_own_track(path)
    )


def _is_own_track(path: Path) -> bool:
    """Whether an earlier separation wrote this file."""
    match = _TRACK.fullmatch(path.name)
    if match is not None and path.with_name(match["stem"] + SIDECAR_SUFFIX).is_file():
        return True
    parts = path.stem.split("_")
    return any(_names_track(path, "_".join(parts[:cut])) for cut in range(1, len(parts)))


def _names_track(path: Path, stem: str) -> bool:
    """Whether the sidecar of that recording, if there is one, says that this file is a track or a rendered video."""
    try:
        report = json.loads(path.with_name(stem + SIDECAR_SUFFIX).read_text(encoding="utf-8"))
        return path.name in [*(track["path"] for track in report["tracks"]), *report.get("renders", [])]
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    by_sidecar: dict[Path, Job] = {}
    for job in jobs:
        other = by_sidecar.setdefault(job.sidecar.resolve(), job)
        if other is not job:
            raise OutputExistsError(
                f"{other.source} and {job.source} would both write {job.tracks(1)[0]}; "
                "rename one, or separate them in two runs with different output folders"
            )


def _refuse_replacing(jobs: Sequence[Job], enroll: Sequence[tuple[str, str]], *, render: bool) -> None:
    """Refuse results that would take the place of what is read, by whatever path it was named."""
    read = [("input", job.source) for job in jobs] + [("enrolment", Path(path).expanduser()) for _, path in enroll]
    by_folder: dict[Path, list[Job]] = {}
    for job in jobs:
        by_folder.setdefault(job.out_dir.resolve(), []).append(job)
    voices = [name for name, _ in enroll]
    for what, source in read:
        for path in dict.fromkeys([source.parent.resolve() / source.name, source.resolve()]):
            for job in by_folder.get(path.parent, []):
                outdated = _names_track(path, job.stem)  # of an earlier separation, whose files would go
                if outdated or job.can_write(path.name, voices=voices, render=render):
                    raise OutputExistsError(
                        f"separating {job.source} would write over the {what} {source}; "
                        "choose another output folder, or rename one of them"
                    )
