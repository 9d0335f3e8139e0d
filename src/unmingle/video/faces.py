"""Find the faces of a video: who is seen when, and where the mouth is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unmingle.video.facefile import read_faces, write_faces
from unmingle.video.tracks import CLOCK_RATE, FaceReport, FaceTrack

__all__ = ["CLOCK_RATE", "FaceReport", "FaceTrack", "cut_mouths", "find_faces", "read_faces", "write_faces"]

Progress = Callable[[float, float | None], None]
"""Called with the seconds looked at so far and the seconds of the whole video (None: not known)."""


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
    raise NotImplementedError


def cut_mouths(path: str | Path, report: FaceReport, *, progress: Progress | None = None) -> FaceReport:
    """The report with mouth crops: for faces that came from a file, or were found without crops.

    Args:
        path: the video that the report is about.
        report: its faces.
        progress: is told how far the work is.

    Raises:
        VideoReadError: there is no picture, or it cannot be decoded.
        MissingExtraError: the packages of the `video` extra are not installed.
    """
    raise NotImplementedError
