"""From landmarks to the mouth crops that lip-reading networks were trained on.

The face is laid over a mean face in a frame of 256 x 256 pixels by rotation, scale and shift; the crop is the 96 x 96
pixels of that frame around the mouth. Rotation and scale follow points that speech does not move, averaged over twelve
frames from the present one on; the centre follows the lips of the present frame.
Source: the geometry of the published weights of the lip reader and of IIANet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmingle.video.detection import Floats
from unmingle.video.frames import Picture
from unmingle.video.mesh import MOUTH, STABLE, eye_distance
from unmingle.video.packages import opencv

Complexes = NDArray[np.complexfloating]

CROP = 96
_FRAME = 256
_WINDOW = 12
_MEAN_STABLE = np.array([128.870 + 137.303j, 92.522 + 94.369j, 112.772 + 94.944j, 145.525 + 94.535j, 166.677 + 93.566j])
_MEAN_EYES, _MEAN_MOUTH = 129.10 + 93.95j, 129.313 + 157.823j
_MEAN_EYE_DISTANCE = 54.0
_LEAST_EYES = 0.25  # distance of the eyes, in widths of the box: a face turned further away tells nothing
_LARGEST_JUMP = 1.3  # of the scale, against the frames around
_JUMP_WINDOW = 5


def believable(points: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """Which frames' landmarks can be trusted.

    Args:
        points: (n, 25, 2), NaN where there are none.
        boxes: (n, 4).

    Returns:
        (n,): not where the eyes are too near to each other for the box, or much nearer or farther than in the frames
        around.
    """
    eyes = eye_distance(points)
    padded = np.pad(eyes, _JUMP_WINDOW // 2, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, _JUMP_WINDOW)
    usual = np.array([np.median(known) if (known := row[~np.isnan(row)]).size else np.nan for row in around])
    with np.errstate(invalid="ignore"):
        jump = np.maximum(eyes, usual) / np.maximum(np.minimum(eyes, usual), 1e-6)
        return (eyes >= _LEAST_EYES * boxes[:, 2]) & (jump <= _LARGEST_JUMP)


def mouth_squares(points: Floats) -> Floats:
    """Where the crops of one stretch of video lie.

    Args:
        points: (n, 25, 2) landmarks without holes.

    Returns:
        (n, 4) x and y of the crop's pixel (48, 48), side, angle in degrees, in the picture.
    """
    places = points[..., 0].astype(np.float64) + 1j * points[..., 1]
    turn, shift = _onto_mean_face(_looking_ahead(places[:, STABLE]))
    centres = turn * places[:, MOUTH].mean(axis=1) + shift
    half = CROP // 2
    rows, columns = (np.clip(np.round(part), half, _FRAME - half) for part in (centres.imag, centres.real))
    return _squares((columns + 1j * rows - shift) / turn, turn)


def squares_from_boxes(boxes: Floats) -> Floats:
    """Where crops lie, by experience, when only the box of a face is known: (n, 4) -> (n, 4) as `mouth_squares`."""
    scale = _MEAN_EYE_DISTANCE / (0.38 * boxes[:, 2].astype(np.float64))
    eyes = boxes[:, 0] + boxes[:, 2] / 2 + 1j * (boxes[:, 1] + 0.30 * boxes[:, 3])
    return _squares(eyes + (_MEAN_MOUTH - _MEAN_EYES) / scale, scale + 0j)


def cut_mouth(picture: Picture, square: Floats) -> NDArray[np.uint8]:
    """The gray (96, 96) crop that shows a square of a picture; black beyond its edges."""
    cv2 = opencv()
    x, y, side, angle = (float(value) for value in square)
    step = complex(side / CROP * np.exp(1j * np.radians(angle)))  # one pixel of the crop to the right, in the picture
    corner = x + 1j * y - CROP // 2 * (step + 1j * step)
    to_picture = np.array([[step.real, -step.imag, corner.real], [step.imag, step.real, corner.imag]])
    crop = cv2.warpAffine(picture, to_picture, (CROP, CROP), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), np.uint8)  # 0.299 R + 0.587 G + 0.114 B


def _squares(centres: Complexes, turn: Complexes) -> Floats:
    parts = (centres.real, centres.imag, CROP / np.abs(turn), -np.degrees(np.angle(turn)))
    return np.stack(parts, axis=1).astype(np.float32)


def _looking_ahead(values: Complexes) -> Complexes:
    """Mean of each frame and the eleven after it; the last full mean stands for the rest. (n, points), both ways."""
    window = min(_WINDOW, len(values))
    sums = np.cumsum(np.concatenate([np.zeros_like(values[:1]), values]), axis=0)
    means = (sums[window:] - sums[:-window]) / window
    return np.concatenate([means, np.repeat(means[-1:], window - 1, axis=0)])


def _onto_mean_face(points: Complexes) -> tuple[Complexes, Complexes]:
    """Least-squares similarity, as z -> turn z + shift on complex numbers, for each row of stable points."""
    middle, mean_middle = points.mean(axis=1), _MEAN_STABLE.mean()
    centred = points - middle[:, None]
    turn = (centred.conj() @ (_MEAN_STABLE - mean_middle)) / (np.abs(centred) ** 2).sum(axis=1)
    return turn, mean_middle - turn * middle
