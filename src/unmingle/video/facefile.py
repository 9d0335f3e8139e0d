"""Faces as JSON: what `unmingle faces` writes, and `--faces FILE.json` reads.

    {"format": "unmingle-faces-1", "source": "panel.mp4", "duration": 3.0, "frame_rate": 25.0, "picture": [640, 256],
     "shots": [], "warnings": [],
     "faces": [{"name": "face1", "intervals": [[0.0, 3.0]], "interpolated_share": 0.0,
                "boxes": [[x, y, width, height], ...], "mouths": [[x, y, side, angle], ...], "mouth_opening": [...]}]}

Lists of frames hold one entry per tick from the beginning to `duration`, null where the face is absent. `mouths` and
`mouth_opening` may be left out of a file made by hand: mouths are then placed by the boxes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.formats import FACELESS
from unmingle.audio.temporary import whole
from unmingle.errors import FaceError, MissingFileError, OutputExistsError
from unmingle.video.assembly import held
from unmingle.video.detection import Floats
from unmingle.video.frames import Picture
from unmingle.video.mouth import squares_from_boxes
from unmingle.video.packages import opencv
from unmingle.video.tracks import CLOCK_RATE, FaceReport, FaceTrack

FORMAT = "unmingle-faces-1"
_NAME = re.compile(r"[\w-]{1,60}")
_TAKEN = re.compile(FACELESS, re.IGNORECASE)
_LONGEST = 100 * 3600.0  # seconds; a longer duration is a mistake


def describe_faces(report: FaceReport, source: str) -> dict[str, Any]:
    """All but the lists of frames, for JSON.

    Args:
        report: the faces.
        source: name of the video.
    """
    return {
        "format": FORMAT,
        "source": source,
        "duration": report.duration,
        "frame_rate": CLOCK_RATE,
        "picture": list(report.picture),
        "shots": report.shots,
        "warnings": report.warnings,
        "faces": [_describe(track) for track in report.tracks],
    }


def write_faces(report: FaceReport, json_path: str | Path, *, source: str = "", overwrite: bool = False) -> None:
    """Write faces without crops and thumbnails.

    Args:
        report: what `find_faces` gave.
        json_path: where to.
        source: name of the video.
        overwrite: replace a file that is there.

    Raises:
        OutputExistsError: the file is there and `overwrite` was not asked for.
        OutputError: the file cannot be written.
    """
    described = describe_faces(report, source)
    for face, track in zip(described["faces"], report.tracks, strict=True):
        face |= {
            "boxes": _listed(track.boxes, track, digits=1),
            "mouths": _listed(track.mouths, track, digits=2),
            "mouth_opening": _listed(track.mouth_opening, track, digits=4),
        }
    write_whole(Path(json_path), (json.dumps(described, ensure_ascii=False) + "\n").encode(), overwrite=overwrite)


def write_picture(picture: Picture, path: Path, *, overwrite: bool = False) -> None:
    """Write an RGB picture as PNG.

    Raises:
        OutputExistsError, OutputError: as `write_faces`.
    """
    cv2 = opencv()
    _, coded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_whole(path, coded.tobytes(), overwrite=overwrite)


def write_whole(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputExistsError: the file is there and `overwrite` was not asked for.
        OutputError: the file cannot be written.
    """
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is already there; ask for overwriting, or choose another folder")
    with whole(path) as draft:
        draft.write_bytes(content)


def read_faces(json_path: str | Path) -> FaceReport:
    """Read what `write_faces` wrote; crops and thumbnails are not in it (see `cut_mouths`).

    Raises:
        MissingFileError: the file is not there.
        FaceError: it is not a file of faces; the message names what is wrong in it.
    """
    path = Path(json_path)
    try:
        found = json.loads(path.read_bytes())
        width, height = (int(side) for side in found["picture"])
        duration = float(found["duration"])
        if not 0 < duration < _LONGEST:
            raise ValueError(f"a duration of {duration:g} s")
        n_frames = round(duration * CLOCK_RATE)
        tracks = [_track(face, number, n_frames) for number, face in enumerate(found["faces"], start=1)]
        if len({track.name for track in tracks}) < len(tracks):
            raise ValueError("two faces have the same name")
        shots, warnings = (
            [float(time) for time in found.get("shots", ())],
            [str(one) for one in found.get("warnings", ())],
        )
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is not there") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise FaceError(
            f"{path} is not a file of faces ({what}); make one with `unmingle faces VIDEO`, or see docs/video.md"
        ) from error
    return FaceReport(tracks, n_frames / CLOCK_RATE, (width, height), shots, warnings)


def _describe(track: FaceTrack) -> dict[str, Any]:
    boxes = track.boxes[track.present]
    return {
        "name": track.name,
        "intervals": [list(interval) for interval in track.intervals],
        "seconds": round(track.seconds, 3),
        "mean_box": [round(float(value), 1) for value in boxes.mean(axis=0)],
        "interpolated_share": round(track.interpolated_share, 4),
    }


def _listed(values: Floats, track: FaceTrack, *, digits: int) -> list[Any]:
    known = track.present & np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    rounded = np.round(values.astype(np.float64), digits).tolist()
    return [value if there else None for value, there in zip(rounded, known, strict=True)]


def _track(face: Mapping[str, Any], number: int, n_frames: int) -> FaceTrack:
    name = str(face.get("name", f"face{number}"))
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a face; use letters, digits, - and _")
    if _TAKEN.fullmatch(name):
        raise ValueError(f"a face is called {name!r}, which is what tracks of no face are called; give it another name")
    present = _presence(face["intervals"], n_frames, name)
    boxes = _frames(face["boxes"], present, f"boxes of {name}")
    if not (boxes[:, 2:] > 0).all():
        raise ValueError(f"boxes of {name}: width and height must be above 0")
    mouths, opening = squares_from_boxes(boxes), np.full(n_frames, np.nan, np.float32)
    if "mouths" in face:
        mouths = _frames(face["mouths"], present, f"mouths of {name}")
    if "mouth_opening" in face:
        opening[present] = _array(face["mouth_opening"], (n_frames,), f"mouth_opening of {name}")[present]
    share = float(face.get("interpolated_share", 0.0))
    return FaceTrack(name, present, boxes, opening, mouths, interpolated_share=share)


def _presence(intervals: Sequence[Sequence[float]], n_frames: int, name: str) -> NDArray[np.bool_]:
    present = np.zeros(n_frames, np.bool_)
    for start, end in intervals:
        first, last = round(start * CLOCK_RATE), round(end * CLOCK_RATE)
        if not 0 <= first < last <= n_frames:
            raise ValueError(f"{name} is seen from {start:g} to {end:g} s of {n_frames / CLOCK_RATE:g} s")
        present[first:last] = True
    if not present.any():
        raise ValueError(f"{name} is never seen")
    return present


def _frames(values: Sequence[Any], present: NDArray[np.bool_], what: str) -> Floats:
    """Four numbers for every frame in which the face is seen, held where it is not."""
    array = _array(values, (len(present), 4), what)
    if not np.isfinite(array[present]).all():
        raise ValueError(f"{what}: a frame in which it is seen has none")
    return held(array, present)


def _array(values: Sequence[Any], shape: tuple[int, ...], what: str) -> Floats:
    """Lists of numbers, or null for an entry, as an array of exactly that shape."""
    nothing = [float("nan")] * shape[1] if len(shape) > 1 else float("nan")
    array = np.array([nothing if value is None else value for value in values], np.float32)
    if array.shape != shape:
        raise ValueError(f"{what}: shape {array.shape}, wanted {shape}")
    return array
