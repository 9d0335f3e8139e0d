"""Which detection belongs to whom: detections of one picture after the other become trails, one per person.

A detection continues a trail when it lies where the trail is expected, has its size and its colours. A trail may be
lost for two seconds of its setting's time on show: as long as the camera looks elsewhere, no time passes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unmingle.video.detection import Detection, Floats, overlaps
from unmingle.video.frames import Picture
from unmingle.video.mesh import N_POINTS
from unmingle.video.packages import opencv
from unmingle.video.shots import Shots

_LONGEST_LOSS = 50  # ticks on show after which a face that appears is a new one
_BRIEF = 10  # ticks over which a movement is taken to go on
_LEAST_OVERLAP, _FURTHEST = 0.3, 0.5  # one of both: intersection over union, or distance in sides of the box
_LARGEST_GROWTH = 1.8
_SWATCH = 8  # colours of a face are compared on so many squares each way
# Largest mean difference of colours, 0..1: from one picture to the next, across a cut, after a loss. One
# talker differs by up to 0.03 from a second ago, two talkers in the same light by 0.04 to 0.2.
_NEXT, _ACROSS_CUT, _AFTER_LOSS = 0.08, 0.05, 0.14
_COLOUR_WEIGHT = 4.0
_NEW, _DOUBT = 5, 0.5  # what an older trail may be worse by than one of so few ticks
_MEMORY = 0.9  # of the colours, per tick
_NOWHERE = np.full((N_POINTS, 2), np.nan, np.float32)


class Sighting(NamedTuple):
    """One detection with what was measured on it; `points` is None where the landmarks could not be found."""

    detection: Detection
    points: Floats | None
    swatch: Floats


@dataclass(eq=False)
class Trail:
    """Everything seen of one person.

    Attributes:
        setting: of the latest sighting.
        usual: colours of the face, on average over the last second.
        latest: colours of the latest sighting.
        ticks: of all sightings.
        clock: how long the setting had been on show at the latest one.
    """

    setting: int
    usual: Floats
    latest: Floats
    clock: int = 0
    ticks: array[int] = field(default_factory=lambda: array("l"))
    _boxes: array[float] = field(default_factory=lambda: array("f"))  # flat: an hour has 90,000 sightings
    _points: array[float] = field(default_factory=lambda: array("f"))

    def add(self, tick: int, sighting: Sighting, shots: Shots) -> None:
        """Take one more sighting."""
        self.ticks.append(tick)
        self._boxes.frombytes(sighting.detection.box.astype(np.float32).tobytes())
        points = _NOWHERE if sighting.points is None else sighting.points
        self._points.frombytes(points.astype(np.float32).tobytes())
        self.setting, self.clock = shots.setting, shots.clock
        self.usual = (_MEMORY * self.usual + (1 - _MEMORY) * sighting.swatch).astype(np.float32)
        self.latest = sighting.swatch

    @property
    def boxes(self) -> Floats:
        """(n, 4)."""
        return np.array(self._boxes, np.float32).reshape(-1, 4)

    @property
    def points(self) -> Floats:
        """(n, 25, 2)."""
        return np.array(self._points, np.float32).reshape(-1, N_POINTS, 2)

    @property
    def last(self) -> Floats:
        """The latest box."""
        return self._box(-1)

    def expected(self, tick: int) -> Floats:
        """Where the box is at a tick if the movement goes on."""
        back = min(5, len(self.ticks) - 1)
        elapsed = self.ticks[-1] - self.ticks[-1 - back]
        moved = self.last
        if 0 < elapsed <= _BRIEF:
            speed = (_centre(moved) - _centre(self._box(-1 - back))) / elapsed
            moved[:2] += speed * (tick - self.ticks[-1])
        return moved

    def _box(self, number: int) -> Floats:
        start = 4 * (len(self.ticks) + number)
        return np.array(self._boxes[start : start + 4], np.float32)


class Tracker:
    """Turns sightings into trails."""

    def __init__(self) -> None:
        """Nobody has been seen."""
        self.trails: list[Trail] = []

    def update(self, tick: int, sightings: Sequence[Sighting], shots: Shots) -> list[Trail]:
        """Give each sighting of a picture its trail, an old one or a new one; in the order of the sightings."""
        open_trails = [trail for trail in self.trails if _may_continue(trail, tick, shots)]
        costs = np.array([[_cost(trail, one, tick, shots) for one in sightings] for trail in open_trails])
        found: dict[int, Trail] = {}
        while costs.size and np.isfinite(costs.min()):
            row, column = np.unravel_index(costs.argmin(), costs.shape)
            found[int(column)] = open_trails[row]
            costs[row], costs[:, column] = np.inf, np.inf
        for number, sighting in enumerate(sightings):
            if number not in found:
                found[number] = Trail(shots.setting, sighting.swatch, sighting.swatch)
                self.trails.append(found[number])
            found[number].add(tick, sighting, shots)
        return [found[number] for number in range(len(sightings))]


def swatch(picture: Picture, box: Floats) -> Floats:
    """The colours of a face, coarsely: (8, 8, 3), 0..1."""
    cv2 = opencv()
    x, y, width, height = box.tolist()
    rows = slice(max(0, round(y - 0.2 * height)), max(1, round(y + height)))
    columns = slice(max(0, round(x)), max(1, round(x + width)))
    face = picture[rows, columns]
    if face.size == 0:
        return np.zeros((_SWATCH, _SWATCH, 3), np.float32)
    return cv2.resize(face, (_SWATCH, _SWATCH), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def unlikeness(one: Floats, other: Floats) -> float:
    """Mean difference of the colours of two faces, 0..1, where they match best: boxes are never quite in place."""
    size = _SWATCH - 2
    shifts = [other[y : y + size, x : x + size] for y in range(3) for x in range(3)]
    return float(np.abs(np.stack(shifts) - one[1:-1, 1:-1]).mean(axis=(1, 2, 3)).min())


def _may_continue(trail: Trail, tick: int, shots: Shots) -> bool:
    if trail.setting == shots.setting:
        return shots.clock - trail.clock <= _LONGEST_LOSS
    return trail.ticks[-1] == tick - 1  # seen just before a cut: an inset may go on while the rest changes


def _cost(trail: Trail, sighting: Sighting, tick: int, shots: Shots) -> float:
    """How badly a sighting suits a trail; infinite when it cannot belong to it."""
    box, same_setting = sighting.detection.box, trail.setting == shots.setting
    colours = min(unlikeness(known, sighting.swatch) for known in (trail.usual, trail.latest))
    limit = _NEXT if tick - trail.ticks[-1] <= _NEW else _AFTER_LOSS
    growth = float(max(box[2] / trail.last[2], trail.last[2] / box[2]))
    if growth > _LARGEST_GROWTH or colours > (limit if same_setting else _ACROSS_CUT):
        return np.inf
    places = (trail.last, trail.expected(tick)) if same_setting else (trail.last,)
    doubt = _DOUBT if len(trail.ticks) < _NEW else 0.0
    return min(_misplacement(place, box) for place in places) + _COLOUR_WEIGHT * colours + doubt


def _misplacement(place: Floats, box: Floats) -> float:
    overlap = float(overlaps(place, box[None])[0])
    distance = float(np.linalg.norm(_centre(place) - _centre(box)) / max(place[2], box[2]))
    if overlap <= _LEAST_OVERLAP and distance >= _FURTHEST:
        return np.inf
    return 1 - overlap + distance


def _centre(box: Floats) -> NDArray[np.floating]:
    return box[:2] + box[2:] / 2
