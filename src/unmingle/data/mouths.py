"""Drawn mouth crops: gray pictures of a mouth that moves as it is told, as a face finder would cut them from a video.

Everything is placed in pixels of the 96 x 96 crop, whose middle is that of the lips: when the mouth opens, the nose
goes up and the chin down. Eyes lie outside. A picture of the still face is stretched, and the lips are drawn over it:

    y -30 nostrils    -5 to 5 lips    20 chin's hollow    36 chin
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.data.articulation import Movement
from unmingle.data.crops import SIDE, Crops

Picture = NDArray[np.floating[Any]]

_MARGIN = 12  # of the picture of the face around the crop, for what moves in
_WIDE, _HIGH = 34, 24  # the part of the crop in which lips are drawn, from its middle
_AT_ONCE = 32  # frames: what fits into a processor's cache
_UPPER, _LOWER = 0.4, 0.6  # shares of the opening by which the lips part


@dataclass(frozen=True)
class Look:
    """One person's mouth: gray levels from 0 to 255, lengths in pixels of a crop."""

    skin: float
    lips: float  # over the skin; mostly below
    teeth: float
    upper: float
    lower: float
    width: float  # from the middle to a corner
    corners: float  # how far they hang
    gap: float  # between the lips when wide open
    nose: float
    chin: float
    face: float  # half its width at the mouth
    hair: float  # of a moustache, darker than the skin; 0 mostly
    beard: float

    @classmethod
    def of(cls, rng: np.random.Generator) -> Look:
        """Somebody."""
        bearded = rng.random() < 0.2
        return cls(
            skin=rng.uniform(80, 185),
            lips=rng.uniform(-45, 5),
            teeth=rng.uniform(150, 235),
            upper=rng.uniform(2.5, 5.5),
            lower=rng.uniform(3.5, 7.5),
            width=rng.uniform(16.5, 22.5),
            corners=rng.uniform(-1.5, 2.5),
            gap=rng.uniform(7, 15),
            nose=rng.uniform(5, 8.5),
            chin=rng.uniform(32, 50),
            face=rng.uniform(42, 72),
            hair=rng.uniform(25, 70) if bearded else 0.0,
            beard=rng.uniform(0, 45) if bearded else 0.0,
        )


