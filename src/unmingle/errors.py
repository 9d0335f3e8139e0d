"""Every exception of the project, drawn as a tree.

    UnmingleError
    ├── SignalError          ValueError         samples nobody can separate: empty, NaN, absurd rate
    ├── ShapeError           ValueError         an array or tensor of the wrong shape
    ├── SampleRateError      ValueError         a network was given another rate than it wants
    ├── AudioReadError       ValueError         a file that is not audio, is damaged, or holds no sound
    ├── VideoReadError       ValueError         a file without picture, or with one that cannot be decoded
    ├── FaceError            ValueError         faces that nobody finds, or a file that does not describe any
    ├── MissingFileError     FileNotFoundError  a path that is not there
    ├── OutputExistsError    FileExistsError    would overwrite without being told to
    ├── OutputError          OSError            cannot write: permission, disk full
    ├── DeviceError          OSError            a microphone that is not there or cannot be used
    ├── UnknownModelError    LookupError        no bundled model or preset of that name
    ├── CheckpointError      ValueError         weights file damaged, foreign, or not fitting its model
    ├── ConfigError          ValueError         recipe or option with a wrong key, type or value
    ├── ManifestError        ValueError         a manifest line that cannot be used
    ├── MeasurementError     RuntimeError       the process that measures a network's cost died
    ├── ExportError          RuntimeError       a network has no exported form, or it gives something else than torch
    └── MissingExtraError    ImportError        an optional dependency is not installed

Each message says what came, what was wanted, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnmingleError(Exception):
    """Root of everything unmingle raises on purpose."""


class SignalError(UnmingleError, ValueError):
    """Samples that nobody can separate: none, NaN or infinite, or at an absurd rate."""


class ShapeError(UnmingleError, ValueError):
    """An array or tensor has the wrong shape."""


class SampleRateError(UnmingleError, ValueError):
    """A network was given a signal at another rate than it wants."""


class AudioReadError(UnmingleError, ValueError):
    """A file is not audio, is damaged, or holds no sound."""


class VideoReadError(UnmingleError, ValueError):
    """A file holds no picture, or one that cannot be decoded."""


class FaceError(UnmingleError, ValueError):
    """No face is found where one is needed, or a file does not describe faces."""


class MissingFileError(UnmingleError, FileNotFoundError):
    """A path is not there."""


class OutputExistsError(UnmingleError, FileExistsError):
    """Something would be overwritten without having been told to."""


class OutputError(UnmingleError, OSError):
    """Output cannot be written: no permission, no space."""


class DeviceError(UnmingleError, OSError):
    """A microphone, or the library that speaks to it, is not there or cannot be used."""


class UnknownModelError(UnmingleError, LookupError):
    """No bundled model, preset, file or hub repository has that name."""


class CheckpointError(UnmingleError, ValueError):
    """A weights file is damaged, foreign, or does not fit its model."""


class ConfigError(UnmingleError, ValueError):
    """A recipe or an option has a wrong key, type or value."""


class ManifestError(UnmingleError, ValueError):
    """A manifest or one of its lines cannot be used."""


class MeasurementError(UnmingleError, RuntimeError):
    """The process that measures what a network costs died before it answered."""


class ExportError(UnmingleError, RuntimeError):
    """A network cannot be exported, or what was exported does not give what the network gives."""


class MissingExtraError(UnmingleError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        """Name the package that is missing, the extra that brings it, and what it is for."""
        super().__init__(f"{purpose} needs {package}, which is not installed; run: pip install 'unmingle[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause such as `"; did you mean 'tdanet'?"`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    if not near:
        return ""
    return "; did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"
