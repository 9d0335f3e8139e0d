"""Speech and noise to mix: a folder, a manifest or Lhotse cuts, all read as Lhotse cuts.

A speech manifest is JSON Lines with `path` and `speaker`, and if known `gender` ("F" or "M"), `corpus`, `video` (mouth
crops of the speaker) and anything else; a noise manifest needs `path` alone. Paths are relative to the folder of the
manifest or to the one above it. Where nobody knows who speaks, `speaker` is null and `corpus` is named: such voices of
a corpus count as one speaker, so that no two of them, perhaps the same person, meet in a mixture.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.io import AudioReader
from unmingle.errors import AudioReadError, ManifestError, MissingExtraError, MissingFileError, SignalError

if TYPE_CHECKING:
    from lhotse import MonoCut

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
_GENDERS = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}
_N_PROBES = 8  # files whose headers are read at once


@dataclass(frozen=True)
class SpeechFile:
    """One file as listed, before it is opened."""

    path: Path
    speaker: str
    gender: str | None
    corpus: str | None
    video: Path | None = None  # mouth crops of the speaker, see `unmingle.data.crops`


def list_speech(path: Path | str, *, exclude_corpora: Sequence[str] = (), speakers: bool = True) -> list[SpeechFile]:
    """The files of a folder or manifest, in a fixed order.

    Args:
        path: a folder (`speaker/*.wav`, deeper folders allowed) or a manifest (`.jsonl`).
        exclude_corpora: values of `corpus` whose rows are left out.
        speakers: False for noise: nobody has to be named.

    Raises:
        MissingFileError: there is no such folder or file.
        ManifestError: it holds nothing usable, or a row lacks a key.
    """
    path = Path(path)
    if path.is_dir():
        files = [_from_tree(path, file, speakers) for file in sorted(path.rglob("*")) if is_audio(file)]
    elif path.is_file():
        files = _from_manifest(path, speakers)
    else:
        raise MissingFileError(f"there is no folder or manifest {path}")
    kept = [file for file in files if file.corpus is None or file.corpus not in exclude_corpora]
    if not kept:
        left_out = f" once the corpora {', '.join(exclude_corpora)} are left out" if files else ""
        raise ManifestError(f"{path} holds no audio{left_out}; wanted {', '.join(sorted(AUDIO_SUFFIXES))} files")
    return kept


def is_audio(path: Path) -> bool:
    """Whether a path is an audio file by its name, and not a hidden one."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _from_tree(root: Path, file: Path, speakers: bool) -> SpeechFile:
    above = file.relative_to(root).parts[:-1]
    if speakers and not above:
        raise ManifestError(f"{file} lies directly under {root}; put each speaker's files into a folder of their own")
    return SpeechFile(file.resolve(), above[0] if above else "", None, None)


def _from_manifest(path: Path, speakers: bool) -> list[SpeechFile]:
    rows = list(read_rows(path))
    if not rows:
        raise ManifestError(f"{path} is empty; wanted one JSON object per line")
    folder = row_folder(path, rows[0])
    return [_from_row(path, number, row, folder, speakers) for number, row in enumerate(rows, start=1)]


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file; empty lines are skipped.

    Raises:
        ManifestError: a line is not a JSON object; the message gives its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # texts may hold what else ends a line for splitlines
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not text in UTF-8: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ManifestError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ManifestError(f"{path}, line {number}: wanted a JSON object, got {line[:40]!r}")
        yield cast("dict[str, Any]", row)


def row_folder(manifest: Path, row: dict[str, Any]) -> Path:
    """The folder that the paths of a speech manifest are relative to, as its first row shows."""
    folder = manifest.resolve().parent
    first = row.get("path")
    above = isinstance(first, str) and not (folder / first).exists() and (folder.parent / first).exists()
    return folder.parent if above else folder


