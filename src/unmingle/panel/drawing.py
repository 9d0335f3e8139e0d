"""Marks in a picture: a box around every face, with its number, thick and bright while it speaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unmingle.video.tracks import FaceTrack
from unmingle.video.upright import Picture

_COLOURS = ((255, 176, 0), (0, 200, 255), (120, 220, 80), (255, 110, 160), (190, 140, 255), (255, 240, 120))
_QUIET = (200, 200, 200)
_FONT = dict(  # five rows of three dots
    zip(
        "0123456789",
        (
            "111101101101111",
            "010110010010111",
            "111001111100111",
            "111001011001111",
            "101101111001001",
            "111100111001111",
            "111100111101111",
            "111001010010010",
            "111101111101111",
            "111101111001111",
        ),
        strict=True,
    )
)


def mark(picture: Picture, faces: Sequence[FaceTrack], tick: int, *, speaking: NDArray[np.bool_]) -> Picture:
    """Draw the boxes of the faces that are seen at a tick into a picture, and give it back.

    Args:
        picture: (height, width, 3), drawn into.
        faces: their boxes are in pixels of this picture.
        tick: of the faces' clock.
        speaking: (n_faces,) who speaks.
    """
    unit = max(1, min(picture.shape[:2]) // 240)
    for number, (face, speaks) in enumerate(zip(faces, speaking, strict=True), start=1):
        if face.present[tick]:
            colour = np.array(_COLOURS[(number - 1) % len(_COLOURS)] if speaks else _QUIET, np.uint8)
            left, top, width, height = (round(float(value)) for value in face.boxes[tick])
            _frame(picture, left, top, left + width, top + height, thickness=(4 if speaks else 1) * unit, colour=colour)
            _write(picture, str(number), left, top, size=4 * unit, colour=colour)
    return picture


def _frame(
    picture: Picture, left: int, top: int, right: int, bottom: int, *, thickness: int, colour: NDArray[np.uint8]
) -> None:
    for rows, columns in (
        ((top, top + thickness), (left, right)),
        ((bottom - thickness, bottom), (left, right)),
        ((top, bottom), (left, left + thickness)),
        ((top, bottom), (right - thickness, right)),
    ):
        picture[_inside(*rows), _inside(*columns)] = colour


def _write(picture: Picture, text: str, left: int, bottom: int, *, size: int, colour: NDArray[np.uint8]) -> None:
    """A number above the upper left corner of a box, in dots of `size` pixels; below it where there is no room."""
    top = bottom - 6 * size if bottom >= 6 * size else bottom + 6 * size
    for digit in text:
        for dot in (index for index, on in enumerate(_FONT[digit]) if on == "1"):
            y, x = top + dot // 3 * size, left + dot % 3 * size
            picture[_inside(y, y + size), _inside(x, x + size)] = colour
        left += 4 * size


def _inside(start: int, stop: int) -> slice:
    return slice(max(0, start), max(0, stop))
