"""The report of a job beside its tracks: read, and written last and in one step, so that it says that all is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmingle.audio.temporary import whole
from unmingle.inference.inputs import Job
from unmingle.voices.rttm import Turn, to_rttm


def read_sidecar(job: Job) -> dict[str, Any] | None:
    """What the sidecar of a job says; None when there is none, or none that can be read."""
    try:
        report = json.loads(job.sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return report if _is_report(report) else None


def _is_report(value: Any) -> bool:
    """Whether a JSON value has what is used of a sidecar; somebody may have edited it."""
    kinds = {"input": dict, "settings": dict, "tracks": list, "conversions": list, "warnings": list}
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(key), kind) for key, kind in kinds.items())
        and all(isinstance(track, dict) and isinstance(track.get("path"), str) for track in value["tracks"])
        and isinstance(value.get("rttm"), str | None)
        and isinstance(renders := value.get("renders", []), list)
        and all(isinstance(name, str) for name in renders)
    )


def unfinished(job: Job) -> Path:
    """The mark of a job that is under way, beside its sidecar: there from its beginning until it is complete."""
    return job.sidecar.with_name(f".{job.sidecar.name}.part")


def report_of_whole(job: Job) -> dict[str, Any] | None:
    """What the sidecar says, unless somebody is, or was until killed, replacing what it is about."""
    return None if unfinished(job).exists() else read_sidecar(job)


def write_rttm(job: Job, described: Mapping[str, Any]) -> None:
    """Write who speaks when, or remove what an earlier separation said about it.

    Raises:
        OutputError: it cannot be written.
    """
    if described["rttm"] is None:
        job.rttm.unlink(missing_ok=True)
        return
    turns = [Turn(**segment) for segment in described["segments"]]
    with whole(job.rttm) as draft:
        draft.write_text(to_rttm(turns, stem=job.stem), encoding="utf-8")


def write_sidecar(job: Job, described: dict[str, Any]) -> None:
    """Write the report, which makes the job complete.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    with whole(job.sidecar) as draft:
        draft.write_text(text + "\n", encoding="utf-8")