def _from_row(manifest: Path, number: int, row: dict[str, Any], folder: Path, speakers: bool) -> SpeechFile:
    corpus, video = row.get("corpus"), row.get("video")
    if speakers and corpus is not None and row.get("speaker", "") is None:
        row = {**row, "speaker": f"unknown of {corpus}"}
    wanted = ("path", "speaker") if speakers else ("path",)
    for key in wanted:
        if not isinstance(row.get(key), str):
            raise ManifestError(f"{manifest}, line {number}: wanted a text under {key!r}, got {row.get(key)!r}")
    gender = _GENDERS.get(str(row.get("gender", "")).upper())
    if not isinstance(video, str | None):
        raise ManifestError(f"{manifest}, line {number}: wanted one path under 'video', got {video!r}")
    return SpeechFile(
        folder / row["path"],
        row.get("speaker", ""),
        gender,
        None if corpus is None else str(corpus),
        None if video is None else folder / video,
    )


def list_videos(path: Path | str, *, exclude_corpora: Sequence[str] = ()) -> dict[str, Path]:
    """Mouth crops by the id that `read_cuts` gives to the utterance; only a speech manifest names any."""
    path = Path(path)
    if is_lhotse(path) or path.is_dir():
        return {}
    files = list_speech(path, exclude_corpora=exclude_corpora)
    return {_identity(file.path, _root(path)): file.video for file in files if file.video is not None}


def speaker_corpora(path: Path | str, *, exclude_corpora: Sequence[str] = ()) -> dict[str, str | None]:
    """The corpus that each speaker belongs to, as a speech manifest or Lhotse cuts say."""
    path = Path(path)
    if is_lhotse(path):
        cuts = read_cuts(path, exclude_corpora=exclude_corpora)
        return {str(cut.supervisions[0].speaker): _corpus_of(cut) for cut in cuts}
    return {file.speaker: file.corpus for file in list_speech(path, exclude_corpora=exclude_corpora)}


def _root(path: Path) -> Path:
    return path.resolve() if path.is_dir() else path.resolve().parent.parent


def read_cuts(path: Path | str, *, exclude_corpora: Sequence[str] = (), speakers: bool = True) -> list[MonoCut]:
    """Speech or noise as Lhotse cuts, each one utterance of one speaker, with `gender` in the supervision.

    Args:
        path: as for `list_speech`, or Lhotse cuts (`.jsonl`, `.jsonl.gz`); every supervision becomes one cut.
        exclude_corpora: as for `list_speech`.
        speakers: as for `list_speech`.

    Raises:
        MissingExtraError: Lhotse is not installed.
        MissingFileError, AudioReadError: a listed file is not there, or is not audio.
    """
    lhotse = import_lhotse()
    path = Path(path)
    if is_lhotse(path):
        return _from_lhotse(path, exclude_corpora, speakers)
    files = list_speech(path, exclude_corpora=exclude_corpora, speakers=speakers)
    with ThreadPoolExecutor(_N_PROBES) as pool:
        headers = list(pool.map(_probe, files))
    return [
        _cut(lhotse, file, _identity(file.path, _root(path)), header)
        for file, header in zip(files, headers, strict=True)
    ]


def import_lhotse() -> Any:
    """The Lhotse package, imported late: it takes seconds and is an extra."""
    try:
        import lhotse
    except ImportError as error:
        raise MissingExtraError("lhotse", extra="train", purpose="reading corpora") from error
    return cast(Any, lhotse)


def load_cuts(path: Path) -> list[Any]:
    """The cuts of a Lhotse file.

    Raises:
        ManifestError: it is damaged, or holds something else.
        MissingExtraError: Lhotse is not installed.
    """
    lhotse = import_lhotse()
    try:
        return list(lhotse.CutSet.from_file(path))
    except Exception as error:  # what others made can fail there in any way
        raise ManifestError(f"{path} cannot be read as Lhotse cuts ({type(error).__name__}: {error})") from error


