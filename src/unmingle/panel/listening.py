"""A voice per face by ear: separate the sound as ever, then see which mouth goes with which track."""

from __future__ import annotations

import itertools
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
from unmingle.inference.inputs import Job
from unmingle.inference.report import SeparationReport, Track
from unmingle.panel import agreement, timeline
from unmingle.panel.assignment import assign
from unmingle.panel.clock import Powers, tick_powers
from unmingle.panel.report import HeardFace
from unmingle.panel.wording import about_faces
from unmingle.video.tracks import FaceReport, FaceTrack
from unmingle.voices.rttm import Turn

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
    return np.concatenate(powers) if powers else np.zeros((0, n_ticks))


def hand_out(
    report: SeparationReport, seen: FaceReport, job: Job, folder: Path
) -> tuple[SeparationReport, list[HeardFace], list[str]]:
    """Turn the tracks of voices into tracks of faces, in the folder where they lie.

    Args:
        report: a separation by ear into files.
        seen: the faces.
        job: gives the tracks their names and their format.
        folder: where they lie.

    Returns:
        The report of the new tracks, the faces, and what is to be said about them.
    """
    voices = [_aside(track) for track in report.tracks if track.name != "residual"]
    rest = [track for track in report.tracks if track.name == "residual"]
    powers = track_powers([_path(track) for track in voices], n_ticks=max(1, seen.n_frames))
    faces = match(seen.tracks, [voice.name for voice in voices], powers)
    shares = _shares([voice.name for voice in voices], faces)
    tracks = {
        track.name: track
        for voice, power in zip(voices, powers, strict=True)
        for track in _divide(voice, shares[voice.name], power, job.stem)
    }
    for face in faces:
        if face.voice is None:
            tracks[face.name] = _silence(folder / f"{job.stem}_{face.name}.{job.format}", face.name, report)
    nobodys = [name for name in tracks if name not in {face.name for face in faces}]
    ordered = [*(tracks[face.name] for face in faces), *(tracks[name] for name in nobodys), *rest]
    said = about_faces(faces, n_voices=len(voices), nobodys=nobodys)
    return replace(report, tracks=ordered, segments=_turns(report.segments, shares)), faces, said


def offscreen_names(voices: Sequence[str]) -> list[str]:
    """What voices are called that no face speaks: numbered anew, and by their names where they were enrolled."""
    numbers = itertools.count(1)
    return [f"offscreen{next(numbers)}" if _NUMBERED.fullmatch(voice) else voice for voice in voices]


_Share = tuple[str, Sequence[timeline.Stretch]]
"""The name of a track, and when it has its voice."""


def _shares(voices: Sequence[str], faces: Sequence[HeardFace]) -> dict[str, list[_Share]]:
    """Who has each voice when: its face, its faces in turn, or nobody who is seen."""
    shares: dict[str, list[_Share]] = {}
    unseen = [voice for voice in voices if all(face.voice != voice for face in faces)]
    names = dict(zip(unseen, offscreen_names(unseen), strict=True))
    for voice in voices:
        owners = [face for face in faces if face.voice == voice]
        if len(owners) > 1:
            parts = timeline.share_out([face.track for face in owners])
            shares[voice] = [(face.name, part) for face, part in zip(owners, parts, strict=True)]
            continue
        shares[voice] = [(owners[0].name if owners else names[voice], [(-np.inf, np.inf)])]
    return shares


def _turns(segments: Sequence[Turn], shares: dict[str, list[_Share]]) -> list[Turn]:
    """Who speaks when, by the names of the new tracks."""
    return [
        replace(turn, start=max(turn.start, begin), end=min(turn.end, end), track=name)
        for turn in segments
        for name, stretches in shares.get(turn.track, [])
        for begin, end in stretches
        if min(turn.end, end) > max(turn.start, begin)
    ]


def _divide(voice: Track, shares: Sequence[_Share], powers: NDArray[np.float64], stem: str) -> list[Track]:
    """The track of a voice under its new name; in parts, when several faces share it."""
    if len(shares) == 1:
        return [_renamed(voice, shares[0][0], stem)]
    tracks = [_part(voice, name, stretches, powers, stem) for name, stretches in shares]
    _path(voice).unlink()
    return tracks


def _part(
    voice: Track, name: str, stretches: Sequence[timeline.Stretch], powers: NDArray[np.float64], stem: str
) -> Track:
    """What is heard of a voice while one of its faces has it."""
    path = _named(_path(voice), name, stem)
    with (
        AudioReader(_path(voice)) as reader,
        _writer(path, reader.sample_rate, reader.info.subtype, frames=reader.info.frames) as writer,
    ):
        position = 0
        for block in reader.blocks(_BLOCK):
            gain = timeline.gain(stretches, start=position, length=block.shape[1], sample_rate=reader.sample_rate)
            writer.write(block * gain)
            position += block.shape[1]
    own = powers * timeline.owned(stretches, len(powers))
    active = own > _ACTIVE * np.percentile(powers, 95)
    return replace(
        voice,
        name=name,
        level_dbfs=round(power_dbfs(float(own.mean())), 2),
        active_seconds=round(float(active.sum()) / timeline.CLOCK_RATE, 2),
        path=path,
    )


def _silence(path: Path, name: str, report: SeparationReport) -> Track:
    """A silent track for a face without a voice, as long as the others."""
    with _writer(path, report.sample_rate, "PCM_16", frames=report.n_samples) as writer:
        for start in range(0, report.n_samples, _BLOCK):
            writer.write(np.zeros((1, min(_BLOCK, report.n_samples - start)), np.float32))
    return Track(name, FLOOR_DBFS, 0.0, None, path)


def _writer(path: Path, sample_rate: int, recorded: str, *, frames: int | None) -> AudioWriter:
    packed: TrackFormat = "flac" if path.suffix == ".flac" else "wav"
    return AudioWriter(path, sample_rate, subtype=choose_subtype(recorded), format=packed, frames=frames)


def _aside(track: Track) -> Track:
    """The track under a name that no track will have, so that its own is free for another."""
    path = _path(track).with_name(f"voice-{_path(track).name}")
    return replace(track, path=_path(track).rename(path))


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
