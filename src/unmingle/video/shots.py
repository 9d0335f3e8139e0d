"""Cuts, and the return to a picture that was seen before."""

from __future__ import annotations

import numpy as np

from unmingle.video.detection import Floats
from unmingle.video.frames import Picture
from unmingle.video.packages import opencv

_SIZE = (64, 36)  # pixels that pictures are compared at
_CUT = 30.0  # mean difference of gray levels between neighbours that a cut makes
_CHANGED, _CUT_SHARE = 10.0, 0.65  # and in so large a share of the picture levels change by so much
_SAME_SETTING = 12.0  # mean difference below which two shots are of the same camera
_STILL = 5.0  # no pixel of a still image ever differs by more, whatever its coding
_REMEMBERED = 50  # settings that may return


class Shots:
    """Watches pictures go by. A setting is what one camera shows: shots that return to it share its number.

    Attributes:
        cuts: ticks at which a new shot begins.
        setting: number of the present setting, from 0.
        clock: ticks that the present setting has been on show, over all its shots.
        still: whether nothing has ever moved.
    """

    def __init__(self) -> None:
        """Nothing has been seen."""
        self.cuts: list[int] = []
        self.setting = 0
        self.still = True
        self._first: Floats | None = None
        self._views: dict[int, Floats] = {}  # the latest view of each setting, the latest seen last
        self._clocks: dict[int, int] = {}

    @property
    def clock(self) -> int:
        """See the class."""
        return self._clocks.get(self.setting, 0)

    def look(self, tick: int, picture: Picture) -> None:
        """Take the picture of the next tick."""
        cv2 = opencv()
        gray = cv2.cvtColor(cv2.resize(picture, _SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        view = gray.astype(np.float32)
        self._first = view if self._first is None else self._first
        self.still = self.still and float(np.abs(view - self._first).max()) <= _STILL
        before = self._views.get(self.setting)
        if before is not None and _is_cut(before, view):
            self.cuts.append(tick)
            self.setting = self._returned(view)
        self._views.pop(self.setting, None)
        self._views[self.setting] = view
        if len(self._views) > _REMEMBERED:
            del self._views[next(iter(self._views))]
        self._clocks[self.setting] = self.clock + 1

    def _returned(self, view: Floats) -> int:
        distances = [(float(np.abs(view - other).mean()), setting) for setting, other in self._views.items()]
        distance, setting = min(distances)
        return setting if distance < _SAME_SETTING else len(self._clocks)


def _is_cut(before: Floats, view: Floats) -> bool:
    change = np.abs(view - before)
    return float(change.mean()) > _CUT and float((change > _CHANGED).mean()) > _CUT_SHARE
