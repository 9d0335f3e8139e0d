"""The report of a job beside its tracks: read, and named last, so that where it is all is there."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from unmingle.audio.renaming import Draft
from unmingle.audio.temporary import hidden, telling
from unmingle.inference.claim import is_replacing
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
    return None if is_replacing(unfinished(job)) else read_sidecar(job)


@contextmanager
def drafts_of_report(job: Job, described: dict[str, Any]) -> Generator[list[Draft]]:
    """Write who speaks when, where that is known, and last the report, which makes the job complete; without names yet.

    Raises:
        OutputError: they cannot be written.
    """
    texts: list[tuple[Path, str]] = []
    if described["rttm"] is not None:
        texts.append((job.rttm, to_rttm([Turn(**segment) for segment in described["segments"]], stem=job.stem)))
    texts.append((job.sidecar, json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False) + "\n"))
    with ExitStack() as stack:
        drafts: list[Draft] = []
        for target, text in texts:
            with telling(target):
                draft = stack.enter_context(hidden(target.parent))
                draft.write_text(text, encoding="utf-8")
            drafts.append((draft, target))
        yield drafts
