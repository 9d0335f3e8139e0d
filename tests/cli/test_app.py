"""The frame: help, exit codes, errors, examples, and how fast it starts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
import typer.main

from unmingle.cli.app import app, main
from unmingle.cli.ending import tidy_end
from unmingle.errors import SignalError


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


TREE = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_help_ends_with_an_example_that_parses(path: tuple[str, ...], cli: Callable[..., Any]) -> None:
    shown = cli(*path, "--help")
    assert shown.code == 0
    examples = shown.out.split("Example:\n")[1].strip().splitlines()
    for line in examples:
        program, *words = shlex.split(line)
        assert program == "unmingle"
        parse(words)


@pytest.mark.parametrize("path", [path for path in TREE if hasattr(TREE[path], "commands")], ids=" ".join)
def test_no_summary_in_a_list_of_commands_is_cut(path: tuple[str, ...], cli: Callable[..., Any]) -> None:
    listed = cli(*path, "--help").out.split("Commands:\n")[1].split("\n\n")[0]
    assert "..." not in listed


def parse(words: list[str]) -> None:
    """Parse a command line down to its command, without running it; misuse raises."""
    command = TREE[()]
    context = command.make_context("unmingle", list(words))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)


def test_parsing_an_example_can_fail() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["separate", "--nonsense", "a.wav"])
    with pytest.raises(Exception, match="No such command"):
        parse(["nonsense"])


@pytest.mark.parametrize("path", [path for path in TREE if not hasattr(TREE[path], "commands")], ids=" ".join)
def test_a_wrong_option_is_misuse(path: tuple[str, ...], cli: Callable[..., Any]) -> None:
    ran = cli(*path, "--nonsense")
    assert ran.code == 2
    assert "No such option: --nonsense" in ran.err
    assert ran.out == ""


def test_no_command_shows_the_help_and_is_misuse(cli: Callable[..., Any]) -> None:
    ran = cli()
    assert ran.code == 2
    assert "separate" in ran.out + ran.err


def test_the_version_is_printed(cli: Callable[..., Any]) -> None:
    assert cli("--version").out.startswith("unmingle 0.")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException], None]]:
    """Give the app a command that raises what the test likes."""
    registered = list(app.registered_commands)
    raised: list[BaseException] = []

    @app.command("broken")
    def _broken() -> None:  # pyright: ignore[reportUnusedFunction]
        raise raised[0]

    yield raised.append
    app.registered_commands = registered


def test_our_errors_are_one_message_without_a_traceback(
    broken: Callable[[BaseException], None], cli: Callable[..., Any]
) -> None:
    broken(SignalError("the recording is silent"))
    assert cli("broken") == (1, "", "Error: the recording is silent\n")


@pytest.mark.parametrize(
    ("error", "words"), [(MemoryError(), "not enough memory"), (MemoryError("too long"), "too long")]
)
def test_too_little_memory_is_one_message(
    broken: Callable[[BaseException], None], cli: Callable[..., Any], error: MemoryError, words: str
) -> None:
    broken(error)
    assert cli("broken") == (1, "", f"Error: {words}\n")


def test_an_interruption_exits_with_130(broken: Callable[[BaseException], None], cli: Callable[..., Any]) -> None:
    broken(KeyboardInterrupt())
    ran = cli("broken")
    assert ran.code == 130
    assert "Traceback" not in ran.err


def test_a_mistake_of_ours_is_not_hidden(broken: Callable[[BaseException], None]) -> None:
    broken(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["broken"])


def run_python(code: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **more)


def test_help_imports_nothing_heavy() -> None:
    heavy = (
        "'torch', 'numpy', 'rich', 'av', 'soundfile', 'matplotlib', 'yaml', 'lightning', 'lhotse', 'huggingface_hub'"
    )
    ran = run_python(
        f"import sys; from unmingle.cli.app import main; code = main(['--help'])\n"
        f"print([name for name in ({heavy}) if name in sys.modules], code)"
    )
    assert ran.stdout.endswith("[] 0\n"), ran.stdout + ran.stderr


def test_help_answers_in_under_three_tenths_of_a_second() -> None:
    # Processor time, the least of several: other programs on the machine make wall time useless.
    code = "from unmingle.cli.app import main; main(['--help']); import time; print(time.process_time())"
    seconds = min(float(run_python(code).stdout.splitlines()[-1]) for _ in range(3))
    assert seconds < 0.3


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from unmingle.cli.app import main; sys.exit(main(['models', 'list', '--json']))"
    ran = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert ran.stderr == ""


def test_a_refusal_of_the_system_is_one_message(cli: Callable[..., Any]) -> None:
    ran = cli("separate", "a" * 5000)
    assert ran.code == 1
    assert "File name too long" in ran.err
    assert "Traceback" not in ran.err


def test_the_package_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "unmingle", "--version"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("unmingle 0.")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with tidy_end() as told:
            os.kill(os.getpid(), signal.SIGHUP)
        assert told == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
