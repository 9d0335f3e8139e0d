"""Looking for faces in picture after picture, as thoroughly as the video needs.

Once a second the picture is also searched part by part, where small faces are larger for the network, and as if from
afar, where those are whole that fill the picture; what found more goes on until the next such look.

    whole picture  |           wide           |      from afar   +--------------+
    parts          |    square    |                              |    |wide|    |
                               |    square    |                  +--------------+
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from unmingle.errors import MissingExtraError
from unmingle.video.detection import BlazeFace, Cascade, Detection, Detector, Floats, overlaps
from unmingle.video.frames import Picture
from unmingle.video.mesh import FaceMesh
from unmingle.video.packages import opencv
from unmingle.video.tracking import Sighting, swatch

_LOOK_AGAIN = 25  # pictures between two thorough looks
_SHARED = 0.25  # of a square, with its neighbour
_WIDE = 1.25  # sides from which parts are worth the while
_AFAR_SIDE = 96  # pixels of the longer side of a picture seen from afar: half of what the network sees
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
        self._views: set[_View] = set()  # those that find more than the whole picture does
        self._by_cascade = False

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
        for view in (_search_parts, _search_from_afar):
            if look_again or view in self._views or not found:
                more = _united(found, view(picture, network))
                if look_again:
                    (self._views.add if len(more) > len(found) else self._views.discard)(view)
                found = more
        if not found and (look_again or self._by_cascade):
            found = [one for one in self._cascade(picture) if self._is_face(picture, one)]
            self._by_cascade = bool(found)
        return found

    def _is_face(self, picture: Picture, detection: Detection) -> bool:
        return self._mesh is not None and self._mesh(picture, detection) is not None


_View = Callable[[Picture, Detector], Iterator[Detection]]


def _search_from_afar(picture: Picture, detector: Detector) -> Iterator[Detection]:
    cv2 = opencv()
    height, width = picture.shape[:2]
    scale = _AFAR_SIDE / max(height, width)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = small.shape[0] // 2, small.shape[1] // 2
    framed = cv2.copyMakeBorder(small, top, top, left, left, cv2.BORDER_CONSTANT, value=(127, 127, 127))
    for one in detector(framed):
        yield one._replace(box=(one.box - np.array([left, top, 0, 0], np.float32)) / np.float32(scale))


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


def _united(detections: list[Detection], others: Iterator[Detection]) -> list[Detection]:
    """The detections, and those of the others that show another face, the surest of each."""
    kept = list(detections)
    for one in sorted(others, key=lambda detection: -detection.score):
        if not any(_is_same(one.box, other.box) for other in kept):
            kept.append(one)
    return kept


def _is_same(box: Floats, other: Floats) -> bool:
    shared = float(overlaps(box, other[None])[0])
    area, other_area = float(box[2] * box[3]), float(other[2] * other[3])
    common = shared * (area + other_area) / (1 + shared)
    return shared > _SAME_FACE or common > _INSIDE * min(area, other_area)
