"""Several files get their names together: in the end all new ones are there, or all old ones as they were.

    drafts -> on the disk -> old files get hidden backups -> drafts get their names -> backups go
                             any error: old files back, new ones gone

A backup is a second name of the old file, so that the first one never falls silent; where a file system knows no such
links the old file is renamed. A process that is killed between the renames leaves the backups: with what `to_dict` says
of the exchange, a later process can `undo` it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmingle.audio.temporary import sync, telling

Draft = tuple[Path, Path]
"""A file that is written, and the name that it shall get in the same file system."""

_Stamp = tuple[int, int]


@dataclass(frozen=True)
class Exchange:
    """Files that make room for new ones, and these.

    Attributes:
        stamps: size and time (ns) of every new file, by its target: somebody else's file of that name is not undone.
        replaced: the files that were there under these names, and those that are outdated.
    """

    stamps: Mapping[Path, _Stamp]
    replaced: Sequence[Path]

    @classmethod
    def plan(cls, drafts: Sequence[Draft], *, outdated: Sequence[Path] = ()) -> Exchange:
        """See to it that the drafts are on the disk, and what they replace; no name changes.

        Args:
            drafts: new files.
            outdated: files that shall be gone when the new ones are there.

        Raises:
            OutputError: the disk failed.
        """
        stamps: dict[Path, _Stamp] = {}
        for draft, target in drafts:
            with telling(target):
                sync(draft)
                stamps[target] = _stamp(draft)
        replaced = [path for path in dict.fromkeys([*stamps, *outdated]) if _is_there(path)]
        for path in replaced:
            with telling(path):
                _backup(path).unlink(missing_ok=True)  # of a process that was killed when all was done
        return cls(stamps, replaced)

    def carry_out(self, drafts: Sequence[Draft]) -> None:
        """Rename the drafts, in their order, and hide what they replace; `settle` removes it.

        Raises:
            OutputError: a file cannot get its name; all is as it was.
        """
        try:
            for path in self.replaced:
                with telling(path):
                    _back_up(path)
            for draft, target in drafts:
                with telling(target):
                    draft.replace(target)
            for path in self.replaced:
                if path not in self.stamps:
                    with telling(path):
                        path.unlink(missing_ok=True)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Put the old files back and remove the new ones, however far it had come; again does nothing.

        Raises:
            OutputError: the disk failed.
        """
        for path in dict.fromkeys([*self.replaced, *self.stamps]):
            with telling(path):
                if path not in self.replaced:
                    if self._is_new(path):
                        path.unlink()
                elif _is_there(backup := _backup(path)):
                    self._put_back(backup, path)

    def settle(self) -> None:
        """Remove the backups: the new files stay."""
        for path in self.replaced:
            with suppress(OSError):
                _backup(path).unlink(missing_ok=True)

    def to_dict(self) -> dict[str, Any]:
        """As values that JSON can hold; files without their folder, which they share."""
        return {
            "stamps": {path.name: list(stamp) for path, stamp in self.stamps.items()},
            "replaced": [path.name for path in self.replaced],
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any], folder: Path) -> Exchange:
        """What `to_dict` described.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: it describes none.
        """
        stamps = {folder / Path(name).name: (int(size), int(time)) for name, (size, time) in said["stamps"].items()}
        return cls(stamps, [folder / Path(name).name for name in said["replaced"]])

    def _is_new(self, path: Path) -> bool:
        return _is_there(path) and _stamp(path) == self.stamps.get(path)

    def _put_back(self, backup: Path, path: Path) -> None:
        if not _is_there(path) or self._is_new(path) or path.samefile(backup):
            backup.replace(path)
        backup.unlink(missing_ok=True)  # renaming does nothing where both are names of one file


def rename_together(drafts: Sequence[Draft]) -> None:
    """Give all drafts their names, or none; files that have them already are replaced.

    Raises:
        OutputError: a file cannot get its name.
    """
    exchange = Exchange.plan(drafts)
    exchange.carry_out(drafts)
    exchange.settle()


def _back_up(path: Path) -> None:
    if not path.is_symlink():  # a second name of a link is not the same thing everywhere
        with suppress(OSError):
            os.link(path, _backup(path))
            return
    path.replace(_backup(path))


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}.before")


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _stamp(path: Path) -> _Stamp:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns
