"""Being told to end: a polite kill and a closed terminal end the work as tidily as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

KILLS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""A polite kill and a closed terminal, which is unknown to Windows."""


@contextmanager
def tidy_end() -> Generator[list[int]]:
    """While the body runs, the first SIGTERM or SIGHUP raises KeyboardInterrupt; later ones let it finish.

    A signal that is ignored already, as `nohup` does, stays ignored.

    Yields:
        The numbers of the signals that came.
    """
    told: list[int] = []
    owner = os.getpid()

    def listen(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked child inherited this: it has nothing to tidy, and its parent waits for it
            os._exit(128 + number)
        told.append(number)
        if len(told) == 1:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in KILLS}
    heard = [number for number, handler in before.items() if handler is signal.SIG_DFL and _in_main_thread()]
    for number in heard:
        signal.signal(number, listen)
    try:
        yield told
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
