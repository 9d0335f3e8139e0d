"""Who speaks when, as RTTM lines: `SPEAKER talk 1 0.50 2.30 <NA> <NA> alice <NA> <NA>`.

Source: NIST, "The 2009 (RT-09) rich transcription meeting recognition evaluation plan", appendix A.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """Somebody speaks without a longer pause.

    Attributes:
        start, end: seconds from the beginning of the recording.
        track: name of the track on which this is.
        confidence: 0..1, how sure it is that this person speaks here.
    """

    start: float
    end: float
    track: str
    confidence: float | None = None


def to_rttm(turns: Iterable[Turn], *, stem: str) -> str:
    """The lines, in the order of time; RTTM separates by blanks, so those in a recording's name become `_`."""
    recording = "_".join(stem.split()) or "recording"
    lines = [
        f"SPEAKER {recording} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {turn.track} <NA> <NA>"
        for turn in sorted(turns, key=lambda turn: (turn.start, turn.track))
    ]
    return "".join(f"{line}\n" for line in lines)
