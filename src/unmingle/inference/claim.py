"""The mark of a job that is under way: a hidden file beside its results, held as long as its process lives.

When it is there and nobody holds it, the run before was killed; what lies under the names of the job without a report
is then that run's own.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unmingle.audio.temporary import Hold
from unmingle.errors import OutputError


@dataclass(frozen=True)
class Claim:
    """What was found where a job begins.

    Attributes:
        killed: the run before was killed.
        replacing: that run had been asked to replace what was there before it.
    """

    killed: bool = False
    replacing: bool = False


@contextmanager
def claim(path: Path, *, overwrite: bool) -> Generator[Claim]:
    """Mark a job as under way, by a file of this name, until the body ends.

    Args:
        path: the mark.
        overwrite: whether this run may replace what is there.

    Raises:
        OutputError: another run is at work on it, or the folder cannot be written.
    """
    with alone(path, busy=f"another run is writing the same results into {path.parent}"):
        try:
            found = _read(path)
            _write(path, overwrite=overwrite or found.replacing)
            yield found
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def alone(path: Path, *, busy: str) -> Generator[None]:
    """Hold a file until the body ends, so that no second run works on it.

    Args:
        path: the file.
        busy: what it means, in words, that another run holds it.

    Raises:
        OutputError: another run does, or the folder cannot be written.
    """
    try:
        hold = Hold(path)
    except BlockingIOError as error:
        raise OutputError(f"{busy}; wait for it, or choose another folder") from error
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield
    finally:
        hold.release()


def _write(path: Path, *, overwrite: bool) -> None:
    try:
        path.write_bytes(json.dumps({"overwrite": overwrite}).encode())
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); is the disk full?") from error


def _read(path: Path) -> Claim:
    text = path.read_bytes()
    if not text:
        return Claim()
    try:
        said = json.loads(text)
    except ValueError:
        return Claim(killed=True)
    return Claim(killed=True, replacing=isinstance(said, dict) and bool(said.get("overwrite")))
