"""What every request of one server shares: models, limits, counts, threads, and whether it is going down."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from unmingle._version import __version__
from unmingle.inference.handle import Model
from unmingle.inference.stream import Stream
from unmingle.serve.access import SUBPROTOCOL, Access
from unmingle.serve.hello import LATER, OUR_FAULT, POLICY, RESTART, StreamRefusedError
from unmingle.serve.metrics import Metrics
from unmingle.serve.separations import Separations
from unmingle.serve.session import Session, refuse
from unmingle.serve.settings import ServeSettings

_WARM_UP_STEPS = 10  # the first ones pay for allocation and the choice of kernels
_TICK_SECONDS = 0.02


class Service:
    """One server's inside; the addresses in `app.py` only call it."""

    def __init__(self, settings: ServeSettings, model: Model, stream_model: Model | None) -> None:
        """Load the networks and make the folder of results.

        Args:
            settings: limits, and the token.
            model: separates recordings.
            stream_model: separates live sound; None: nothing does.

        Raises:
            ConfigError: `stream_model` does not stream.
            CheckpointError: weights are damaged.
        """
        self.settings, self.model, self.stream_model = settings, model, stream_model
        self.access, self.metrics = Access(settings), Metrics()
        self._sessions: set[Session] = set()
        self.closing = False
        _warm_up(model, stream_model, settings)
        self._folder = Path(tempfile.mkdtemp(prefix="unmingle-serve-"))
        self.separations = Separations(model, settings, self.metrics, self._folder)
        self._threads = ThreadPoolExecutor(settings.n_stream_threads, thread_name_prefix="stream")
        self.metrics.gauge("streams_open", "Live streams now.", lambda: float(len(self._sessions)))

    async def stream(self, socket: WebSocket) -> None:
        """Serve one live stream, or say why not."""
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        refusal = self._stream_refusal(socket)
        if refusal is not None or self.stream_model is None:
            await refuse(socket, refusal or StreamRefusedError(OUR_FAULT, self.streaming_off), self.metrics)
            return
        session = Session(socket, self.stream_model, self.settings, self.metrics, self._threads)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    @property
    def streaming_off(self) -> str:
        """Why there are no live streams, where there are none."""
        return (
            "this server does not stream, since no model that streams is bundled and none was named; start it with "
            "--stream-model NAME or PATH"
        )

    def _stream_refusal(self, socket: WebSocket) -> StreamRefusedError | None:
        denied = self.access.refusal(socket.scope)
        if denied is not None:
            return StreamRefusedError(POLICY, denied.message)
        if self.closing:
            return StreamRefusedError(RESTART, "the server is going down and takes nothing new; come back later")
        if self.stream_model is not None and len(self._sessions) >= self.settings.max_streams:
            return StreamRefusedError(
                LATER, f"{len(self._sessions)} streams are open, which is all that this server takes; try again later"
            )
        return None

    def describe(self) -> dict[str, Any]:
        """The models that are served, and the limits."""
        settings = self.settings
        models = [_about(self.model, "separate")]
        if self.stream_model is not None:
            models.append(_about(self.stream_model, "stream"))
        return {
            "version": __version__,
            "models": models,
            "streaming": self.stream_model.name if self.stream_model else None,
            "streaming_off": None if self.stream_model else self.streaming_off,
            "limits": {
                "upload_bytes": settings.max_upload_bytes,
                "sound_seconds": settings.max_sound_seconds,
                "streams": settings.max_streams,
                "separations": settings.n_separations + settings.max_waiting,
                "keep_seconds": settings.keep_seconds,
                "idle_seconds": settings.idle_seconds,
            },
        }

    async def finish(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Take nothing new and finish what was accepted, as long as that may take.

        Args:
            hurry: whether somebody has lost patience.
        """
        self.closing = True
        self.separations.refuse_more()
        for session in list(self._sessions):
            session.end()
        patience = time.monotonic() + self.settings.grace_seconds
        while (self._sessions or self.separations.busy) and time.monotonic() < patience and not hurry():
            await asyncio.sleep(_TICK_SECONDS)
        self.separations.give_up()

    def close(self) -> None:
        """Give up what is left, and remove every file."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.separations.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _warm_up(model: Model, stream_model: Model | None, settings: ServeSettings) -> None:
    model.run(np.zeros((1, model.sample_rate), np.float32))
    if stream_model is not None:
        stream = Stream(stream_model, sample_rate=stream_model.sample_rate, hops=settings.hops)
        for _ in range(_WARM_UP_STEPS):
            stream.push(np.zeros(stream.block_samples, np.float32))


def _about(model: Model, serves: str) -> dict[str, Any]:
    card = model.card
    return {
        "name": model.name,
        "serves": serves,
        "family": model.config.family,
        "sample_rate": model.sample_rate,
        "n_src": model.n_src,
        "causal": model.causal,
        "latency_seconds": model.latency_seconds,
        "parameters": card.parameters if card else None,
        "licence": (card.licence or None) if card else None,
    }
