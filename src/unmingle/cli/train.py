"""`unmingle train`: fit a recipe, or continue a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import Report as Bar
from unmingle.cli.console import emit, example, note, progress
from unmingle.cli.ending import KILLS

if TYPE_CHECKING:
    from types import FrameType

    from unmingle.training.keeper import Report
    from unmingle.training.trainer import TrainingResult
    from unmingle.training.validation import Validation

EXAMPLE = example(
    "unmingle train recipes/tdanet-libri2mix.yaml data.manifest=train.jsonl data.valid_manifest=dev.jsonl",
    "unmingle train recipes/tdanet-libri2mix.yaml data.manifest=train.jsonl training.lr=3e-4 --resume -o runs/second",
)


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML recipe, which may extend others.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top of the recipe, such as training.lr=3e-4."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="RUN_DIR", help="Run folder; runs/NAME unless given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder; begin one where there is none.")
    ] = False,
) -> None:
    """Train a model. The run folder holds the recipe, a log, checkpoints to resume from, and the weights."""
    from unmingle.training.recipe import load_recipe

    wanted = load_recipe(recipe, overrides or [])
    from unmingle.training.trainer import train as fit

    folder = output or Path("runs") / wanted.name
    with (
        _stop_on_signal() as told,
        progress(f"training {wanted.name}") as bar,
        progress("decoding", unit="/s") as decode,
    ):
        result = fit(wanted, folder, resume=resume, on_step=_shown(bar), on_decode=decode, stop=lambda: bool(told))
    if result.first:
        _close(result, told)


def _shown(bar: Bar) -> Callable[[Report], None]:
    """What to do after a step: move the bar, and say each validation once, terminal or not."""
    first: list[float] = []
    said: list[Validation | None] = [None]

    def show(report: Report) -> None:
        first[:] = first or [report.audio_seconds]
        done = report.audio_seconds - first[0]
        bar(done, report.audio_seconds / report.progress - first[0] if report.progress else None)
        if report.validation is not said[0]:
            said[0] = report.validation
            note(_line(report))

    return show


def _line(report: Report) -> str:
    standing, found = report.standing, report.validation
    words = [
        f"step {standing.step}",
        f"{standing.minutes:.1f} min",
        f"{report.audio_seconds / 3600:.2f} h of audio",
        f"loss {report.loss:.2f} dB",
    ]
    if found is not None:
        kinds = [("mixed", found.mixed), ("same", found.same)]
        known = ", ".join(f"{kind} gender {value:.2f}" for kind, value in kinds if value is not None)
        words.append(f"SI-SNRi {found.improvement:.2f} dB" + (f" ({known})" if known else ""))
    return "  ".join(words)


def _close(result: TrainingResult, told: Sequence[int]) -> None:
    run, standing = result.folder, result.standing
    if not result.finished:
        note(f"Stopped after step {standing.step}; continue with the same command and --resume -o {run.path}")
        raise typer.Exit(128 + (told[0] if told else signal.SIGINT))
    best = run.best if run.best.exists() else run.last
    emit(f"{best}" + (f"  SI-SNRi {standing.best:.2f} dB on validation" if best == run.best else ""))


@contextmanager
def _stop_on_signal() -> Generator[list[int]]:
    """Ctrl-C, a polite kill or a closed terminal ends the run after the step at hand, saved; a second Ctrl-C at once.

    Yields:
        The numbers of the signals that came.
    """
    told: list[int] = []
    parent = os.getpid()

    def listen(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != parent:  # a worker process that inherited this: Ctrl-C reaches it too, and is not for it
            if number != signal.SIGINT:
                os._exit(128 + number)
            return
        if told and number == signal.SIGINT:
            raise KeyboardInterrupt
        told.append(number)
        with suppress(OSError):  # of a terminal that is closed
            note("Stopping after this step; Ctrl-C to stop at once")

    # What `nohup` has ignored stays so; Ctrl-C is heard also where a shell in the background had it ignored.
    heard = [signal.SIGINT, *(number for number in KILLS if signal.getsignal(number) is not signal.SIG_IGN)]
    before = {number: signal.signal(number, listen) for number in heard}
    try:
        yield told
    except SystemExit as end:  # the training framework's answer to the second Ctrl-C
        if told:
            raise KeyboardInterrupt from end
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
