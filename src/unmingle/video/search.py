"""Looking for faces in picture after picture, as thoroughly as the video needs.

Once a second the picture is also searched part by part, where small faces are larger for the network, and, when
nothing was found, by the coarse detector. What found more is kept up until the next such look.

    whole picture  |           wide           |
    parts          |    square    |
                               |    square    |
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unmingle.errors import MissingExtraError
from unmingle.video.detection import BlazeFace, Cascade, Detection, Detector, Floats, overlaps
from unmingle.video.frames import Picture
from unmingle.video.mesh import FaceMesh
from unmingle.video.tracking import Sighting, swatch

_LOOK_AGAIN = 25  # pictures between two thorough looks
_SHARED = 0.25  # of a square, with its neighbour
_WIDE = 1.25  # sides from which parts are worth the while
_SAME_FACE, _INSIDE = 0.3, 0.7  # intersection over union, or over the smaller box


class Searcher:
    """Finds and measures the faces of pictures that follow each other.

    Attributes:
        coarse: LiteRT is not installed: only the coarse detector works, and there are no landmarks.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        """Load what is installed."""
        self._cascade = Cascade()
        try:
            self._network: BlazeFace | None = BlazeFace()
            self._mesh: FaceMesh | None = FaceMesh()
        except MissingExtraError:
            self._network = self._mesh = None
        self.coarse = self._mesh is None
        self._n_pictures = 0
        self._in_parts = self._by_cascade = False

    def __call__(self, picture: Picture) -> list[Sighting]:
        """The faces of the next picture."""
        found = [] if self._network is None else self._search(picture, self._network)
        if self._mesh is None:
            return [Sighting(one, None, swatch(picture, one.box)) for one in self._cascade(picture)]
        return [Sighting(one, self._mesh(picture, one), swatch(picture, one.box)) for one in found]

    def _search(self, picture: Picture, network: Detector) -> list[Detection]:
        look_again = self._n_pictures % _LOOK_AGAIN == 0
        self._n_pictures += 1
        found = network(picture)
        if look_again or self._in_parts:
            more = _distinct([*found, *_search_parts(picture, network)])
            self._in_parts = len(more) > len(found)
            found = more
        if not found and (look_again or self._by_cascade):
            found = [one for one in self._cascade(picture) if self._is_face(picture, one)]
            self._by_cascade = bool(found)
        return found

    def _is_face(self, picture: Picture, detection: Detection) -> bool:
        return self._mesh is not None and self._mesh(picture, detection) is not None


def _search_parts(picture: Picture, detector: Detector) -> Iterator[Detection]:
    height, width = picture.shape[:2]
    side, length = min(height, width), max(height, width)
    if length < _WIDE * side:
        return
    n_parts = 1 + int(np.ceil((length - side) / ((1 - _SHARED) * side)))
    for start in np.linspace(0, length - side, n_parts).round().astype(int).tolist():
        x, y = (start, 0) if width > height else (0, start)
        for one in detector(np.ascontiguousarray(picture[y : y + side, x : x + side])):
            box = one.box + np.array([x, y, 0, 0], np.float32)
            if not _is_cut(box, start, side, length, axis=0 if width > height else 1):
                yield one._replace(box=box)


def _is_cut(box: Floats, start: int, side: int, length: int, *, axis: int) -> bool:
    """Whether a box touches an edge at which the part was cut out of the picture: its face goes on there."""
    near, far = float(box[axis]), float(box[axis] + box[axis + 2])
    return (start > 0 and near <= start + 1) or (start + side < length and far >= start + side - 1)


def _distinct(detections: list[Detection]) -> list[Detection]:
    """One detection per face: the surest."""
    kept: list[Detection] = []
    for one in sorted(detections, key=lambda detection: -detection.score):
        if not any(_is_same(one.box, other.box) for other in kept):
            kept.append(one)
    return kept


def _is_same(box: Floats, other: Floats) -> bool:
    shared = float(overlaps(box, other[None])[0])
    area, other_area = float(box[2] * box[3]), float(other[2] * other[3])
    common = shared * (area + other_area) / (1 + shared)
    return shared > _SAME_FACE or common > _INSIDE * min(area, other_area)
