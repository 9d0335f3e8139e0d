"""Separate people who talk at the same time: in a recording, in a live stream, in a video."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from unmingle._version import __version__

if TYPE_CHECKING:
    from unmingle.inference.handle import Model, ModelEntry, list_models, load_model
    from unmingle.inference.offline import Separation, separate, separate_file
    from unmingle.inference.report import SeparationOptions
    from unmingle.inference.stream import Stream

__all__ = [
    "Model",
    "ModelEntry",
    "Separation",
    "SeparationOptions",
    "Stream",
    "__version__",
    "list_models",
    "load_model",
    "separate",
    "separate_file",
]

_ROOMS = {
    "Model": "unmingle.inference.handle",
    "ModelEntry": "unmingle.inference.handle",
    "list_models": "unmingle.inference.handle",
    "load_model": "unmingle.inference.handle",
    "Separation": "unmingle.inference.offline",
    "separate": "unmingle.inference.offline",
    "separate_file": "unmingle.inference.offline",
    "SeparationOptions": "unmingle.inference.report",
    "Stream": "unmingle.inference.stream",
}


def __getattr__(name: str) -> object:
    """Import a promised name when it is first used, so that `import unmingle` costs nothing."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    """The promised names."""
    return sorted(__all__)
