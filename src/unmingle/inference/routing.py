"""Which voice gets which of the network's tracks, and when that changes.

At every moment each track of the network goes to exactly one voice, so the voices sum to what the tracks sum to:

    network   track 1  ====A====|====B====|==A==         voice A  ==1==|==2==|=1+2=
              track 2  ====B====|====A====|==A==   ->    voice B  ==2==|==1==|
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unmingle.audio.framing import Samples

FADE_SECONDS = 0.05
"""How long a track takes to go over from one voice to another."""


@dataclass(frozen=True)
class Routing:
    """Where the network's tracks go.

    Attributes:
        n_out: voices.
        starts: (changes,) first sample of each stretch, at the network's rate; the first is 0.
        targets: per stretch, the voice of every network track.
        fade: samples that a change takes.
    """

    n_out: int
    starts: tuple[int, ...]
    targets: tuple[tuple[int, ...], ...]
    fade: int

    @classmethod
    def straight(cls, n_src: int) -> Routing:
        """Every track is the voice of its number, all the time."""
        return cls(n_src, (0,), (tuple(range(n_src)),), 0)

    @classmethod
    def together(cls, n_src: int) -> Routing:
        """All tracks are one voice, all the time."""
        return cls(1, (0,), ((0,) * n_src,), 0)

    def __call__(self, tracks: Samples, *, start: int) -> Samples:
        """(n_src, time) tracks that begin at sample `start` -> (n_out, time) voices."""
        time = tracks.shape[1]
        if len(self.starts) == 1:
            return self._routed(tracks, self.targets[0])
        voices = np.zeros((self.n_out, time), np.float32)
        first = max(0, int(np.searchsorted(self.starts, start - self.fade, side="right")) - 1)
        last = int(np.searchsorted(self.starts, start + time + self.fade, side="right"))
        for stretch in range(first, last):
            weight = self._rise(stretch, start, time) - self._rise(stretch + 1, start, time)
            voices += weight * self._routed(tracks, self.targets[stretch])
        return voices

    def _routed(self, tracks: Samples, targets: Sequence[int]) -> Samples:
        if list(targets) == list(range(self.n_out)):
            return tracks
        voices = np.zeros((self.n_out, tracks.shape[1]), np.float32)
        for track, voice in zip(tracks, targets, strict=True):
            voices[voice] += track
        return voices

    def _rise(self, stretch: int, start: int, time: int) -> Samples:
        """(time,) weights that go from 0 to 1 around the beginning of a stretch."""
        if stretch == 0:
            return np.ones(time, np.float32)
        if stretch == len(self.starts):
            return np.zeros(time, np.float32)
        way = (start + np.arange(time) - self.starts[stretch]) / max(self.fade, 1) + 0.5
        return (0.5 - 0.5 * np.cos(np.pi * np.clip(way, 0.0, 1.0))).astype(np.float32)
