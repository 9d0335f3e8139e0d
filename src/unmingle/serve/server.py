"""Sockets, signals, and a tidy end."""

from __future__ import annotations

import asyncio
import signal
import socket
from asyncio import BaseTransport
from collections.abc import Callable
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from unmingle.errors import ConfigError
from unmingle.serve.app import make_app
from unmingle.serve.service import Service
from unmingle.serve.settings import ServeSettings

_FAREWELL_SECONDS = 2.0  # for a client to answer the close of a stream
_LEAVE_SECONDS = 5  # for answers that are still on their way when all work is done


def bind(settings: ServeSettings) -> socket.socket:
    """A socket that listens where the settings say.

    Raises:
        ConfigError: it cannot: the port is taken or not allowed, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {settings.host}:{settings.port} ({error.strerror or error}); choose another --port, or "
            "0 for any free one"
        ) from error


def address(listening: socket.socket, settings: ServeSettings) -> str:
    """Where a browser finds the page."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listening.getsockname()[1]}/"


class Server(uvicorn.Server):
    """uvicorn, which on the first signal finishes what was accepted, and on the second does not."""

    def __init__(self, service: Service, *, on_end: Callable[[], None] = lambda: None) -> None:
        """Put a service on the wire; `on_end` is called when it begins to finish."""
        super().__init__(_config(service))
        self._service, self._on_end = service, on_end

    async def main_loop(self) -> None:
        """Serve, and at the end go on serving until what was accepted is finished."""
        hang_up = getattr(signal, "SIGHUP", None)
        if hang_up is not None and signal.getsignal(hang_up) not in (signal.SIG_IGN, signal.SIG_DFL):
            asyncio.get_running_loop().add_signal_handler(hang_up, self.handle_exit, hang_up, None)
        await super().main_loop()
        self._on_end()
        await self._service.finish(hurry=lambda: self.force_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Ctrl-C, or a polite kill; not handed on after the end, since a server that was told to end has done well."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _config(service: Service) -> uvicorn.Config:
    settings = service.settings

    class Http(H11Protocol):
        """Hangs up on whoever connects and asks for nothing, or asks and does not read the answer."""

        _stuck: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.loop.call_later(settings.idle_seconds, self._hang_up)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self.loop.call_later(settings.idle_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stuck is not None:
                self._stuck.cancel()

        def _hang_up(self) -> None:
            asked = self.cycle is not None  # pyright: ignore[reportUnnecessaryComparison]
            if not asked and self.transport.get_protocol() is self:
                self.transport.close()

    class WebSockets(WebSocketsSansIOProtocol):
        """Does not wait without end for a client that reads nothing, not even the close."""

        def connection_made(self, transport: BaseTransport) -> None:
            super().connection_made(transport)
            self.close_timeout = _FAREWELL_SECONDS

        def on_task_complete(self, task: asyncio.Task[None]) -> None:
            super().on_task_complete(task)
            self.loop.call_later(self.close_timeout, self.transport.abort)

    return uvicorn.Config(
        make_app(service),
        http=Http,
        ws=WebSockets,
        ws_max_size=4 << 20,  # above it the protocol hangs up; below, the session says what is too large
        ws_per_message_deflate=False,  # samples do not compress
        ws_ping_interval=None,  # sessions have an idle limit; an answer to a ping may wait behind sound held back
        lifespan="off",
        log_config=None,
        access_log=False,  # addresses may hold a token
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_LEAVE_SECONDS,
    )
