"""What every command prints with: results to stdout, all else to stderr.

emit(text), emit_json(value), table(...)      stdout
note(text), warn(text), fail(text)            stderr
logged_warnings()                             what rooms below log, to stderr
interruptible(advice)                         how to go on after Ctrl-C, to stderr
misuse()                                      options that make no sense end with 2
progress(title) as report                     stderr, a bar once two seconds have passed
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer

from unmingle.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 2.0
Report = Callable[[float, float | None], None]


def example(*lines: str) -> str:
    """The epilog of a command's `--help`: one or more command lines that a test parses."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def emit(text: str) -> None:
    """Print a result."""
    typer.echo(_printable(text))


def emit_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print a result for machines."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    typer.echo(text if text == _printable(text) else json.dumps(value, indent=2, allow_nan=False))


def _printable(text: str) -> str:
    """The text without what no terminal takes: bytes of a file name that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def note(text: str) -> None:
    """Say something that is not a result."""
    typer.echo(_printable(text), err=True)


def warn(text: str) -> None:
    """Say something the user should look at although the work goes on."""
    note(f"Warning: {text}")


class _Warner(logging.Handler):
    """Shows what the rooms below log as a warning: a guess they had to make, a part they left out."""

    def emit(self, record: logging.LogRecord) -> None:
        warn(record.getMessage())


@contextmanager
def logged_warnings() -> Generator[None]:
    """While the body runs, warnings that the package logs go to stderr, looking like every other one."""
    logger, warner = logging.getLogger("unmingle"), _Warner(logging.WARNING)
    logger.addHandler(warner)
    try:
        yield
    finally:
        logger.removeHandler(warner)


@contextmanager
def interruptible(advice: str) -> Generator[None]:
    """When the body is interrupted, say how to go on before everything ends."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"Interrupted; {advice}")
        raise


@contextmanager
def misuse() -> Generator[None]:
    """What the body refuses came from the command line: an option that makes no sense, alone or beside others."""
    try:
        yield
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def fail(text: str) -> None:
    """Say what went wrong; the exit code is the caller's business."""
    note(f"Error: {text}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> str:
    """Plain aligned columns, never cut or wrapped, so that they survive a pipe.

    Args:
        header: names of the columns.
        rows: one sequence per line, as long as the header; `None` prints as a dash.
        right: indices of the columns of numbers, aligned to the right.
    """
    lines = [[str(cell) for cell in header], *[["-" if cell is None else str(cell) for cell in row] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


class _Bar:
    """A progress bar that appears only when the work has lasted two seconds, and only on a terminal."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit = title, unit
        self._started = monotonic()
        self._first: tuple[float, float] | None = None  # when was reported first, and how much was done by then
        self._wanted = sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def report(self, done: float, total: float | None) -> None:
        if not self._wanted:
            return
        now = monotonic()
        if self._first is None:  # what an earlier run has done says nothing about the speed of this one
            self._first = now, done
        if self._progress is None and now - self._started >= PATIENCE_SECONDS:
            self._show()
        if self._progress is not None and self._task is not None:
            since, before = self._first
            speed = (done - before) / max(now - since, 1e-9)
            left = "" if total is None or speed <= 0 else f"{_clock((total - done) / speed)} left"
            said = f"{speed:.1f} {self._unit}" if speed > 0 else ""
            self._progress.update(self._task, completed=done, total=total, speed=said, left=left)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
        )
        bar = Progress(*columns, console=Console(stderr=True), transient=True)
        bar.start()
        self._progress, self._task = bar, bar.add_task(self._title, total=None, speed="", left="")


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


@contextmanager
def progress(title: str, *, unit: str = "x real time") -> Generator[Report]:
    """Show how far a piece of work is, with its speed and the time left, once it lasts over two seconds.

    Args:
        title: what is being done, such as a file's name.
        unit: what `done` per second of wall time is called.

    Yields:
        A function of (done so far, total or None when unknown), both in the same unit.
    """
    bar = _Bar(title, unit)
    try:
        yield bar.report
    finally:
        bar.close()