def is_lhotse(path: Path) -> bool:
    """Whether a file holds Lhotse cuts rather than a manifest of ours."""
    if path.name.endswith(".jsonl.gz"):
        return True
    if path.suffix != ".jsonl" or not path.is_file():
        return False
    first = next(read_rows(path), {})
    return first.get("type") in {"MonoCut", "MultiCut", "MixedCut"}


def _from_lhotse(path: Path, exclude_corpora: Sequence[str], speakers: bool) -> list[MonoCut]:
    cuts = load_cuts(path)
    if speakers:
        cuts = [piece for cut in cuts for piece in cut.trim_to_supervisions(keep_overlapping=False)]
    for cut in cuts:
        if speakers and not cut.supervisions[0].speaker:
            raise ManifestError(f"{path}: cut {cut.id} names no speaker")
    kept = [cut for cut in cuts if _corpus_of(cut) not in exclude_corpora]
    if not kept:
        raise ManifestError(f"{path} holds no cuts{' with supervisions' if speakers else ''} to use")
    return kept


def _corpus_of(cut: Any) -> str | None:
    custom = (cut.supervisions[0].custom or {}) if cut.supervisions else {}
    return custom.get("corpus")


def _probe(file: SpeechFile) -> tuple[int, int]:
    with AudioReader(file.path) as reader:
        frames = reader.count()
        if not frames:
            raise AudioReadError(f"{file.path} holds no sound; remove it from the list")
        return reader.sample_rate, frames


def _identity(path: Path, root: Path) -> str:
    # Relative to the corpus, so that moving the corpus does not change what a seed draws.
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _cut(lhotse: Any, file: SpeechFile, identity: str, header: tuple[int, int]) -> MonoCut:
    rate, frames = header
    source = lhotse.AudioSource(type="file", channels=[0], source=str(file.path))
    recording = lhotse.Recording(
        id=identity, sources=[source], sampling_rate=rate, num_samples=frames, duration=frames / rate
    )
    cut = recording.to_cut()
    custom = {"corpus": file.corpus} if file.corpus else None
    cut.supervisions = [
        lhotse.SupervisionSegment(
            id=identity,
            recording_id=identity,
            start=0.0,
            duration=recording.duration,
            speaker=file.speaker,
            gender=file.gender,
            custom=custom,
        )
    ]
    return cut


@contextmanager
def libsndfile() -> Generator[None]:
    """Lhotse reads through libsndfile within; its own choice for Opus starts an ffmpeg program."""
    from lhotse.audio.backend import LibsndfileBackend, get_current_audio_backend, set_current_audio_backend

    before = get_current_audio_backend()
    set_current_audio_backend(LibsndfileBackend())
    try:
        yield
    finally:
        set_current_audio_backend(before)


def samples_at(cut: MonoCut, sample_rate: int) -> int:
    """Length of a cut at a sample rate, as `load` gives it."""
    return cast(Any, cut.resample(sample_rate)).num_samples


def load(cut: MonoCut, sample_rate: int) -> NDArray[np.float32]:
    """The samples of a cut, one-dimensional, at a sample rate. To be called within `libsndfile()`.

    Raises:
        AudioReadError: the file cannot be decoded.
        SignalError: it holds NaN or infinite samples.
    """
    try:
        resampled = cut if cut.sampling_rate == sample_rate else cut.resample(sample_rate)
        samples = cast("NDArray[np.float32]", resampled.load_audio())[0]
    except Exception as error:  # Lhotse wraps whatever its readers raise
        raise AudioReadError(f"{cut.id} cannot be decoded: {error}") from error
    if not np.isfinite(samples).all():
        raise SignalError(f"{cut.id} holds NaN or infinite samples; leave it out")
    return samples


def genders_and_speakers(cuts: Iterable[MonoCut]) -> Iterator[tuple[str, str | None]]:
    """Speaker and gender ("F", "M" or None) of each cut."""
    for cut in cuts:
        said = cut.supervisions[0] if cut.supervisions else None
        speaker = said.speaker if said and said.speaker else ""
        yield speaker, _GENDERS.get(str(said.gender).upper()) if said else None
