"""Ctrl-C that waits until a piece of work is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is unknown to Windows
Answer = TypeVar("Answer")


class Pauses:
    """While the `with` lasts, Ctrl-C counts in pauses alone; one that comes in between is kept for the next pause.

    A second Ctrl-C does not wait. Other ways of being told to end are treated alike where the program listens to them;
    nothing changes outside of the main thread, which no signal reaches.
    """

    def __init__(self) -> None:
        """Change nothing yet."""
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._heard: list[int] = []
        self._kept: list[int] = []
        self._paused = False

    def during(self, wait: Callable[[], Answer]) -> Answer:
        """Call `wait`, a pause.

        Raises:
            KeyboardInterrupt: one came now, or is kept from before.
        """
        self._paused = True
        try:
            while self._kept:
                number = self._kept.pop(0)
                self._before[number](number, None)
            return wait()
        finally:
            self._paused = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        impatient = number == signal.SIGINT and number in self._heard
        self._heard.append(number)
        if self._paused or impatient:
            self._before[number](number, frame)
        else:
            self._kept.append(number)

    def __enter__(self) -> Self:
        """Begin to keep."""
        if threading.current_thread() is threading.main_thread():
            for number in [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]:
                before = signal.getsignal(number)
                if callable(before):  # else it is ignored, or ends the process
                    self._before[number] = before
                    signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave signals as they were; what is kept is forgotten, since there is nothing left to end."""
        for number, before in self._before.items():
            signal.signal(number, before)
