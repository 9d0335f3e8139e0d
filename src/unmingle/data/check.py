"""Is a manifest fit to train on or to score with? Everything is opened, nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.io import read_mono
from unmingle.data.crops import FRAME_RATE, SIDE, crops_shape, require_length
from unmingle.data.manifest import Entry, read_manifest
from unmingle.errors import MissingFileError, ShapeError, UnmingleError, VideoReadError
from unmingle.simulation.mixing import level_db, ratio_db

EXPLAINED_DB = -40.0  # what the sources (and noise) leave of a mixture they add up to: 16-bit rounding and less
SILENT_DB = -80.0

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Problem:
    """Something wrong with one mixture. An error makes it unusable, a warning is worth a look."""

    id: str
    severity: str  # "error" or "warning"
    message: str


@dataclass(frozen=True)
class ManifestReport:
    """What `check_manifest` found.

    Attributes:
        n_mixtures: lines of the manifest.
        seconds: of audio in the mixtures that could be read.
        sample_rates: mixtures per sample rate.
        n_src: mixtures per number of sources.
        n_speakers: different names, or None when none are given.
        pairs: mixtures per pair of genders, when the manifest says.
        n_explained: mixtures that are the sum of their sources (and of the noise, when it is listed).
        problems: in the order of the manifest.
    """

    n_mixtures: int
    seconds: float
    sample_rates: dict[int, int]
    n_src: dict[int, int]
    n_speakers: int | None
    pairs: dict[str, int]
    n_explained: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """The problems that make a mixture unusable."""
        return [problem for problem in self.problems if problem.severity == "error"]


def check_manifest(
    path: Path | str, *, sample_rate: int | None = None, progress: Callable[[int, int], None] | None = None
) -> ManifestReport:
    """Open every file of a manifest and look for what training or scoring would trip over.

    Errors: a file that is missing or unreadable, another rate than the manifest says, several channels, other lengths
    than the mixture's, NaN or infinite samples, no samples; mouth crops that are missing, something else, or more
    than a frame shorter than the mixture. Warnings: a silent source, longer mouth crops, and sources that do not add up
    to the mixture although neither noise nor early targets explain it.

    Args:
        path: whatever `read_manifest` reads.
        sample_rate: for the papers' index format, which does not say.
        progress: called with (mixtures done, mixtures in all).

    Raises:
        MissingFileError, ManifestError: the manifest itself cannot be read.
    """
    entries = read_manifest(path, sample_rate=sample_rate)
    problems: list[Problem] = []
    seconds, explained = 0.0, 0
    for number, entry in enumerate(entries, start=1):
        mixture, adds_up, found = _check(entry)
        seconds += mixture / entry.sample_rate
        explained += adds_up
        problems += found
        if progress:
            progress(number, len(entries))
    return ManifestReport(
        n_mixtures=len(entries),
        seconds=round(seconds, 3),
        sample_rates=dict(Counter(entry.sample_rate for entry in entries)),
        n_src=dict(Counter(entry.n_src for entry in entries)),
        n_speakers=len({name for entry in entries for name in entry.speakers}) or None,
        pairs=dict(Counter(str(entry.extra["pair"]) for entry in entries if "pair" in entry.extra)),
        n_explained=explained,
        problems=tuple(problems),
    )


def _check(entry: Entry) -> tuple[int, bool, list[Problem]]:
    """Samples of the mixture, whether its parts add up to it, and its problems."""
    problems: list[Problem] = []
    roles = ["mixture", *(f"source {number}" for number in range(1, entry.n_src + 1))]
    paths = [entry.mixture, *entry.sources]
    if entry.noise:
        roles, paths = [*roles, "noise"], [*paths, entry.noise]
    signals: list[Samples] = []
    for role, path in zip(roles, paths, strict=True):
        signal, complaint = _read(path, entry.sample_rate)
        if complaint:
            problems.append(Problem(entry.id, "error", f"{role}: {complaint}"))
        signals.append(signal)
    n_samples = len(signals[0])
    stated = entry.extra.get("samples")
    if isinstance(stated, int) and n_samples not in (0, stated):
        problems.append(Problem(entry.id, "error", f"mixture: has {n_samples} samples, but its list says {stated}"))
    faces = [_face(path, n_samples, entry.sample_rate) for path in entry.video]
    problems += [Problem(entry.id, "error", f"video {n}: {face}") for n, face in enumerate(faces, start=1) if face]
    if problems:
        return len(signals[0]), False, problems
    problems += [Problem(entry.id, "error", complaint) for complaint in _lengths(roles, signals)]
    if problems:
        return len(signals[0]), False, problems
    adds_up, doubts = _doubts(entry, signals)
    doubts += [
        f"video {n}: {doubt}"
        for n, path in enumerate(entry.video, start=1)
        if (doubt := _longer(path, n_samples, entry.sample_rate))
    ]
    return len(signals[0]), adds_up, [Problem(entry.id, "warning", doubt) for doubt in doubts]


def _read(path: Path, sample_rate: int) -> tuple[Samples, str | None]:
    nothing = np.zeros(0, np.float32)
    try:
        samples = read_mono(path, sample_rate=sample_rate)
    except UnmingleError as error:
        return nothing, str(error)
    if not samples.size:
        return nothing, f"{path} holds no samples"
    if not np.isfinite(samples).all():
        return nothing, f"{path} holds NaN or infinite samples"
    return samples, None


def _face(path: Path, n_samples: int, sample_rate: int) -> str | None:
    """What is wrong with the mouth crops of a speaker."""
    try:
        n_frames, height, width = crops_shape(path)
        if min(height, width) < SIDE:
            return f"{path} has crops of {height} x {width} pixels, wanted {SIDE} x {SIDE}"
        if n_samples:
            require_length(n_frames, n_samples=n_samples, sample_rate=sample_rate, what=str(path))
    except (MissingFileError, VideoReadError, ShapeError) as error:
        return str(error)
    return None


def _longer(path: Path, n_samples: int, sample_rate: int) -> str | None:
    seen, heard = crops_shape(path)[0] / FRAME_RATE, n_samples / sample_rate
    if seen - heard <= 1 / FRAME_RATE:
        return None
    return f"{path} lasts {seen:.2f} s, its sound {heard:.2f} s; only the beginning is shown"


def _lengths(roles: Sequence[str], signals: Sequence[Samples]) -> Iterator[str]:
    for role, signal in zip(roles[1:], signals[1:], strict=True):
        if len(signal) != len(signals[0]):
            yield f"{role} has {len(signal)} samples, the mixture has {len(signals[0])}"


def _doubts(entry: Entry, signals: Sequence[Samples]) -> tuple[bool, list[str]]:
    mixture, parts = signals[0], np.stack(signals[1:])
    doubts = [
        f"source {number} is silent ({level_db(source):.0f} dB)"
        for number, source in enumerate(parts[: entry.n_src], start=1)
        if level_db(source) < SILENT_DB
    ]
    left = ratio_db(mixture - parts.sum(0), mixture) if level_db(mixture) > SILENT_DB else -np.inf
    adds_up = left <= EXPLAINED_DB
    if not adds_up and entry.extra.get("targets") != "early":
        what = "sources and noise" if entry.noise else "sources"
        doubts.append(f"{what} leave {left:.1f} dB of the mixture unexplained; is there noise that is not listed?")
    return adds_up, doubts
