"""Find the faces of a video: who is seen when, and where the mouth is.

frames -> detector -> mesh -> tracker -> trails       first reading: boxes and landmarks are kept, no pictures
trails -> faces with names, gaps filled, mouths placed
frames -> mouth crops                                 second reading, when crops are wanted
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.video.crops import cut_crops
from unmingle.video.facefile import read_faces, write_faces
from unmingle.video.frames import Picture, VideoInfo, frames_at, probe_video
from unmingle.video.mesh import eye_distance
from unmingle.video.packages import opencv
from unmingle.video.search import Searcher
from unmingle.video.selection import select_faces
from unmingle.video.shots import Shots
from unmingle.video.tracking import Sighting, Tracker, Trail
from unmingle.video.tracks import CLOCK_RATE, FaceReport, FaceTrack

__all__ = ["CLOCK_RATE", "FaceReport", "FaceTrack", "cut_mouths", "find_faces", "read_faces", "write_faces"]

Progress = Callable[[float, float | None], None]
"""Called with the seconds looked at so far and the seconds of the whole video (None: not known)."""

_LATE = 0.5  # seconds between the ends of sound and picture that are worth a word
_THUMBNAIL = 192  # pixels of its longer side
_FIRST_VIEW = 5  # sightings before a face is pictured: most of what is no face is gone by then
_BETTER = 1.05


def find_faces(
    path: str | Path, *, n_faces: int | None = None, crops: bool = False, progress: Progress | None = None
) -> FaceReport:
    """Find everybody who is seen for a second or longer.

    The video is streamed: neither its length nor its size decides how much memory is needed.

    Args:
        path: a video.
        n_faces: how many faces are wanted. When more are seen, those seen longest are kept; a warning names what
            was left out, or that there are fewer.
        crops: also cut the mouth crops, which reads the video a second time.
        progress: is told how far the work is.

    Returns:
        The faces. None at all is no error: `tracks` is empty, and a warning says so.

    Raises:
        VideoReadError: there is no picture, or it cannot be decoded.
        MissingFileError: the path is not there.
        MissingExtraError: the packages of the `video` extra are not installed.
    """
    opencv()
    info = probe_video(path)
    watched = _watch(Path(path), info, _share(progress, 0.0, 0.7 if crops else 1.0))
    n_frames = max(round((info.sound_seconds or 0.0) * CLOCK_RATE), watched.end)
    tracks, trails, warnings = select_faces(watched.tracker.trails, n_frames, n_faces=n_faces)
    report = FaceReport(
        tracks=tracks,
        duration=n_frames / CLOCK_RATE,
        picture=info.picture,
        shots=[tick / CLOCK_RATE for tick in watched.shots.cuts],
        warnings=[*watched.notes, *_about(watched, info), *warnings],
        thumbnails=[watched.views.best(trail) for trail in trails],
    )
    return cut_mouths(path, report, progress=_share(progress, 0.7, 1.0)) if crops else report


def cut_mouths(path: str | Path, report: FaceReport, *, progress: Progress | None = None) -> FaceReport:
    """The report with mouth crops: for faces that came from a file, or were found without crops.

    Args:
        path: the video that the report is about.
        report: its faces.
        progress: is told how far the work is.

    Raises:
        FaceError: the faces are those of a video with a picture of another size.
        VideoReadError: there is no picture, or it cannot be decoded.
        MissingExtraError: the packages of the `video` extra are not installed.
    """
    return cut_crops(Path(path), report, progress or _unheard)


class _Views:
    """The best view of each trail so far: the widest pair of eyes is nearest, and looks into the camera."""

    def __init__(self) -> None:
        self._views: dict[int, tuple[float, NDArray[np.uint8]]] = {}

    def look(self, picture: Picture, trail: Trail, sighting: Sighting) -> None:
        width = float(sighting.detection.box[2])
        merit = 0.1 * width if sighting.points is None else float(eye_distance(sighting.points))
        if len(trail.ticks) >= _FIRST_VIEW and merit > _BETTER * self._views.get(id(trail), (0.0, None))[0]:
            self._views[id(trail)] = merit, _thumbnail(picture, sighting)

    def best(self, trail: Trail) -> NDArray[np.uint8]:
        return self._views[id(trail)][1]


@dataclass
class _Watched:
    """What one reading of the video brings."""

    coarse: bool = False
    start: int = 0
    end: int = 0
    tracker: Tracker = field(default_factory=Tracker)
    shots: Shots = field(default_factory=Shots)
    views: _Views = field(default_factory=_Views)
    notes: list[str] = field(default_factory=list[str])


def _watch(path: Path, info: VideoInfo, progress: Progress) -> _Watched:
    search, watched = Searcher(), _Watched()
    watched.coarse = search.coarse
    before: Picture | None = None
    sightings: list[Sighting] = []
    for tick, seconds, picture in frames_at(path, CLOCK_RATE, notes=watched.notes):
        watched.shots.look(tick, picture)
        if picture is not before:  # where the video is slower than the clock, a picture is shown several times
            sightings = search(picture)
        if before is None:
            watched.start = tick
        for trail, one in zip(watched.tracker.update(tick, sightings, watched.shots), sightings, strict=True):
            watched.views.look(picture, trail, one)
        before, watched.end = picture, tick + 1
        progress(seconds, info.seconds)
    return watched


def _about(watched: _Watched, info: VideoInfo) -> list[str]:
    """What the user should know of the video as a whole."""
    found: list[str] = []
    if watched.coarse:
        found.append(
            "ai-edge-litert is not installed, so faces were found by a coarse detector and lips were not measured; "
            "run: pip install 'unmingle[video]'"
        )
    start, end, sound = watched.start / CLOCK_RATE, watched.end / CLOCK_RATE, info.sound_seconds
    if start > _LATE:
        found.append(f"the picture begins {start:.1f} s after the sound; nobody is seen before")
    if sound is not None and sound - end > _LATE:
        found.append(f"the picture ends at {end:.1f} s, the sound at {sound:.1f} s; nobody is seen after the picture")
    if watched.shots.still:
        found.append("the picture is a still image: lips that never move cannot tell who talks")
    return found


def _thumbnail(picture: Picture, sighting: Sighting) -> NDArray[np.uint8]:
    """Head and shoulders around a face."""
    cv2 = opencv()
    x, y, width, height = sighting.detection.box.tolist()
    rows = slice(max(0, round(y - 0.6 * height)), max(1, round(y + 1.5 * height)))
    columns = slice(max(0, round(x - 0.45 * width)), max(1, round(x + 1.45 * width)))
    view = picture[rows, columns]
    scale = _THUMBNAIL / max(view.shape)
    size = (max(1, round(view.shape[1] * scale)), max(1, round(view.shape[0] * scale)))
    return np.asarray(cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _share(progress: Progress | None, start: float, end: float) -> Progress:
    """The progress of a part of the work as that of the whole."""
    if progress is None:
        return _unheard

    def report(done: float, total: float | None) -> None:
        progress((end - start) * done + start * (total or 0.0), total)

    return report


def _unheard(done: float, total: float | None) -> None:
    del done, total  # nobody asked
