"""Films of one talking face each, from the file to what training needs: a sound and the mouth crops that go with it.

    OUT/sound/ID.wav    mono, 16 kHz, 16 bits
    OUT/lips/ID.npz     mouth crops, 25 per second, from the first sample on
    OUT/lips/ID.txt     instead of both, where a film cannot be used: why

A film that has one or the other is not opened again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.io import read_audio
from unmingle.audio.resample import resample
from unmingle.data.crops import FRAME_RATE, SIDE, Crops, crops_shape, frames_of, read_crops, write_crops
from unmingle.data.files import write_text_atomically, write_wav16
from unmingle.errors import AudioReadError, FaceError, MissingFileError, ShapeError, VideoReadError
from unmingle.simulation.mixing import INT16_STEPS, on_int16_grid

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
SLACK = 2  # frames by which coded sound may outlast its picture
LEAST_SEEN = 0.5  # share of the frames in which the face must be seen
_SUFFIXES = (".npz", ".npy")


@dataclass(frozen=True)
class Film:
    """One clip of one talking face.

    Attributes:
        id: unique within the corpus; a file name.
        path: the video.
        speaker: who is seen.
        sound: the voice, where it lies in a file of its own.
    """

    id: str
    path: Path
    speaker: str
    sound: Path | None = None


@dataclass(frozen=True)
class FilmSettings:
    """How films are prepared.

    Attributes:
        out_dir: folder of `sound` and `lips`.
        crops: folder of mouth crops that are there already, `ID.npz` or `ID.npy`; the others are cut here.
        landmarks: folder of facial landmarks that are there already: `ID.npz` (key `data`) or `ID.npy` with (frames,
            68, 2) positions x, y in the picture, 25 per second, NaN where they are not known. Without them faces are
            looked for.
        seconds: only the beginning of each film is kept, shorter ones are left out; None: whole films.
    """

    out_dir: Path
    crops: Path | None = None
    landmarks: Path | None = None
    seconds: float | None = None

    def sound_of(self, film: Film) -> Path:
        """Where its sound is written."""
        return self.out_dir / "sound" / f"{film.id}.wav"

    def lips_of(self, film: Film) -> Path:
        """Where its mouth crops are written."""
        return self.out_dir / "lips" / f"{film.id}.npz"


def prepare_films(
    films: Sequence[Film],
    settings: FilmSettings,
    *,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Film]:
    """Write sound and lips of films, or find them written; gives those that can be used, in order.

    Args:
        films: what to prepare.
        settings: how.
        n_workers: processes; the files are the same for any number.
        progress: called with (films done, films in all).

    Raises:
        MissingExtraError: the packages that find faces are not installed.
        OutputError: a file cannot be written.
    """
    done: list[Film] = []
    for number, (film, usable) in enumerate(zip(films, _run(films, settings, n_workers), strict=True), start=1):
        if usable:
            done.append(film)
        if progress:
            progress(number, len(films))
    if len(done) < len(films):
        reasons = settings.out_dir / "lips"
        log.warning("%d of %d films cannot be used; %s/*.txt say why", len(films) - len(done), len(films), reasons)
    return done


def _run(films: Sequence[Film], settings: FilmSettings, n_workers: int) -> Iterator[bool]:
    work = partial(prepare_film, settings=settings)
    if n_workers <= 1:
        yield from map(work, films)
        return
    with ProcessPoolExecutor(n_workers, get_context("spawn")) as pool:
        try:
            yield from pool.map(work, films, chunksize=4)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare_film(film: Film, settings: FilmSettings) -> bool:
    """Write sound and lips of one film, unless they are written; says whether it can be used."""
    sound, lips = settings.sound_of(film), settings.lips_of(film)
    if (refused := lips.with_suffix(".txt")).is_file():
        return False
    if sound.is_file() and lips.is_file():
        return True
    try:
        samples = _voice(film, settings.seconds)
        crops = _mouths(film, settings, frames_of(len(samples), SAMPLE_RATE))
    except (AudioReadError, FaceError, MissingFileError, ShapeError, VideoReadError) as error:
        write_text_atomically(refused, f"{error}\n")
        return False
    write_crops(lips, crops)
    write_wav16(sound, on_int16_grid(samples), SAMPLE_RATE)
    return True


def _voice(film: Film, seconds: float | None) -> NDArray[np.float32]:
    audio = read_audio(film.sound or film.path)
    mono = audio.samples.mean(axis=0, dtype=np.float32)
    samples = resample(mono, from_rate=audio.sample_rate, to_rate=SAMPLE_RATE)
    if seconds is not None:
        wanted = round(seconds * SAMPLE_RATE)
        if len(samples) < wanted:
            raise AudioReadError(f"{film.path} lasts {len(samples) / SAMPLE_RATE:.2f} s, shorter than {seconds:g} s")
        samples = samples[:wanted]
    return np.clip(samples, -1, 1 - 1 / INT16_STEPS)


def _mouths(film: Film, settings: FilmSettings, n_frames: int) -> Crops:
    """The mouth crops of the first so many frames, from wherever they can be had."""
    if ready := _file_of(settings.crops, film):
        if crops_shape(ready)[0] < n_frames - SLACK:
            raise ShapeError(f"{ready} has {crops_shape(ready)[0]} frames, but the sound of {film.path} {n_frames}")
        return read_crops(ready, 0, n_frames)
    if known := _file_of(settings.landmarks, film):
        return _cut_by_landmarks(film.path, known, n_frames)
    return _find_mouths(film.path, n_frames)


def _file_of(folder: Path | None, film: Film) -> Path | None:
    if folder is None:
        return None
    return next((path for suffix in _SUFFIXES if (path := folder / f"{film.id}{suffix}").is_file()), None)


def _find_mouths(path: Path, n_frames: int) -> Crops:
    from unmingle.video.faces import find_faces

    report = find_faces(path, n_faces=1, crops=True)
    if not report.tracks or report.tracks[0].crops is None:
        raise FaceError(f"no face is found in {path}")
    track = report.tracks[0]
    return _steady(np.asarray(track.crops)[:n_frames], track.present[:n_frames], n_frames, path)


def _steady(crops: Crops, seen: NDArray[np.bool_], n_frames: int, path: Path) -> Crops:
    """Crops without holes: where the face is not seen, the nearest frame in which it is stands still."""
    places = np.flatnonzero(seen)
    if len(places) < LEAST_SEEN * n_frames:
        raise FaceError(f"the face in {path} is seen in {len(places)} of {n_frames} frames; that is too little")
    halfway = (places[:-1] + places[1:]) // 2  # up to here the earlier one of two is nearer, or as near
    nearest = np.searchsorted(halfway, np.arange(n_frames))
    return crops[places[nearest]]


def _cut_by_landmarks(path: Path, landmarks: Path, n_frames: int) -> Crops:
    from unmingle.video.frames import frames_at
    from unmingle.video.mouth import cut_mouth, mouth_squares

    points, seen = _read_landmarks(landmarks, n_frames)
    squares = mouth_squares(points)
    crops = np.zeros((n_frames, SIDE, SIDE), np.uint8)
    shown = np.zeros(n_frames, bool)
    for tick, _, picture in frames_at(path, FRAME_RATE):
        if tick >= n_frames:
            break
        crops[tick], shown[tick] = cut_mouth(picture, squares[tick]), True
    return _steady(crops, shown & seen, n_frames, path)


def _read_landmarks(path: Path, n_frames: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The points that crops are cut by, (n_frames, 25, 2), holes filled between neighbours; and which were no holes."""
    try:
        stored = np.load(path)
        points = np.asarray(stored["data"] if path.suffix == ".npz" else stored, np.float32)
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise VideoReadError(f"{path} holds no landmarks (npy, or npz with the key `data`): {error}") from error
    if points.ndim != 3 or points.shape[1:] != (68, 2) or len(points) < n_frames - SLACK:
        raise ShapeError(f"{path} holds {points.shape}; wanted ({n_frames} frames, 68 points, x and y)")
    points = points[np.arange(n_frames).clip(0, len(points) - 1)][:, [33, 36, 39, 42, 45, *range(48, 68)]]
    seen = np.array([bool(np.isfinite(frame).all()) for frame in points])
    if not seen.any():
        raise FaceError(f"{path} knows no landmarks of any frame")
    ticks = np.arange(n_frames)
    flat = points.reshape(n_frames, -1)
    filled = [np.interp(ticks, ticks[seen], column[seen]) for column in flat.T]
    return np.stack(filled, axis=1).reshape(points.shape).astype(np.float32), seen


def voice_rows(films: Iterable[Film], settings: FilmSettings) -> Iterator[dict[str, object]]:
    """Lines of a speech manifest."""
    for film in films:
        yield {
            "path": settings.sound_of(film),
            "speaker": film.speaker,
            "corpus": "films",
            "video": settings.lips_of(film),
        }
