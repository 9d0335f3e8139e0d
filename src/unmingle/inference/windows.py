"""One long signal through a network in overlapping windows, at the network's rate and in bounded memory.

    window 1   |----------------------|
    window 2                   |----------------------|
                               |.......|x x x|
                                match    cross-fade
    given out  |------ 1 ----------------|-x-|---- 2 ...

The overlap is stretched back over pauses until it holds speech to compare, and the tracks of a window are put into the
order of the tracks before it (`tracks.py`). Where windows begin depends on the signal alone, not on the blocks it
comes in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unmingle.audio.framing import Samples, cross_fade
from unmingle.errors import CheckpointError
from unmingle.inference.report import SeparationOptions
from unmingle.inference.tracks import Agreement, TrackMatcher, best_order, fit_levels, overlap_likeness
from unmingle.inference.voices import State

_SEARCH_STEP_SECONDS = 0.25  # overlaps are tried in these steps ...
_SPEECH_SECONDS = 1.0  # ... until they hold this much speech ...
_LONGEST_OVERLAP = 0.75  # ... or reach this share of the window
_SPEECH_BELOW_PEAK = 10 ** (-25 / 10)
_INAUDIBLE = 1e-10  # mean square (-100 dBFS) below which a window is not worth a network's time
_SECOND_LOOK_SECONDS = 1.0
_LATER_SECONDS = 0.002  # half a hop of the bundled networks: a second hearing cuts the sound into other frames


class WindowedSeparation:
    """Separates a stream of one channel; push blocks, get tracks, (n_src, time).

    Attributes:
        agreement: how well neighbouring windows agreed so far.
        n_windows: windows separated so far.
    """

    def __init__(
        self,
        run: Callable[[Samples], Samples],
        *,
        n_src: int,
        sample_rate: int,
        options: SeparationOptions,
        second_look: bool = True,
    ) -> None:
        """Prepare for one recording.

        Args:
            run: the network, (batch, time) -> (batch, n_src, time).
            n_src: speakers.
            sample_rate: Hz of the network.
            options: lengths of windows and overlaps, and whether each window is heard twice.
            second_look: separate the middle of an only window again, to have something to compare.
        """
        self._run, self._n_src, self._rate = run, n_src, sample_rate
        self._window = round(options.window_seconds * sample_rate)
        self._fade = round(options.overlap_seconds * sample_rate)
        self._second_look, self._twice = second_look, options.twice
        self._matcher = TrackMatcher(n_src, sample_rate)
        self.agreement = Agreement(n_src)
        self.n_windows = 0
        # All positions are samples since the beginning; the two buffers begin at `_kept_from` and `_before_from`.
        self._kept, self._kept_from = np.zeros(0, np.float32), 0
        self._before, self._before_from = np.zeros((n_src, 0), np.float32), 0
        self._next, self._given = 0, 0

    def push(self, mixture: Samples, *, last: bool = False) -> list[Samples]:
        """Take (time,) samples; give the tracks that are final, one (n_src, time) piece per window."""
        self._kept = np.concatenate([self._kept, mixture])
        ready: list[Samples] = []
        while self.end - self._next >= self._window:
            ready.append(self._step(self._next, self._next + self._window))
        if last:
            ready.append(self._finish())
        return ready

    @property
    def end(self) -> int:
        """How many samples were taken."""
        return self._kept_from + self._kept.shape[0]

    def state(self) -> State:
        """All that the windows to come depend on, as arrays by name."""
        positions = (self._kept_from, self._before_from, self._next, self._given, self.n_windows)
        return {
            "kept": self._kept,
            "before": self._before,
            "positions": np.array(positions, np.int64),
            **{f"voices.{name}": array for name, array in self._matcher.state().items()},
            **{f"agreement.{name}": array for name, array in self.agreement.state().items()},
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` said: the next sample to push is number `end`."""
        self._kept, self._before = state["kept"].copy(), state["before"].copy()
        positions = (int(position) for position in state["positions"])
        self._kept_from, self._before_from, self._next, self._given, self.n_windows = positions
        self._matcher.restore(_part(state, "voices"))
        self.agreement.restore(_part(state, "agreement"))

    def _finish(self) -> Samples:
        before_end = self._before_from + self._before.shape[1]
        if self.end > before_end:
            piece = self._step(max(0, self.end - self._window), self.end)
            before_end = self.end
        else:
            piece = np.zeros((self._n_src, 0), np.float32)
        if self.n_windows == 1 and self._second_look:
            self._look_again()
        rest = self._before[:, self._given - self._before_from :]
        self._given = before_end
        return np.concatenate([piece, rest], axis=1)

    def _step(self, start: int, stop: int) -> Samples:
        """Separate [start, stop), join it to what is there, and give what no later window will change."""
        mixture = self._kept[start - self._kept_from : stop - self._kept_from]
        estimates = self._separate(mixture)
        before_end = self._before_from + self._before.shape[1]
        if self.n_windows:
            estimates = self._join(estimates, start=start, before_end=before_end)
        self._matcher.learn(estimates)
        self.n_windows += 1
        final = max(self._given, stop - self._fade)
        piece = estimates[:, self._given - start : final - start]
        self._before, self._before_from, self._given = estimates, start, final
        self._next = stop - self._choose_overlap(mixture)
        self._kept, self._kept_from = self._kept[start - self._kept_from :], start
        return piece

    def _join(self, estimates: Samples, *, start: int, before_end: int) -> Samples:
        """Order the tracks like those before; take the old ones up to the cross-fade, the new ones after it."""
        overlap = before_end - start
        before = self._before[:, start - self._before_from :]
        order = self._matcher.match(before, estimates)
        estimates = estimates[order]
        self.agreement.add(before, estimates[:, :overlap])
        kept = overlap - self._fade
        faded = cross_fade(before[:, kept:], estimates[:, kept:overlap])
        return np.concatenate([before[:, :kept], faded, estimates[:, overlap:]], axis=1)

    def _separate(self, mixture: Samples) -> Samples:
        """One window through the network, which hears it at an RMS of one and is answered at the recording's level."""
        power = float(np.mean(np.square(mixture, dtype=np.float64)))
        if power < _INAUDIBLE:
            return np.tile(mixture * np.float32(1.0 / self._n_src), (self._n_src, 1)).astype(np.float32, copy=False)
        level = float(np.sqrt(power))
        normal = mixture / level
        estimates = self._estimates(normal)
        if self._twice:
            later = round(_LATER_SECONDS * self._rate)
            again = -self._estimates(np.pad(-normal, (later, 0)))[:, later:]
            estimates = np.float32(0.5) * (estimates + again[best_order(overlap_likeness(estimates, again))])
        return (fit_levels(estimates, normal) * level).astype(np.float32, copy=False)

    def _estimates(self, normal: Samples) -> Samples:
        estimates = self._run(normal[np.newaxis])[0]
        if not np.isfinite(estimates).all():
            raise CheckpointError("the network's output is not a number (NaN); its weights are damaged or untrained")
        return estimates

    def _choose_overlap(self, mixture: Samples) -> int:
        """How much of the end of this window the next one shall hear again."""
        step = round(_SEARCH_STEP_SECONDS * self._rate)
        hop = max(1, self._rate // 50)
        frames = np.square(mixture[mixture.shape[0] % hop :].reshape(-1, hop)).mean(axis=1)
        speech = frames > _SPEECH_BELOW_PEAK * frames.max()
        longest = min(round(_LONGEST_OVERLAP * self._window), mixture.shape[0])
        for overlap in range(self._fade, longest + 1, step):
            if speech[-(overlap // hop) :].sum() * hop >= _SPEECH_SECONDS * self._rate:
                return overlap
        return self._fade

    def _look_again(self) -> None:
        """Separate the middle half of the only window once more, to have something to compare."""
        length = self._before.shape[1]
        start, stop = length // 4, length - length // 4
        if stop - start < _SECOND_LOOK_SECONDS * self._rate:
            return
        first = self._before[:, start:stop]
        again = self._separate(self._kept[start:stop])
        self.agreement.add(first, again[self._matcher.match(first, again)])


def _part(state: State, name: str) -> State:
    return {key.removeprefix(f"{name}."): array for key, array in state.items() if key.startswith(f"{name}.")}
