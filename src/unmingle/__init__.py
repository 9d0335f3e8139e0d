"""Separate people who talk at the same time: in a recording, in a live stream, in a video."""

from unmingle._version import __version__

__all__ = ["__version__"]
