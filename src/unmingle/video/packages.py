"""The packages of the `video` extra, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from unmingle.errors import MissingExtraError


def opencv() -> ModuleType:
    """OpenCV, which scales, turns and draws pictures.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _load("cv2", "opencv-python-headless")


def litert() -> ModuleType:
    """The interpreter of the face networks.

    Raises:
        MissingExtraError: it is not installed.
    """
    return _load("ai_edge_litert.interpreter", "ai-edge-litert")


def _load(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(package, extra="video", purpose="finding faces") from error
