"""Faces for voices that have none: mouth crops drawn so that they move with recorded speech, clip by clip.

    OUT/faces.jsonl         the speech manifest with `video`, written last
    OUT/lips/NAME.npy       mouth crops, 25 per second; NAME stands for seed, speaker, place and length of the voice

A clip depends on the seed, the speaker's name and the voice alone. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unmingle.audio.io import count_seconds, read_audio
from unmingle.data.articulation import movement_of
from unmingle.data.crops import FRAME_RATE, SIDE, crops_shape, write_crops
from unmingle.data.mouths import Look, draw_mouths
from unmingle.data.speech import SpeechFile, list_speech
from unmingle.data.voices import write_voices
from unmingle.errors import MissingFileError, VideoReadError

MANIFEST = "faces.jsonl"


def draw_faces(
    speech: Path | str,
    out_dir: Path | str,
    *,
    seed: int = 0,
    seconds_per_speaker: float | None = None,
    exclude_corpora: Sequence[str] = (),
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, int]:
    """Draw a talking mouth for every voice of a folder or speech manifest; every speaker has one look.

    Args:
        speech: a folder `speaker/*.wav` or a speech manifest.
        out_dir: for the crops, 230 kB per second, and the manifest; made when it is not there.
        seed: of looks and movements.
        seconds_per_speaker: voices beyond it are left out, but for a speaker's first; None: all are drawn.
        exclude_corpora: values of `corpus` whose rows are left out.
        overwrite: replace a manifest that says something else.
        progress: called with (voices done, voices in all).

    Returns:
        the manifest and its number of lines.

    Raises:
        MissingFileError, ManifestError, AudioReadError: the speech cannot be used.
        OutputExistsError: another manifest is there, and `overwrite` was not asked for.
        OutputError: a file cannot be written.
    """
    out_dir = Path(out_dir)
    files = _enough(list_speech(speech, exclude_corpora=exclude_corpora), seconds_per_speaker)
    rows: list[dict[str, object]] = []
    for number, (file, seconds) in enumerate(files):
        video = out_dir / "lips" / f"{_name(file, seconds, seed)}.npy"
        if not _is_drawn(video, seconds):
            _draw(file, video, seed)
        rows.append(
            {
                "path": file.path,
                "speaker": file.speaker,
                "gender": file.gender,
                "corpus": file.corpus,
                "seconds": seconds,
                "video": video,
            }
        )
        if progress:
            progress(number + 1, len(files))
    manifest = out_dir / MANIFEST
    write_voices(manifest, rows, overwrite=overwrite)
    return manifest, len(rows)


def _enough(files: Sequence[SpeechFile], most: float | None) -> list[tuple[SpeechFile, float]]:
    """The voices to draw, with their seconds: so many of each speaker that they stay below `most`, but at least one."""
    taken: dict[str, float] = {}
    kept: list[tuple[SpeechFile, float]] = []
    for file in files:
        seconds = round(count_seconds(file.path), 3)
        before = taken.get(file.speaker, 0.0)
        if most is None or before == 0 or before + seconds <= most:
            taken[file.speaker] = before + seconds
            kept.append((file, seconds))
    return kept


def _name(file: SpeechFile, seconds: float, seed: int) -> str:
    said = f"{seed}|{file.speaker}|{file.path.resolve()}|{seconds}"
    return hashlib.sha256(said.encode()).hexdigest()[:20]


def _is_drawn(video: Path, seconds: float) -> bool:
    try:
        n_frames, *size = crops_shape(video)
    except (MissingFileError, VideoReadError):
        return False
    return size == [SIDE, SIDE] and abs(n_frames - seconds * FRAME_RATE) <= 1


def _draw(file: SpeechFile, video: Path, seed: int) -> None:
    audio = read_audio(file.path)
    samples = audio.samples[0]
    look = Look.of(np.random.default_rng([seed, *_digest(file.speaker.encode())]))
    rng = np.random.default_rng([seed, *_digest(file.speaker.encode() + samples.tobytes())])
    write_crops(video, draw_mouths(movement_of(samples, audio.sample_rate, rng), look, rng))


def _digest(content: bytes) -> list[int]:
    return list(hashlib.sha256(content).digest()[:8])
