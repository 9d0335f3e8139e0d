"""The mark of a job that is under way: a hidden file beside its results, held as long as its process lives.

Before the new files get their names, it says which they are and which ones they replace. When it is there and nobody
holds it, the run before was killed; if that was amid its renames, the next run puts everything back as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unmingle.audio.renaming import Draft, Exchange
from unmingle.audio.temporary import Hold, telling
from unmingle.errors import OutputError


class Claim:
    """A job that is under way, and what the run before left of it.

    Attributes:
        replacing: the run before was killed, and had been asked to replace what was there before it.
    """

    def __init__(self, path: Path, *, overwrite: bool, found: dict[str, Any]) -> None:
        """Take the mark, and what it said; see `claim`."""
        self.replacing = bool(found.get("overwrite"))
        self._path, self._said = path, {"overwrite": overwrite or self.replacing}
        self._exchange: Exchange | None = None
        self._done = False

    def note(self, **more: Any) -> None:
        """Write the mark.

        Raises:
            OutputError: it cannot be written.
        """
        with telling(self._path), self._path.open("wb") as file:
            file.write(json.dumps({**self._said, **more}).encode())
            file.flush()
            os.fsync(file.fileno())

    def exchange(self, drafts: Sequence[Draft], *, outdated: Sequence[Path] = ()) -> None:
        """Give all files their names, or none, even if this process is killed meanwhile; see `Exchange`.

        Raises:
            OutputError: a file cannot get its name; all is as it was.
        """
        self._exchange = Exchange.plan(drafts, outdated=outdated)
        self.note(naming=self._exchange.to_dict())
        self._exchange.carry_out(drafts)
        self._done = True

    def end(self) -> None:
        """Remove the mark, from when on the new files stay."""
        if self._exchange is not None and not self._done:
            self._exchange.undo()  # once more: an interruption may have come into it
        self._path.unlink(missing_ok=True)
        if self._exchange is not None and self._done:
            self._exchange.settle()


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
        found = _read(path)
        interrupted = _naming(found, path.parent)
        if interrupted is not None:
            interrupted.undo()
        mark = Claim(path, overwrite=overwrite, found=found)
        try:
            mark.note()
            yield mark
        finally:
            mark.end()


def is_replacing(path: Path) -> bool:
    """Whether the run of this mark, living or killed, may have begun to replace what was there before it."""
    if not path.exists():
        return False
    found = _read(path)
    return bool(found.get("overwrite")) or "naming" in found


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


def _read(path: Path) -> dict[str, Any]:
    """What a mark says; nothing where it is new, or was being written."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _naming(found: dict[str, Any], folder: Path) -> Exchange | None:
    try:
        return Exchange.from_dict(found["naming"], folder) if "naming" in found else None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
