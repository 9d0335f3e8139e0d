"""The report of a job beside its tracks: read, and written last and in one step, so that it says that all is there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unmingle.errors import OutputError
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
    """What the sidecar is called before the job is complete; it is there from the beginning of the job."""
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
    _write_at_once(job.rttm, to_rttm(turns, stem=job.stem), draft=job.rttm.with_name(f".{job.rttm.name}.part"))


def write_sidecar(job: Job, described: dict[str, Any]) -> None:
    """Write the report, which makes the job complete.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    _write_at_once(job.sidecar, text + "\n", draft=unfinished(job))


def _write_at_once(path: Path, text: str, *, draft: Path) -> None:
    try:
        draft.write_text(text, encoding="utf-8")
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
