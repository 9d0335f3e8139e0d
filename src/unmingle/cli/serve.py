"""`unmingle serve`: separation over HTTP and WebSocket, for programs and browsers. `unmingle ui`: its page alone."""

from __future__ import annotations

import math
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import emit, example, misuse, note
from unmingle.errors import MissingExtraError, UnknownModelError

if TYPE_CHECKING:
    from unmingle.inference.handle import Model
    from unmingle.serve.settings import ServeSettings

EXAMPLE = example(
    "unmingle serve",
    "unmingle serve --stream-model streaming.safetensors --port 0",
    "unmingle serve --host 0.0.0.0 --token new --streams 2",
)
UI_EXAMPLE = example("unmingle ui")
_PACKAGES = ("fastapi", "uvicorn", "websockets", "python_multipart")
_NEW = "new"
_ENDING = "finishing what was accepted; a second Ctrl-C ends at once"

ForRecordings = Annotated[str | None, typer.Option("--model", "-m", help="Name or path of the model for recordings.")]
ForStreams = Annotated[
    str | None,
    typer.Option("--stream-model", help="Name or path of the model for live sound [default: a bundled one]."),
]
Device = Annotated[str, typer.Option("--device", help="Where the networks run: cpu, cuda, cuda:1 ...")]


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen at; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="UNMINGLE_TOKEN",
            help="What clients have to show; `new` makes one and prints it. Needed at other addresses than loopback.",
        ),
    ] = None,
    model: ForRecordings = None,
    stream_model: ForStreams = None,
    device: Device = "cpu",
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Processor threads of one separation or stream.")
    ] = 1,
    hops: Annotated[
        int, typer.Option("--hops", min=1, help="Hops of a stream's network at a time: more is cheaper, and later.")
    ] = 2,
    streams: Annotated[
        int | None, typer.Option("--streams", min=1, help="Live streams at the same time [default: two per core].")
    ] = None,
    separations: Annotated[
        int, typer.Option("--separations", min=1, help="Recordings separated at the same time.")
    ] = 1,
    waiting: Annotated[int, typer.Option("--waiting", min=0, help="Recordings that may wait beyond those.")] = 4,
    max_upload_mb: Annotated[float, typer.Option("--max-upload-mb", help="Largest upload, in megabytes.")] = 500.0,
    max_minutes: Annotated[float, typer.Option("--max-minutes", help="Longest recording, in minutes.")] = 120.0,
    keep_minutes: Annotated[
        float, typer.Option("--keep-minutes", help="How long tracks can be fetched, in minutes.")
    ] = 10.0,
    kept: Annotated[int, typer.Option("--kept", min=1, help="Results on the disk at the same time.")] = 16,
    queue_seconds: Annotated[
        float, typer.Option("--queue-seconds", help="Sound of one stream that may wait to be separated.")
    ] = 0.5,
    idle_seconds: Annotated[
        float, typer.Option("--idle-seconds", help="How long a client may say nothing, or read nothing.")
    ] = 60.0,
    grace_seconds: Annotated[
        float, typer.Option("--grace-seconds", help="How long accepted work may go on after Ctrl-C.")
    ] = 30.0,
) -> None:
    """Serve separation over HTTP and WebSocket, with a page for the browser.

    POST /v1/separate takes a recording, WS /v1/stream live sound; GET /v1/models, /healthz and /metrics tell about the
    server. The page at / uses both. The address goes to stdout, all else to stderr. Ctrl-C or a polite kill takes
    nothing new and finishes what was accepted; a second one does not.
    """
    _require_packages()
    from unmingle.serve.settings import STREAMS_PER_CORE, ServeSettings, n_cores, new_token

    with misuse():
        settings = ServeSettings(
            host=host,
            port=port,
            token=new_token() if token == _NEW else token or None,
            max_upload_bytes=_bytes(max_upload_mb),
            max_sound_seconds=60.0 * max_minutes,
            n_separations=separations,
            max_waiting=waiting,
            keep_seconds=60.0 * keep_minutes,
            max_kept=kept,
            max_streams=streams or STREAMS_PER_CORE * n_cores(),
            hops=hops,
            queue_seconds=queue_seconds,
            idle_seconds=idle_seconds,
            grace_seconds=grace_seconds,
        )
    _run(settings, *_models(model, stream_model, device, threads), show_token=token == _NEW)


def _bytes(megabytes: float) -> int:
    if not math.isfinite(megabytes):
        raise typer.BadParameter(f"got {megabytes}; wanted a number", param_hint="--max-upload-mb")
    return round(1e6 * megabytes)


def _require_packages() -> None:
    for name in _PACKAGES:
        if find_spec(name) is None:
            raise MissingExtraError(name.replace("_", "-"), extra="serve", purpose="a server")


def _models(model: str | None, stream_model: str | None, device: str, threads: int) -> tuple[Model, Model | None]:
    """The model for recordings, and the one for live sound, if there is one."""
    from unmingle.cli.stream import choose_model as choose_streaming
    from unmingle.inference.jobs import choose_model

    chosen = choose_model(model, device=device).with_threads(threads)
    try:
        return chosen, choose_streaming(stream_model, device=device).with_threads(threads)
    except UnknownModelError:
        if stream_model is not None:
            raise
        return chosen, None


def ui(
    model: ForRecordings = None,
    stream_model: ForStreams = None,
    device: Device = "cpu",
    port: Annotated[int, typer.Option("--port", help="Port of the page; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Open a page on this machine: drop a recording, listen, compare, download; or speak into the microphone.

    It is the page of `unmingle serve`, for this machine alone; nothing leaves it. Ctrl-C ends it.
    """
    _require_packages()
    from unmingle.serve.settings import ServeSettings, n_cores

    _run(ServeSettings(port=port), *_models(model, stream_model, device, n_cores()), open_page=browser)


def _run(
    settings: ServeSettings,
    model: Model,
    stream_model: Model | None,
    *,
    show_token: bool = False,
    open_page: bool = False,
) -> None:
    import webbrowser

    from unmingle.serve.server import Server, address, bind
    from unmingle.serve.service import Service

    with bind(settings) as listening, closing(Service(settings, model, stream_model)) as service:
        note(f"recordings: {model.name}; live sound: {stream_model.name if stream_model else service.streaming_off}")
        emit(address(listening, settings) + (f"#token={settings.token}" if show_token else ""))
        opened = open_page and webbrowser.open(address(listening, settings))  # which waits for the server to begin
        note("Ctrl-C ends the server" if opened else "open this address in a browser; Ctrl-C ends the server")
        Server(service, on_end=lambda: note(_ENDING)).run(sockets=[listening])
    note("the server has ended")