def draw_mouths(movement: Movement, look: Look, rng: np.random.Generator) -> Crops:
    """Draw a clip.

    Args:
        movement: what the mouth does.
        look: whose it is.
        rng: decides light, camera, and how steadily the face was followed.

    Returns:
        (frames, 96, 96) gray levels.
    """
    n_frames = len(movement.opening)
    face = _still_face(look, rng)
    jitter = np.cumsum(rng.normal(0, 0.25, (n_frames, 2)), axis=0)
    jitter = 0.8 * (jitter - jitter.mean(0)) / (1 + jitter.std(0)) + rng.normal(0, 0.2, (n_frames, 2))
    offset = np.clip(jitter + rng.uniform(-2, 2, 2), -5, 5).astype(np.float32)
    gap = (look.gap * movement.opening).astype(np.float32)
    grain = rng.uniform(0.5, 4)
    crops = np.empty((n_frames, SIDE, SIDE), np.uint8)
    for start in range(0, n_frames, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        picture = _stretched(face, gap[part], offset[part])
        _draw_lips(picture, look, gap[part], movement.spread[part], offset[part])
        picture += grain * rng.standard_normal(picture.shape, dtype=np.float32)
        crops[part] = np.clip(picture, 0, 255)
    return crops


def _still_face(look: Look, rng: np.random.Generator) -> Picture:
    """Skin, nose, chin and beard, without lips: (SIDE + 2 * _MARGIN) squared, the lips' place in the middle."""
    half = SIDE // 2 + _MARGIN
    y, x = np.mgrid[-half:half, -half:half].astype(np.float32)
    picture = look.skin * (1 + rng.uniform(-0.25, 0.25) * x / 60 + rng.uniform(-0.15, 0.15) * y / 60)
    picture += 0.04 * look.skin * _cloud(rng, len(x), 8) + 0.03 * look.skin * _cloud(rng, len(x), 28)
    for side in (-1, 1):
        picture -= 0.5 * look.skin * _spot(x - side * look.nose, y + 29, 3.2, 1.8)
        picture -= 0.15 * look.skin * _spot(x - side * (look.nose + 5), y + 31, 2.5, 6)
        picture -= 0.08 * look.skin * _spot(x - side * (20 + 0.35 * (y + 20)), y + 10, 2.5, 14)
    picture += 0.08 * look.skin * _spot(x, y + 37, 6, 5) - 0.05 * look.skin * _spot(x, y + 15, 2, 8)
    picture -= 0.16 * look.skin * _spot(x, y - 13, 14, 4) - 0.06 * look.skin * _spot(x, y - 26, 10, 7)
    rough = 1 + 0.3 * _cloud(rng, len(x), 48)
    picture -= look.hair * rough * _spot(x, y + 12, 24, 4.5)
    picture -= look.beard * rough * (1 - _spot(x, y, 26, 13)) * _soft((y + 6) / 6)
    outside = _soft(((x / look.face) ** 2 + ((y + 30) / (look.chin + 30)) ** 2 - 1) * 12)
    neck = look.skin * rng.uniform(0.55, 0.85) + 0 * x
    return (picture + outside * (neck - picture)).astype(np.float32)


def _stretched(face: Picture, gap: Picture, offset: Picture) -> Picture:
    """The still face for each frame, (n, SIDE, SIDE): nose up and chin down by the gap, moved by (x, y) offsets."""
    rows = np.arange(SIDE, dtype=np.float32) - offset[:, 1:]
    below = _soft((rows - SIDE / 2) / 6)
    rows = rows + _MARGIN + gap[:, None] * (0.35 - 0.8 * below)
    columns = np.arange(SIDE, dtype=np.float32) - offset[:, :1] + _MARGIN
    return _between(_between(face, rows), columns, across=True)


def _between(picture: Picture, places: Picture, *, across: bool = False) -> Picture:
    """Rows (or columns) of a picture at fractional places, (n, SIDE): linear interpolation."""
    first = np.clip(places.astype(np.int32), 0, (SIDE + 2 * _MARGIN) - 2)
    share = (places - first).astype(np.float32)
    if not across:
        return picture[first] * (1 - share)[..., None] + picture[first + 1] * share[..., None]
    pick = first[:, None, :]
    left, right = (np.take_along_axis(picture, pick + step, axis=2) for step in (0, 1))
    return left * (1 - share)[:, None] + right * share[:, None]


def _draw_lips(picture: Picture, look: Look, gap: Picture, spread: Picture, offset: Picture) -> None:
    """Lips, the dark between them, teeth and tongue, drawn into (n, SIDE, SIDE)."""
    middle = SIDE // 2
    part = picture[:, middle - _HIGH : middle + _HIGH, middle - _WIDE : middle + _WIDE]
    gap, spread = gap[:, None, None], spread[:, None, None]
    y = np.arange(-_HIGH, _HIGH, dtype=np.float32)[:, None] - offset[:, 1, None, None]
    x = np.arange(-_WIDE, _WIDE, dtype=np.float32) - offset[:, 0, None, None]
    along = (x / (look.width * (1 + 0.16 * spread) - 0.1 * gap)) ** 2  # 0 in the middle, 1 at the corners
    bow = np.clip(1 - along, 0, None)
    hang = look.corners * along
    top, bottom = hang - _UPPER * gap * bow, hang + _LOWER * gap * bow
    full = np.sqrt(bow) * (1 - 0.15 * spread)
    thick = look.upper * full * (1 - 0.3 * np.exp(-((x / 3) ** 2)))
    lower = bottom + look.lower * full
    part -= 0.12 * look.skin * np.exp(-(((y - lower - 3) / 2.5) ** 2)) * bow
    lips = _band(y, top - thick, lower) * np.minimum(1, 6 * bow)
    shade = look.skin * 0.95 + look.lips - 10 * np.exp(-(((y - top) / 2.5) ** 2))
    part += lips * (shade - part)
    part -= 0.45 * look.skin * np.exp(-(((y - (top + bottom) / 2) / 1.1) ** 2)) * np.minimum(1, 3 * bow)
    inside = _band(y, top, bottom) * np.minimum(1, gap) * np.minimum(1, 6 * bow)
    part += inside * (0.3 * look.skin - part)
    teeth = inside * _soft((top + (2.0 + 2.0 * spread + 0.15 * gap) - y) / 1.5)
    part += teeth * (look.teeth - part)
    tongue = inside * _soft((y - bottom + 0.3 * gap) / 2) * np.minimum(1, gap / 8)
    part += 0.6 * tongue * (0.6 * look.skin - part)


def _band(y: Picture, top: Picture, bottom: Picture) -> Picture:
    """1 between two curves, 0 outside, with edges a pixel wide."""
    return np.clip(y - top + 0.5, 0, 1) * np.clip(bottom - y + 0.5, 0, 1)


def _soft(values: Picture) -> Picture:
    """A step at 0 from 0 to 1, about 2 wide."""
    return np.clip(0.5 + 0.5 * values, 0, 1)


def _spot(x: Picture, y: Picture, width: float, height: float) -> Picture:
    return np.exp(-((x / width) ** 2) - (y / height) ** 2)


def _cloud(rng: np.random.Generator, side: int, n: int) -> Picture:
    """Chance that changes slowly in space: (side, side), about -1 to 1, `n` patches across."""
    knots = rng.uniform(-1, 1, (n + 1, n + 1))
    places = np.linspace(0, n, side)
    rows = np.stack([np.interp(places, np.arange(n + 1), row) for row in knots])
    return np.stack([np.interp(places, np.arange(n + 1), column) for column in rows.T]).T.astype(np.float32)
