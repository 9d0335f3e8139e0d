"""The picture of a job that is done, from what its report says."""

from __future__ import annotations

from typing import Any

from unmingle.inference.inputs import Job
from unmingle.inference.plot import plot_separation
from unmingle.inference.report import facts


def draw(job: Job, report: dict[str, Any]) -> None:
    """Draw the mixture and the tracks of a job that is done."""
    tracks = report["tracks"]
    paths = [job.out_dir / track["path"] for track in tracks]
    spans: dict[str, list[tuple[float, float]]]
    spans = {track["name"]: [] for track in tracks if track["name"] != "residual"}
    for turn in report.get("segments", []):
        spans.get(turn["track"], []).append((turn["start"], turn["end"]))
    turns = list(spans.values()) if any(spans.values()) else []
    plot_separation(job.source, paths, job.picture, captions=[_caption(track) for track in tracks], turns=turns)


def _caption(track: dict[str, Any]) -> str:
    name = str(track["name"]).replace("spk", "speaker ")
    return "   ".join([name, *facts(track)])
