"""Temporary files: how a file appears whole or not at all, and what a killed process left behind.

How several files appear together is in `renaming.py`.

Files in use are told apart from those left behind: a process holds a lock on its own.

The system takes the lock away when the process ends, however it ends. Where there are no locks (Windows), a file that
is open cannot be removed, which serves as well.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from unmingle.errors import OutputError, UnmingleError

try:
    import fcntl as _fcntl
except ImportError:
    locks: ModuleType | None = None
else:
    locks = _fcntl

_PREFIX, SUFFIX = ".unmingle-", ".tmp"


class Hold:
    """A file that this process uses; created empty when it is not there.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        """Lock the file.

        Raises:
            BlockingIOError: another process, or another part of this one, holds it.
            OSError: it cannot be made.
        """
        self.path = path
        self._descriptor = _locked(path)

    def release(self) -> None:
        """Let go of the file, wherever it is by now; again does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def hold_temporary(folder: Path) -> Hold:
    """A new hidden file in a folder, held, which `sweep` removes once its process is gone.

    Raises:
        OSError: the folder cannot be written.
    """
    while True:
        with suppress(BlockingIOError):  # a sweep was faster; the next name is another one
            return Hold(folder / f"{_PREFIX}{secrets.token_hex(6)}{SUFFIX}")


@contextmanager
def whole(path: Path, *, make_folder: bool = False) -> Generator[Path]:
    """A hidden file for the body to write, which takes its place as `path` at a clean end, and goes at any other.

    What is on the disk under that name is the old file or the new one, whatever happens to the process or the machine.

    Args:
        path: what the file shall be called; one that is there is replaced.
        make_folder: make its folder where there is none.

    Raises:
        OutputError: it cannot be written.
    """
    with telling(path):
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        with hidden(path.parent) as draft:
            yield draft
            sync(draft)
            draft.replace(path)


@contextmanager
def hidden(folder: Path) -> Generator[Path]:
    """A hidden file for the body to write and to rename; in the end it is gone, unless it has another name.

    Raises:
        OSError: the folder cannot be written.
    """
    hold = hold_temporary(folder)
    try:
        yield hold.path
    finally:
        hold.path.unlink(missing_ok=True)
        hold.release()


def sync(path: Path) -> None:
    """See to it that a file is on the disk, whatever happens to the machine.

    Raises:
        OSError: the disk failed.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def telling(path: Path) -> Generator[None]:
    """Say what it means that writing a file fails.

    Raises:
        OutputError: the body met an error of the system.
    """
    try:
        yield
    except UnmingleError:
        raise
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); is the disk full, or the folder read-only?"
        ) from error


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes are gone; what cannot be removed stays."""
    for path in folder.glob(f"{_PREFIX}*{SUFFIX}"):
        with suppress(OSError):
            descriptor = _locked(path)
            if descriptor is not None:
                path.unlink()
                os.close(descriptor)
            elif locks is None:
                path.unlink()


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock; None where files cannot be locked."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        if locks is None:
            os.close(descriptor)
            return None
        try:
            locks.flock(descriptor, locks.LOCK_EX | locks.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # it was swept away before it was locked
