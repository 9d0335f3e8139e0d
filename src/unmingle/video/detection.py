"""Face boxes in one picture: BlazeFace (full range) by LiteRT, or OpenCV's cascades where that cannot run.

Bazarevsky et al., "BlazeFace: sub-millisecond neural face detection on mobile GPUs", 2019, arXiv:1907.05047.
The network sees the picture letterboxed into a square of 192 pixels and answers on a grid of 48 x 48 anchors:

    value   0 1           2 3    4..15
            box centre    size   eyes (left and right in the picture), nose, mouth, ears: x, y each

all in input pixels; centres and points are offsets from the anchor.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from unmingle.video.frames import Picture
from unmingle.video.packages import litert, opencv

Floats = NDArray[np.float32]

NETS = Path(__file__).with_name("nets")
_INPUT, _GRID = 192, 48
_LEAST_SCORE = 0.5
_SAME_FACE = 0.3  # intersection over union above which two answers mean one face
_CASCADE_SIDE = 640  # pixels of the longer side that the cascades are given


class Detection(NamedTuple):
    """One face: box (x, y, width, height) in pixels, score 0..1, angle of the line of the eyes in degrees."""

    box: Floats
    score: float
    angle: float


class Detector(Protocol):
    """Finds faces in a picture."""

    def __call__(self, picture: Picture) -> list[Detection]:
        """All faces, in no order."""
        ...


class BlazeFace:
    """The network, on one thread.

    Raises:
        MissingExtraError: OpenCV or LiteRT is not installed.
    """

    def __init__(self) -> None:
        """Load the network."""
        self._cv2 = opencv()
        self._net = Net(NETS / "face_detection_full_range.tflite")
        steps = (np.arange(_GRID, dtype=np.float32) + 0.5) * (_INPUT / _GRID)
        self._anchors = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)  # (anchors, 2), row-major

    def __call__(self, picture: Picture) -> list[Detection]:
        """All faces; the answers for one face are averaged by their scores."""
        height, width = picture.shape[:2]
        scale = _INPUT / max(height, width)
        small = self._cv2.resize(
            picture,
            (max(1, round(width * scale)), max(1, round(height * scale))),
            interpolation=self._cv2.INTER_AREA if scale < 1 else self._cv2.INTER_LINEAR,
        )
        top, left = (_INPUT - small.shape[0]) // 2, (_INPUT - small.shape[1]) // 2
        square = np.full((_INPUT, _INPUT, 3), -1.0, np.float32)
        square[top : top + small.shape[0], left : left + small.shape[1]] = small / np.float32(127.5) - 1.0
        values, logits = self._net(square)
        scores = (1.0 / (1.0 + np.exp(-np.clip(logits.reshape(-1), -80, 80)))).astype(np.float32)
        sure = np.flatnonzero(scores >= _LEAST_SCORE)
        points = values.reshape(-1, 8, 2)[sure]  # centre, size, six points
        points[:, [0, 2, 3, 4, 5, 6, 7]] += self._anchors[sure, None]
        points[:, [0, 2, 3, 4, 5, 6, 7]] -= np.array([left, top], np.float32)
        return [_detection(points / np.float32(scale), score) for points, score in _merged(points, scores[sure])]


class Net:
    """A LiteRT network on one thread: one array in, arrays out, the largest first."""

    def __init__(self, path: Path) -> None:
        """Load it."""
        library = litert()
        with _silent_stderr():
            self._interpreter: Any = library.Interpreter(str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = sorted(self._interpreter.get_output_details(), key=lambda one: -int(np.prod(one["shape"])))
        self._outputs = [one["index"] for one in outputs]

    def __call__(self, values: Floats) -> list[Floats]:
        """Run it on one item, given without the axis of the batch."""
        self._interpreter.set_tensor(self._input, values[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index)[0] for index in self._outputs]


@contextmanager
def _silent_stderr() -> Generator[None]:
    """Keep what LiteRT says about itself, and lets nobody switch off, away from the terminal."""
    try:
        terminal = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


def _detection(points: Floats, score: float) -> Detection:
    size = points[1]
    across = points[3] - points[2]
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    return Detection(np.concatenate([points[0] - size / 2, size]), score, angle)


def _merged(points: Floats, scores: Floats) -> Iterator[tuple[Floats, float]]:
    """Answers about one face become one: their average, weighted by score."""
    boxes = np.concatenate([points[:, 0] - points[:, 1] / 2, points[:, 1]], axis=1).astype(np.float32)
    left = np.argsort(-scores)
    while left.size:
        same = overlaps(boxes[left[0]], boxes[left]) > _SAME_FACE
        same[0] = True
        group, left = left[same], left[~same]
        yield np.average(points[group], axis=0, weights=scores[group]).astype(np.float32), float(scores[group[0]])


def overlaps(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box with each of (n, 4) boxes, (n,)."""
    ends = np.minimum(box[:2] + box[2:], boxes[:, :2] + boxes[:, 2:])
    sides = np.clip(ends - np.maximum(box[:2], boxes[:, :2]), 0, None)
    shared = sides.prod(axis=1)
    return shared / np.maximum(box[2:].prod() + boxes[:, 2:].prod(axis=1) - shared, 1e-9)


class Cascade:
    """OpenCV's frontal cascade: coarse, and knows no angle.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        """Load the cascade that comes with OpenCV."""
        self._cv2 = opencv()
        self._cascade = self._cv2.CascadeClassifier(
            str(Path(self._cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")
        )

    def __call__(self, picture: Picture) -> list[Detection]:
        """All frontal faces."""
        gray = self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2GRAY)
        scale = min(1.0, _CASCADE_SIDE / max(gray.shape))
        gray = self._cv2.resize(gray, None, fx=scale, fy=scale, interpolation=self._cv2.INTER_AREA)
        boxes = self._cascade.detectMultiScale(gray, 1.1, 6, minSize=(32, 32))
        # The cascade's boxes reach further up and out than the network's; from here on, there is one kind.
        moved = [(x + 0.05 * width, y + 0.13 * height, 0.9 * width, 0.9 * height) for x, y, width, height in boxes]
        return [Detection(np.array(box, np.float32) / np.float32(scale), 0.5, 0.0) for box in moved]
