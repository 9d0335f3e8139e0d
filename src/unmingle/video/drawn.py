"""Drawn talking faces: flat cartoons whose mouth follows a signal, good enough for face detectors and landmarks.

They show and teach what real faces cannot: what is drawn is known exactly, and nobody has to be filmed. Lengths are in
parts of the face's size s, its height from chin to crown:

    head 0.76 x 1, eyes at (+-0.16, -0.10), nose down to 0.10, mouth 0.26 wide at 0.24 below the centre
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unmingle.video.frames import Picture
from unmingle.video.packages import opencv

MOUTH_BELOW = 0.24
"""Distance of the mouth's centre below that of the face, in parts of its size."""

_SKINS = ((236, 202, 176), (224, 182, 148), (198, 150, 114), (160, 112, 82), (118, 80, 58), (248, 218, 196))
_HAIRS = ((40, 28, 22), (92, 60, 36), (160, 120, 70), (24, 24, 28), (130, 130, 134), (110, 50, 30))
_ROOMS = ((96, 112, 128), (140, 150, 140), (60, 70, 90), (170, 160, 150), (90, 80, 100), (200, 204, 210))
_FINENESS = 4  # binary digits of a pixel that shapes are placed by


@dataclass(frozen=True)
class Look:
    """What one drawn person looks like; colours are RGB."""

    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    room: tuple[int, int, int]
    lips: tuple[int, int, int]
    brow: float
    width: float

    @classmethod
    def of(cls, seed: int) -> Look:
        """The look that belongs to a seed."""
        random = np.random.default_rng(seed)
        skin, hair, room = (choices[random.integers(len(choices))] for choices in (_SKINS, _HAIRS, _ROOMS))
        red, green, blue = skin
        lips = (min(255, int(red * 0.85)), int(green * random.uniform(0.4, 0.6)), int(blue * 0.6))
        return cls(skin, hair, room, lips, random.uniform(-0.02, 0.02), random.uniform(0.36, 0.40))


def head_sway(n_frames: int, *, seed: int, amount: float = 0.03, rate: float = 25.0) -> NDArray[np.float64]:
    """A head that never keeps quite still: (n_frames, 2) offsets x, y in parts of the face's size.

    Args:
        n_frames: how many.
        seed: of the movement.
        amount: the furthest that it goes either way.
        rate: frames per second.
    """
    random = np.random.default_rng(seed + 1_000_003)
    periods, phases = random.uniform(2.0, 6.0, (2, 2, 1)), random.uniform(0, 2 * np.pi, (2, 2, 1))
    waves = np.sin(2 * np.pi * np.arange(n_frames) / rate / periods + phases)  # (wave, axis, frame)
    return amount * waves.mean(axis=0).T


def draw_face(picture: Picture, opening: float, look: Look, *, centre: Sequence[float], face: float) -> None:
    """Draw one face into a picture.

    Args:
        picture: (height, width, 3), drawn into.
        opening: of the mouth, 0 (closed) to 1.
        look: of the person.
        centre: x, y of the face's centre, pixels.
        face: its size, pixels from chin to crown.
    """
    cv2 = opencv()

    def shape(x: float, y: float, width: float, height: float, colour: Sequence[int], *, arc: float = 360) -> None:
        at = [round((middle + offset * face) * (1 << _FINENESS)) for middle, offset in zip(centre, (x, y), strict=True)]
        axes = [max(1, round(half * face * (1 << _FINENESS))) for half in (width, height)]
        thickness = -1 if arc == 360 else max(1, round(0.02 * face))
        cv2.ellipse(picture, at, axes, 0, 180, 180 + arc, tuple(colour), thickness, cv2.LINE_AA, _FINENESS)

    shade = [int(0.72 * level) for level in look.skin]
    shape(0, 0.95, 0.60, 0.42, [int(0.6 * level) for level in look.room])  # shoulders
    shape(0, 0.50, 0.15, 0.22, shade)  # neck
    shape(0, -0.06, look.width + 0.05, 0.53, look.hair)
    shape(0, 0, look.width, 0.50, look.skin)
    shape(0, -0.36, look.width * 0.82, 0.17, look.hair)
    for side in (-1, 1):
        shape(0.16 * side, -0.10, 0.070, 0.036, (250, 250, 250))
        shape(0.16 * side, -0.10, 0.030, 0.030, (40, 30, 25))
        shape(0.16 * side, -0.17 + look.brow, 0.085, 0.035, look.hair, arc=180)
    shape(0, 0.085, 0.050, 0.022, shade)
    shape(0, 0.0, 0.012, 0.08, shade)
    shape(0, MOUTH_BELOW, 0.13, 0.036 + 0.05 * opening, look.lips)
    shape(0, MOUTH_BELOW, 0.095, 0.006 + 0.05 * opening, (45, 15, 15))


def draw_talking_face(
    opening: NDArray[np.floating],
    *,
    seed: int,
    size: tuple[int, int] = (256, 320),
    face: float = 150.0,
    centres: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """Draw a person who talks.

    Args:
        opening: (n,) of the mouth, one per frame, 0 (closed) to 1; such as the smoothed level of a voice.
        seed: which person, and how they sway.
        size: (height, width) of the picture.
        face: size of the face, pixels from chin to crown.
        centres: (n, 2) x, y of the face; without them, it sways around the middle of the picture.

    Returns:
        (n, height, width, 3) RGB.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    height, width = size
    look = Look.of(seed)
    if centres is None:
        centres = np.array([width / 2, height / 2]) + face * head_sway(len(opening), seed=seed)
    frames = np.empty((len(opening), height, width, 3), np.uint8)
    frames[:] = np.array(look.room, np.uint8)
    for frame, gap, centre in zip(frames, opening, centres, strict=True):
        draw_face(frame, float(gap), look, centre=centre.tolist(), face=face)
    return frames
