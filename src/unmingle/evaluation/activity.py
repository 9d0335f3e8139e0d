"""Who speaks when, compared with who spoke: the diarisation error, under the best assignment of names.

Activity is (people, frames) of booleans. Source: NIST, "The 2009 (RT-09) rich transcription meeting recognition
evaluation plan", 2009.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.errors import ManifestError

Activity = NDArray[np.bool_]
Segments = Mapping[str, Sequence[tuple[float, float]]]
"""Per person, the (start, end) in seconds of what they say."""

FRAME_SECONDS = 0.01


def read_rttm(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The turns in a file, by person, in the order in which they are first named.

    Raises:
        ManifestError: a line cannot be read.
    """
    segments: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words or words[0] != "SPEAKER":
            continue
        try:
            start, seconds, person = float(words[3]), float(words[4]), words[7]
        except (IndexError, ValueError) as error:
            raise ManifestError(
                f"{path}, line {number}: wanted SPEAKER file 1 start seconds - - name, got {line!r}"
            ) from error
        segments.setdefault(person, []).append((start, start + seconds))
    return segments


def to_activity(segments: Segments, *, seconds: float) -> Activity:
    """(people, frames), a frame being `FRAME_SECONDS`; what lies beyond the end is left out."""
    activity = np.zeros((len(segments), round(seconds / FRAME_SECONDS)), np.bool_)
    for row, spoken in zip(activity, segments.values(), strict=True):
        for start, end in spoken:
            row[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)] = True
    return activity


@dataclass(frozen=True)
class ActivityError:
    """Seconds of speech, and of what is wrong about it; shares of them are error rates.

    Attributes:
        spoken: how long people spoke, two at once counting twice.
        missed: speech that was not found.
        false: speech that was found and is none.
        confused: speech that was given to somebody else.
    """

    spoken: float
    missed: float
    false: float
    confused: float

    @property
    def rate(self) -> float:
        """The diarisation error rate; nan without speech."""
        return (self.missed + self.false + self.confused) / self.spoken if self.spoken else float("nan")

    def __add__(self, other: ActivityError) -> ActivityError:
        """The error over two recordings."""
        return ActivityError(
            self.spoken + other.spoken,
            self.missed + other.missed,
            self.false + other.false,
            self.confused + other.confused,
        )


def activity_error(*, found: Activity, spoken: Activity, collar: float = 0.25) -> ActivityError:
    """Compare what was found with what was spoken.

    Args:
        found: (tracks, frames).
        spoken: (people, frames).
        collar: seconds around every beginning and end of somebody's speech that are not looked at.
    """
    looked_at = ~_near_changes(spoken, round(collar / FRAME_SECONDS))
    found, spoken = found[:, looked_at], spoken[:, looked_at]
    n_spoken, n_found = spoken.sum(axis=0), found.sum(axis=0)
    together = spoken.astype(np.float64) @ found.T.astype(np.float64)  # (people, tracks) frames
    right = sum(together[person, track] for person, track in assign(together))
    both = np.minimum(n_spoken, n_found).sum()
    return ActivityError(
        spoken=float(n_spoken.sum()) * FRAME_SECONDS,
        missed=float(np.maximum(n_spoken - n_found, 0).sum()) * FRAME_SECONDS,
        false=float(np.maximum(n_found - n_spoken, 0).sum()) * FRAME_SECONDS,
        confused=float(both - right) * FRAME_SECONDS,
    )


def assign(scores: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The pairs of (row, column), each used at most once, whose scores sum to most."""
    if scores.shape[0] > scores.shape[1]:
        return [(row, column) for column, row in assign(scores.T)]
    n_rows, n_columns = scores.shape
    rows = np.arange(n_rows)
    best = max(itertools.permutations(range(n_columns), n_rows), key=lambda columns: scores[rows, list(columns)].sum())
    return list(zip(range(n_rows), best, strict=True))


def _near_changes(spoken: Activity, reach: int) -> NDArray[np.bool_]:
    """(frames,) whether somebody begins or ends within `reach` frames."""
    padded = np.pad(spoken, ((0, 0), (1, 1)))
    changes = np.flatnonzero(np.any(padded[:, 1:] != padded[:, :-1], axis=0))  # boundaries before these frames
    near = np.zeros(spoken.shape[1], np.bool_)
    for change in changes:
        near[max(0, change - reach) : change + reach] = True
    return near
