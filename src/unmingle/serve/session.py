"""One connection, one `Stream`: a listener that fills a queue, a worker that empties it through the network.

    socket -> listen -> Waiting -> a thread: decode, push, encode -> socket

A client that does not read stops the worker, then the queue, then the listener: nothing grows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from unmingle.audio.levels import silenced
from unmingle.audio.pcm import decode, encode, sample_bytes
from unmingle.inference.handle import Model
from unmingle.inference.stream import Stream
from unmingle.serve.hello import (
    BAD_DATA,
    OUR_FAULT,
    POLICY,
    RESTART,
    TOO_BIG,
    UNSUPPORTED,
    Hello,
    StreamRefusedError,
    parse_command,
    parse_hello,
)
from unmingle.serve.metrics import Metrics
from unmingle.serve.settings import ServeSettings
from unmingle.serve.waiting import End, Gap, Item, Waiting

LARGEST_FRAME = 1 << 20
"""Bytes of one binary message."""

_PIECE_SECONDS = 0.1  # sound that is separated at once, at most: other streams get their turn in between
_LONGEST_REASON = 120  # bytes of a close frame's reason
_log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(eq=False)
class Session:
    """A live stream of one client, from the hello to the close."""

    socket: WebSocket
    model: Model
    settings: ServeSettings
    metrics: Metrics
    threads: Executor
    _ending: bool = field(default=False, init=False)
    _patience: asyncio.Timeout | None = field(default=None, init=False)

    async def run(self) -> None:
        """Serve until either side ends; what goes wrong is said as JSON, then as a close code."""
        try:
            await self._serve()
        except StreamRefusedError as refusal:
            await refuse(self.socket, refusal, self.metrics)
        except WebSocketDisconnect:
            pass
        except Exception:
            _log.error("a live stream failed\n%s", traceback.format_exc())
            fault = StreamRefusedError(OUR_FAULT, "the server failed at this stream; its log says why")
            await refuse(self.socket, fault, self.metrics)

    def end(self) -> None:
        """Finish what was received, then close: the server goes down."""
        self._ending = True
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(0.0)

    async def _serve(self) -> None:
        hello = parse_hello(await self._first_text(), n_src=self.model.n_src)
        stream = await self._in_thread(
            lambda: Stream(self.model, sample_rate=hello.sample_rate, hops=self.settings.hops)
        )
        live = _Live(stream, hello, self.metrics)
        waiting = Waiting(
            width=live.width,
            limit=round(self.settings.queue_seconds * hello.sample_rate),
            piece=max(stream.block_samples, round(_PIECE_SECONDS * hello.sample_rate)),
            when_late=hello.when_late,
        )
        await self._say(self._welcome(hello, stream))
        self.metrics.count("streams_total")
        await self._both(live, waiting)

    async def _both(self, live: _Live, waiting: Waiting) -> None:
        """Listen and work at the same time; the first that ends for whatever reason ends the other."""
        listener = asyncio.create_task(self._listen(live, waiting))
        worker = asyncio.create_task(self._work(live, waiting))
        try:
            await asyncio.wait({listener, worker}, return_when=asyncio.FIRST_COMPLETED)
            if listener.done() and listener.exception() is None:
                await worker  # told to end: the listener has put the End behind all else
        finally:
            for task in (listener, worker):
                task.cancel()
            await asyncio.wait({listener, worker})
        for error in [task.exception() for task in (listener, worker) if not task.cancelled()]:
            if error is not None:
                raise error

    async def _first_text(self) -> str:
        message = await self._receive(waiting=None)
        if message is None:
            raise StreamRefusedError(RESTART, "the server is going down; come back later")
        if message.get("text") is None:
            raise StreamRefusedError(UNSUPPORTED, "sound came before the hello; send the hello, a JSON text, first")
        return message["text"]

    async def _listen(self, live: _Live, waiting: Waiting) -> None:
        while (message := await self._receive(waiting)) is not None:
            data: bytes | None = message.get("bytes")
            if data is None:
                await waiting.put(parse_command(message["text"]))
            elif data:
                live.check(data)
                await waiting.put_sound(data)
        await waiting.end()

    async def _receive(self, waiting: Waiting | None) -> dict[str, Any] | None:
        """The next message; None once the server was told to end."""
        while not self._ending:
            try:
                async with asyncio.timeout(self.settings.idle_seconds) as self._patience:
                    message = dict(await self.socket.receive())
            except TimeoutError:
                if not self._ending and (waiting is None or waiting.idle):
                    raise StreamRefusedError(
                        POLICY, f"nothing came for {self.settings.idle_seconds:g} seconds"
                    ) from None
            else:
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(message.get("code", 1006))
                return message
            finally:
                self._patience = None
        return None

    async def _work(self, live: _Live, waiting: Waiting) -> None:
        while True:
            item = await waiting.take()
            if isinstance(item, End):
                break
            await self._give(live, item)
            waiting.done()
        if not live.flushed:
            await self._give(live, "flush")
        raise StreamRefusedError(RESTART, "the server is going down; what was received has been separated")

    async def _give(self, live: _Live, item: Item) -> None:
        """Send what an item gives, to a client that reads."""
        data, words = await self._in_thread(lambda: live.take(item))
        if data:
            await self._within_patience(self.socket.send_bytes(data))
        if words:
            await self._say(words)

    def _welcome(self, hello: Hello, stream: Stream) -> dict[str, Any]:
        return {
            "type": "ready",
            "model": self.model.name,
            "sample_rate": hello.sample_rate,
            "format": hello.format,
            "n_src": stream.n_src,
            "latency_samples": math.ceil(stream.latency_seconds * hello.sample_rate),
            "latency_seconds": round(stream.latency_seconds, 6),
            "block_samples": stream.block_samples,
            "when_late": hello.when_late,
            "queue_samples": round(self.settings.queue_seconds * hello.sample_rate),
            "largest_frame_bytes": LARGEST_FRAME,
            "idle_seconds": self.settings.idle_seconds,
        }

    async def _say(self, words: dict[str, Any]) -> None:
        await self._within_patience(self.socket.send_text(json.dumps(words)))

    async def _within_patience(self, sending: Any) -> None:
        try:
            async with asyncio.timeout(self.settings.idle_seconds):
                await sending
        except TimeoutError:
            raise StreamRefusedError(POLICY, f"nothing was read for {self.settings.idle_seconds:g} seconds") from None

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


class _Live:
    """The stream of a session with its coding and its counts; `take` runs in a thread."""

    def __init__(self, stream: Stream, hello: Hello, metrics: Metrics) -> None:
        self._stream, self._hello, self._metrics = stream, hello, metrics
        self.width = sample_bytes(hello.format)
        self.flushed = False
        self._position = 0  # samples that came since the beginning, those that were dropped included

    def check(self, data: bytes) -> None:
        """Refuse a frame that is too long or holds half a sample."""
        if len(data) > LARGEST_FRAME:
            raise StreamRefusedError(TOO_BIG, f"a frame has {len(data)} bytes; send at most {LARGEST_FRAME} at once")
        if len(data) % self.width:
            raise StreamRefusedError(
                BAD_DATA,
                f"a frame has {len(data)} bytes, which is no whole number of {self._hello.format} samples of "
                f"{self.width} bytes; send whole samples of one channel",
            )

    def take(self, item: Item) -> tuple[bytes, dict[str, Any]]:
        """What an item of the queue gives: bytes of sound, and words for the client; either may be empty."""
        if isinstance(item, bytes):
            return self._push(item)
        if isinstance(item, Gap):
            return b"", self._skip(item.samples)
        return self._flush() if item == "flush" else self._reset()

    def _push(self, data: bytes) -> tuple[bytes, dict[str, Any]]:
        if self.flushed:
            raise StreamRefusedError(POLICY, "sound came after flush, which ends a stream; send reset before more")
        began = time.perf_counter()
        samples, replaced = silenced(decode(data, self._hello.format)[0])
        out = self._stream.push(samples)
        busy = time.perf_counter() - began
        self._metrics.observe_block(busy)
        self._metrics.count("stream_busy_seconds_total", busy)
        self._metrics.count("stream_sound_seconds_total", samples.size / self._hello.sample_rate)
        self._position += samples.size
        words = {"type": "replaced", "samples": replaced, "before": self._position} if replaced else {}
        return encode(out, self._hello.format), words

    def _skip(self, samples: int) -> dict[str, Any]:
        self._metrics.count("stream_dropped_seconds_total", samples / self._hello.sample_rate)
        words = {"type": "dropped", "samples": samples, "at": self._position}
        self._position += samples
        return words

    def _flush(self) -> tuple[bytes, dict[str, Any]]:
        if self.flushed:
            raise StreamRefusedError(POLICY, "flush came twice; send reset before more sound")
        out = self._stream.flush()
        self.flushed = True
        return encode(out, self._hello.format), {"type": "flushed", "samples": self._stream.state.taken}

    def _reset(self) -> tuple[bytes, dict[str, Any]]:
        self._stream.reset()
        self.flushed, self._position = False, 0
        return b"", {"type": "reset"}


async def refuse(socket: WebSocket, refusal: StreamRefusedError, metrics: Metrics) -> None:
    """Say why as JSON, then close with the code."""
    metrics.count("stream_refusals_total", code=str(refusal.code))
    words = {"type": "error", "code": refusal.code, "message": refusal.message}
    reason = refusal.message.encode()[:_LONGEST_REASON].decode(errors="ignore")
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(1.0):  # somebody who does not read is not waited for
            await socket.send_text(json.dumps(words))
            await socket.close(refusal.code, reason)
