"""Landmarks of one face: the points of the 468-point mesh that stand for those of the 68-point scheme.

Kartynnik et al., "Real-time facial surface geometry from monocular video on mobile GPUs", 2019, arXiv:1907.06724.
The network sees a square around the face, turned so that the eyes are level, at 192 x 192 pixels.

    row of the result   0      1..2              3..4               5..16       17..24
    68-point scheme     33     36 39             42 45              48..59      60..67
                        nose   eye on the left   eye on the right   outer lips  inner lips
"""

from __future__ import annotations

import math

import numpy as np

from unmingle.video.detection import NETS, Detection, Floats, Net
from unmingle.video.frames import Picture
from unmingle.video.packages import opencv

N_POINTS = 25
STABLE = slice(0, 5)
MOUTH = slice(5, 25)
_STABLE_POINTS = [2, 33, 133, 362, 263]
_OUTER_LIPS = [61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91]
_INNER_LIPS = [78, 81, 13, 311, 308, 402, 14, 178]
_MESH_POINTS = [*_STABLE_POINTS, *_OUTER_LIPS, *_INNER_LIPS]
_UPPER_LIP, _LOWER_LIP = 19, 23  # middle of the inner lips
_INPUT = 192
_REGION = 1.5  # side of the square, in sides of the box
_LEAST_PRESENCE = 0.5


class FaceMesh:
    """The network, on one thread.

    Raises:
        MissingExtraError: OpenCV or LiteRT is not installed.
    """

    def __init__(self) -> None:
        """Load the network."""
        self._cv2 = opencv()
        self._net = Net(NETS / "face_landmark.tflite")

    def __call__(self, picture: Picture, face: Detection) -> Floats | None:
        """The points of a face, (25, 2) x and y in pixels of the picture; None where the network sees no face."""
        centre = face.box[:2] + face.box[2:] / 2
        side = _REGION * float(face.box[2:].max())
        turn = math.radians(face.angle)
        axes = side / _INPUT * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        to_picture = np.column_stack([axes, centre - axes @ np.full(2, _INPUT / 2)])
        square = self._cv2.warpAffine(
            picture, to_picture, (_INPUT, _INPUT), flags=self._cv2.INTER_LINEAR | self._cv2.WARP_INVERSE_MAP
        )
        mesh, presence = self._net(square / np.float32(255))
        if 1 / (1 + math.exp(-float(np.clip(presence.item(), -80, 80)))) < _LEAST_PRESENCE:
            return None
        points = mesh.reshape(-1, 3)[_MESH_POINTS, :2]
        return (points @ to_picture[:, :2].T + to_picture[:, 2]).astype(np.float32)


def eye_distance(points: Floats) -> Floats:
    """Distance of the eyes' centres, (..., 25, 2) -> (...) pixels."""
    left, right = points[..., 1:3, :].mean(axis=-2), points[..., 3:5, :].mean(axis=-2)
    return np.linalg.norm(right - left, axis=-1).astype(np.float32)


def mouth_opening(points: Floats) -> Floats:
    """Gap between the inner lips over the distance of the eyes, (..., 25, 2) -> (...)."""
    gap = np.linalg.norm(points[..., _LOWER_LIP, :] - points[..., _UPPER_LIP, :], axis=-1)
    return (gap / np.maximum(eye_distance(points), 1e-6)).astype(np.float32)
