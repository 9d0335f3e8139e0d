"""`unmingle`: the commands, one line each, and what happens when one of them fails.

Exit codes: 0 done; 1 an error of ours (one message, no traceback); 2 misuse; 130 interrupted by Ctrl-C, 143 by a kill,
129 by a closed terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from unmingle._version import __version__
from unmingle.cli import data, doctor, evaluate, export, faces, import_, models, profile, separate, serve, stream, train
from unmingle.cli.console import emit, example, fail, logged_warnings
from unmingle.cli.ending import tidy_end
from unmingle.errors import UnmingleError

app = typer.Typer(
    name="unmingle",
    help="Separate people who talk at the same time: in a recording, in a live stream, in a video.",
    epilog=example("unmingle separate meeting.m4a"),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: a third of the start-up time, and it survives a pipe
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The commands, one line each: app.command(NAME, epilog=module.EXAMPLE)(module.function) or app.add_typer(...).
app.command("separate", epilog=separate.EXAMPLE)(separate.separate)
app.command("faces", epilog=faces.EXAMPLE, short_help="Say who is seen when in a video.")(faces.faces)
app.command("stream", epilog=stream.EXAMPLE, short_help="Separate live sound while it is heard.")(stream.stream)
app.command("serve", epilog=serve.EXAMPLE, short_help="Separate for browsers and other programs.")(serve.serve)
app.command("ui", epilog=serve.UI_EXAMPLE, short_help="Separate on a page of this machine.")(serve.ui)
app.command("train", epilog=train.EXAMPLE)(train.train)
app.command("import", epilog=import_.EXAMPLE)(import_.import_command)
app.add_typer(models.models, name="models", epilog=models.EXAMPLE)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("export", epilog=export.EXAMPLE, short_help="Write a network as an ONNX graph.")(export.export)
app.command("profile", epilog=profile.EXAMPLE)(profile.profile)
app.add_typer(data.data, name="data", epilog=data.EXAMPLE)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        emit(f"unmingle {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: the words after `unmingle`; without them, those of this process.
    """
    with logged_warnings(), tidy_end() as told:
        code = _run(arguments)
    return 128 + told[0] if told and code == _INTERRUPTED else code


_INTERRUPTED = 130


def _run(arguments: Sequence[str] | None) -> int:
    try:
        app(list(arguments) if arguments is not None else None, prog_name="unmingle")
    except (UnmingleError, OSError, MemoryError) as error:  # the system's own refusals name the file and the reason
        fail(str(error) or "not enough memory")
        return 1
    except SystemExit as stop:  # typer's own ends: help, misuse (2), interruption (130), a closed pipe
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return 0


if __name__ == "__main__":
    sys.exit(main())
