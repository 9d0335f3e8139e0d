"""Levels of live voices in the terminal: one line on stderr that is written over and over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmingle.audio.framing import Samples

REFRESH_SECONDS = 0.2
_LOWEST_DBFS, _WIDTH = -60.0, 20


@contextmanager
def meters(n_src: int, sample_rate: int, *, wanted: bool | None = None) -> Generator[Callable[[Samples], None]]:
    """Show the level of each voice while the body runs.

    Args:
        n_src: voices.
        sample_rate: Hz.
        wanted: None is only where stderr is a terminal.

    Yields:
        A function that takes every (n_src, time) that comes out.
    """
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda _out: None
        return
    from unmingle.audio.levels import power_dbfs

    powers, heard = [0.0] * n_src, 0

    def watch(out: Samples) -> None:
        nonlocal powers, heard
        powers = [power + float((track**2).sum()) for power, track in zip(powers, out, strict=True)]
        heard += out.shape[1]
        if heard >= REFRESH_SECONDS * sample_rate:
            _draw([power_dbfs(power / heard) for power in powers])
            powers, heard = [0.0] * n_src, 0

    try:
        yield watch
    finally:
        sys.stderr.write("\r\x1b[K")  # the line is gone, as if it had not been


def _draw(levels: list[float]) -> None:
    bars = [f"{number} {_bar(level)} {level:5.0f} dBFS" for number, level in enumerate(levels, start=1)]
    sys.stderr.write("\r" + "   ".join(bars))
    sys.stderr.flush()


def _bar(level: float) -> str:
    filled = round(_WIDTH * min(1.0, max(0.0, 1 - level / _LOWEST_DBFS)))
    return "#" * filled + "-" * (_WIDTH - filled)
