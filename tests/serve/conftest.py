"""Servers on real sockets, in a thread of this process, with networks too small to separate well."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf
from websockets.sync.client import ClientConnection, connect

from unmingle.inference.handle import Model
from unmingle.inference.stream import Stream
from unmingle.presets import TDANetConfig, TFACMConfig

RATE = 8000


@pytest.fixture(scope="session")
def separator() -> Model:
    import torch

    from unmingle.models import build_model

    torch.manual_seed(0)
    config = TDANetConfig(sample_rate=RATE, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
    return Model.from_network(build_model(config), name="tiny")


@pytest.fixture(scope="session")
def streaming() -> Model:
    import torch

    from unmingle.models import build_model

    torch.manual_seed(0)
    config = TFACMConfig(
        window=256, hop=128, channels=8, n_blocks=1, kernel=4, query_width=129, segment_size=6, attn_context=9
    )
    return Model.from_network(build_model(config), name="tiny-live")


@dataclass
class Running:
    """A server that runs, and how to talk to it."""

    url: str
    server: Any
    thread: threading.Thread
    client: httpx.Client

    def connect(self, path: str = "v1/stream", **more: Any) -> ClientConnection:
        return connect(self.url.replace("http", "ws", 1) + path, compression=None, **more)

    def post(
        self,
        data: bytes,
        name: str = "talk.wav",
        headers: dict[str, str] | None = None,
        voices: dict[str, bytes] | None = None,
        **words: Any,
    ) -> httpx.Response:
        files = {
            "file": (name, data),
            **{f"enroll.{who}": ("voice.wav", voice) for who, voice in (voices or {}).items()},
        }
        return self.client.post("v1/separate", files=files, data=words, headers=headers)

    @property
    def folder(self) -> Path:
        return self.server._service._folder

    def leftovers(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def hello(self, socket: ClientConnection, **hello: Any) -> dict[str, Any]:
        socket.send(json.dumps({"sample_rate": RATE, "format": "f32le", **hello}))
        return json.loads(socket.recv(5))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="session")
def serving(separator: Model, streaming: Model) -> Callable[..., Any]:
    """Run a server: with serving(max_streams=2) as running: ..."""
    from unmingle.serve.server import Server, address, bind
    from unmingle.serve.service import Service
    from unmingle.serve.settings import ServeSettings

    @contextmanager
    def run(
        *,
        model: Model = separator,
        stream_model: Model | None = streaming,
        sockopts: tuple[int, ...] = (),
        **settings: Any,
    ) -> Iterator[Running]:
        allowed = ServeSettings(port=0, hops=1, **settings)
        with bind(allowed) as listening, closing(Service(allowed, model, stream_model)) as service:
            server = Server(service)
            if sockopts:
                listening.setsockopt(socket.SOL_SOCKET, *sockopts)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            url = address(listening, allowed)
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                running = Running(url, server, thread, client)
                try:
                    wait_for(lambda: server.started)
                    yield running
                finally:
                    running.stop()

    return run


@pytest.fixture(scope="session")
def running(serving: Callable[..., Any]) -> Iterator[Running]:
    """One server with room for everybody, for the tests that need no other."""
    with serving(max_streams=6, idle_seconds=20.0) as one:
        yield one


def wait_for(fact: Callable[[], Any], seconds: float = 10.0) -> None:
    """Until something is true; for what happens in the server's thread."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    return wait_for


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """(time,) float32, another one for every seed."""

    def make(samples: int = 1600, seed: int = 0) -> np.ndarray:
        return (0.1 * np.random.default_rng(seed).normal(size=samples)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def wav(noise: Callable[..., np.ndarray]) -> Callable[..., bytes]:
    """A WAV file as bytes."""

    def make(seconds: float = 0.5, seed: int = 0) -> bytes:
        file = io.BytesIO()
        sf.write(file, noise(round(seconds * RATE), seed), RATE, format="WAV")
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def offline(streaming: Model) -> Callable[..., np.ndarray]:
    """What a stream of its own gives for these samples: (n_src, time)."""

    def separate(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
        stream = Stream(streaming, sample_rate=rate)
        return np.concatenate([stream.push(samples), stream.flush()], axis=1)

    return separate


@pytest.fixture(scope="session")
def collect() -> Callable[..., tuple[np.ndarray, dict[str, Any]]]:
    """Receive sound until a text comes: (n_src, time) of two speakers, and the text."""

    def receive(socket: ClientConnection, kind: str = "<f4") -> tuple[np.ndarray, dict[str, Any]]:
        data = b""
        while isinstance(message := socket.recv(10), bytes):
            data += message
        return np.frombuffer(data, kind).reshape(-1, 2).T, json.loads(message)

    return receive


@pytest.fixture(scope="session")
def refused() -> Callable[..., tuple[int, str]]:
    """How a stream ends that the server breaks off: the code and the sentence, which must agree with the close."""

    def end(socket: ClientConnection) -> tuple[int, str]:
        from websockets.exceptions import ConnectionClosed

        words: dict[str, Any] = {}
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012
            while True:
                message = socket.recv(10)
                if isinstance(message, str):
                    words = json.loads(message)
        close = closed.value.rcvd
        assert close is not None
        assert (words["type"], words["code"]) == ("error", close.code)
        assert words["message"].startswith(close.reason)
        return words["code"], words["message"]

    return end


class Held:
    """An engine that waits until it is let on."""

    def __init__(self):
        self.on, self.begun = threading.Event(), threading.Event()

    def __call__(self, mixture):
        if mixture.any():
            self.begun.set()
            assert self.on.wait(20)
        return np.stack([mixture, mixture], axis=1)


@pytest.fixture
def held():
    return Model("held", TDANetConfig(sample_rate=RATE), engine=Held())
