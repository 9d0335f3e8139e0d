"""What a separation by faces hands back: the tracks, the faces, and how sure each pair of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unmingle.inference.jobs import Result
from unmingle.video.tracks import CLOCK_RATE, FaceReport, FaceTrack

Method = Literal["ear", "lips"]


@dataclass(frozen=True)
class HeardFace:
    """One face and its voice.

    Attributes:
        name: of the face, and of its track.
        talks: whether its mouth moves as that of somebody who talks; None where that cannot be told.
        voice: the separated track that it was given, such as `spk2`; None when it has none, and is silent.
        confidence: 0..1, how probable it is that this is its voice. None without a voice; None too when the lips
            themselves separated it, which leaves nothing to choose.
    """

    track: FaceTrack
    talks: bool | None
    voice: str | None
    confidence: float | None

    @property
    def name(self) -> str:
        """`face1`, `face2`, ... from left to right."""
        return self.track.name

    def to_dict(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        seen = self.track.boxes[self.track.present]
        box = [round(float(value), 1) for value in np.mean(seen, axis=0)] if len(seen) else None
        return {
            "name": self.name,
            "intervals": [[round(start, 2), round(end, 2)] for start, end in self.track.intervals],
            "seconds": round(self.track.seconds, 2),
            "mean_box": box,
            "interpolated_share": round(self.track.interpolated_share, 3),
            "talks": self.talks,
            "voice": self.voice,
            "confidence": None if self.confidence is None else round(self.confidence, 3),
        }


@dataclass(frozen=True)
class PanelReport:
    """Everything about a separation by faces but the samples.

    Attributes:
        sound: the tracks with their final names: faces from left to right, voices of nobody, the residual.
        faces: from left to right; empty when nobody was seen, and the tracks are those of the sound alone.
        method: whether ears or lips told the voices apart.
        seen: what was found in the picture; None when it was not looked at.
        renders: videos that were made.
        asked: what was asked for, by name: it stands among the settings.
        notes: sentences about the picture, for the warnings.
    """

    sound: Result
    faces: Sequence[HeardFace] = ()
    method: Method = "ear"
    seen: FaceReport | None = None
    renders: Sequence[Path] = ()
    asked: dict[str, object] = field(default_factory=dict[str, object])
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """As values that JSON can hold; files are named without their folder."""
        said = self.sound.to_dict()
        seen = {} if self.seen is None else _picture(self.seen)
        return {
            **said,
            "settings": {**said["settings"], **self.asked},
            "warnings": [*said["warnings"], *self.notes],
            "method": self.method,
            "faces": [face.to_dict() for face in self.faces],
            **seen,
            "renders": [path.name for path in self.renders],
        }


def _picture(seen: FaceReport) -> dict[str, Any]:
    return {
        "video_size": list(seen.picture),
        "clock_rate": CLOCK_RATE,
        "shots": [round(seconds, 2) for seconds in seen.shots],
    }
