"""A voice per face by ear: separate the sound as ever, then see which mouth goes with which track."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.formats import TrackFormat, choose_subtype
from unmingle.audio.io import AudioReader
from unmingle.audio.levels import FLOOR_DBFS, power_dbfs
from unmingle.audio.writing import AudioWriter
from unmingle.inference.report import SeparationReport, Track
from unmingle.panel import agreement, timeline
from unmingle.panel.assignment import assign
from unmingle.panel.clock import Powers, tick_powers
from unmingle.panel.report import HeardFace
from unmingle.panel.wording import about_faces
from unmingle.video.tracks import FaceReport, FaceTrack

CERTAINTY = 0.6
"""Log odds per unit of score; two faces in a studio would allow 0.9 (benchmarks/panel.py)."""

_BLOCK = 1 << 16
_FAINT = 10 ** (-25 / 10)  # power of a track against the loudest, below which it is nobody's voice
_NUMBERED = re.compile(r"spk\d+")
_ACTIVE = 10 ** (-30 / 10)  # power against the loud parts of the recording, above which a voice is heard


def match(faces: Sequence[FaceTrack], names: Sequence[str], powers: Powers) -> list[HeardFace]:
    """Give every face that talks its voice.

    Args:
        faces: from left to right.
        names: of the separated voices.
        powers: (n_tracks, n_ticks) of these voices.

    Returns:
        The faces in the same order.
    """
    loud = powers.mean(axis=1) > _FAINT * powers.mean(axis=1).max(initial=0.0)
    usable = np.flatnonzero(loud)
    scores = agreement.score(faces, powers)[:, usable]
    talking = [agreement.talks(face) for face in faces]
    found = assign(scores, _together(faces), talking=[talks is not False for talks in talking], certainty=CERTAINTY)
    return [
        HeardFace(face, talks, None if voice is None else names[int(usable[voice])], confidence)
        for face, talks, voice, confidence in zip(faces, talking, found.voices, found.confidence, strict=True)
    ]


def _together(faces: Sequence[FaceTrack]) -> NDArray[np.bool_]:
    """(n_faces, n_faces): who is seen with whom at any time."""
    present = np.stack([face.present for face in faces]).astype(np.int64)
    return (present @ present.T) > 0


def track_powers(paths: Sequence[Path], *, n_ticks: int) -> Powers:
    """Loudness of separated tracks that lie in files."""
    powers: list[Powers] = []
    for path in paths:
        with AudioReader(path) as reader:
            powers.append(tick_powers(reader.blocks(_BLOCK), sample_rate=reader.sample_rate, n_ticks=n_ticks))
    return np.concatenate(powers)


def hand_out(
    report: SeparationReport, seen: FaceReport, *, stem: str
) -> tuple[SeparationReport, list[HeardFace], list[str]]:
    """Turn the tracks of voices into tracks of faces, in the folder where they lie.

    Args:
        report: a separation by ear into files.
        seen: the faces.
        stem: what the names of the files begin with.

    Returns:
        The report of the new tracks, the faces, and what is to be said about them.
    """
    voices = [track for track in report.tracks if track.name != "residual"]
    rest = [track for track in report.tracks if track.name == "residual"]
    powers = track_powers([_path(track) for track in voices], n_ticks=max(1, seen.n_frames))
    faces = match(seen.tracks, [voice.name for voice in voices], powers)
    given: dict[str, Track] = {}
    nobodys: list[Track] = []
    for voice, power in zip(voices, powers, strict=True):
        owners = [face for face in faces if face.voice == voice.name]
        given |= {track.name: track for track in _of_faces(voice, owners, power, stem)}
        if not owners and _NUMBERED.fullmatch(voice.name):
            nobodys.append(_renamed(voice, f"offscreen{len(nobodys) + 1}", stem))
        elif not owners:
            nobodys.append(voice)  # it was enrolled, and has a name of its own
    for face in faces:
        if face.voice is None:
            given[face.name] = _silence(face.name, report, like=_path(voices[0]), stem=stem)
    tracks = [*(given[face.name] for face in faces), *nobodys, *rest]
    return (
        replace(report, tracks=tracks),
        faces,
        about_faces(faces, n_voices=len(voices), nobodys=[track.name for track in nobodys]),
    )


def _of_faces(voice: Track, faces: Sequence[HeardFace], powers: NDArray[np.float64], stem: str) -> list[Track]:
    """The track of a voice as that of its face; in parts, when several faces share it."""
    if len(faces) <= 1:
        return [_renamed(voice, face.name, stem) for face in faces]
    parts = timeline.share_out([face.track for face in faces])
    tracks = [_part(voice, face, stretches, powers, stem) for face, stretches in zip(faces, parts, strict=True)]
    _path(voice).unlink()
    return tracks


def _part(
    voice: Track, face: HeardFace, stretches: Sequence[timeline.Stretch], powers: NDArray[np.float64], stem: str
) -> Track:
    """What is heard of a voice while one of its faces has it."""
    path = _named(_path(voice), face.name, stem)
    with AudioReader(_path(voice)) as reader, _writer(path, reader.sample_rate, reader.info.subtype) as writer:
        position = 0
        for block in reader.blocks(_BLOCK):
            gain = timeline.gain(stretches, start=position, length=block.shape[1], sample_rate=reader.sample_rate)
            writer.write(block * gain)
            position += block.shape[1]
    own = powers * timeline.owned(stretches, len(powers))
    active = own > _ACTIVE * np.percentile(powers, 95)
    return replace(
        voice,
        name=face.name,
        level_dbfs=round(power_dbfs(float(own.mean())), 2),
        active_seconds=round(float(active.sum()) / timeline.CLOCK_RATE, 2),
        path=path,
    )


def _silence(name: str, report: SeparationReport, *, like: Path, stem: str) -> Track:
    """A silent track for a face without a voice, as long as the others."""
    path = _named(like, name, stem)
    with _writer(path, report.sample_rate, "PCM_16") as writer:
        for start in range(0, report.n_samples, _BLOCK):
            writer.write(np.zeros((1, min(_BLOCK, report.n_samples - start)), np.float32))
    return Track(name, FLOOR_DBFS, 0.0, None, path)


def _writer(path: Path, sample_rate: int, recorded: str) -> AudioWriter:
    packed: TrackFormat = "flac" if path.suffix == ".flac" else "wav"
    return AudioWriter(path, sample_rate, subtype=choose_subtype(recorded), format=packed)


def _renamed(track: Track, name: str, stem: str) -> Track:
    path = _named(_path(track), name, stem)
    _path(track).rename(path)
    return replace(track, name=name, path=path)


def _named(path: Path, name: str, stem: str) -> Path:
    return path.with_name(f"{stem}_{name}{path.suffix}")


def _path(track: Track) -> Path:
    if track.path is None:
        raise ValueError(f"{track.name} was not written")
    return track.path
