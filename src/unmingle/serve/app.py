"""The addresses of the server."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, get_args

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from unmingle._version import __version__
from unmingle.inference.report import MOST_SPEAKERS, TrackFormat
from unmingle.serve.access import Door, problem
from unmingle.serve.metrics import CONTENT_TYPE
from unmingle.serve.orders import ENROLL, RECORDING, Answer
from unmingle.serve.separations import Result, Separations
from unmingle.serve.service import Service
from unmingle.serve.uploads import Lingering, read_order

PAGE = Path(__file__).parent / "page"
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src blob:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

_WORD, _TRUTH = {"type": "string"}, {"type": "boolean", "default": False}
_SOUND = {"type": "string", "format": "binary"}
_COUNT = {"type": "integer", "minimum": 1, "maximum": MOST_SPEAKERS}
_FIELDS = {
    RECORDING: _SOUND,
    "n_src": {"anyOf": [{"const": "auto"}, _COUNT]},
    "max_speakers": _COUNT,
    "only": {"type": "array", "items": _WORD},
    "answer": {**_WORD, "enum": get_args(Answer)},
    "format": {**_WORD, "enum": get_args(TrackFormat)},
    "twice": _TRUTH,
    "keep_residual": _TRUTH,
    "gate": _TRUTH,
    "level_dbfs": {"type": "number", "minimum": -60, "maximum": 0},
    "loudness_lufs": {"type": "number", "minimum": -60, "maximum": -5},
}
_VOICES = {f"^{re.escape(ENROLL)}": _SOUND}
_SCHEMA = {"type": "object", "properties": _FIELDS, "patternProperties": _VOICES, "required": [RECORDING]}
_FORM = {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}}


def make_app(service: Service) -> FastAPI:
    """The application of one service."""
    app = FastAPI(title="unmingle", version=__version__, docs_url=None, redoc_url=None)  # those pages load a CDN
    _add_state(app, service)
    _add_separations(app, service)
    app.add_api_websocket_route("/v1/stream", _streams(service))
    app.mount("/", _Page(directory=PAGE, html=True))
    app.add_exception_handler(HTTPException, _say_problem)
    app.add_exception_handler(Exception, _say_fault)
    app.add_middleware(Door, access=service.access)
    app.add_middleware(Lingering)
    return app


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]
        """Whether the server takes work."""
        state = "closing" if service.closing else "ok"
        return JSONResponse({"status": state, "version": __version__}, 503 if service.closing else 200)

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:  # pyright: ignore[reportUnusedFunction]
        """Counts since the start, for Prometheus."""
        return PlainTextResponse(service.metrics.render(), media_type=CONTENT_TYPE)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]
        """What is served, and the limits."""
        return service.describe()


def _add_separations(app: FastAPI, service: Service) -> None:
    separations = service.separations

    @app.post("/v1/separate", response_class=Response, openapi_extra={"requestBody": _FORM})
    async def separate(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Separate a recording: the form's `file`. Answers a zip of the tracks, or JSON with links to them."""
        with separations.place() as folder:
            order = await read_order(request, folder, service.settings)
            result = await separations.run(order, gone=lambda: _gone(request))
            if order.answer == "json":
                return JSONResponse(result.describe())
            return _Lent(await separations.zip(result), separations, result, name=f"{result.stem}.zip", last=True)

    @app.get("/v1/separations/{id}")
    async def describe(id: str) -> dict[str, Any]:  # noqa: A002  # pyright: ignore[reportUnusedFunction]
        """A separation that was answered with JSON, again."""
        return separations.find(id).describe()

    @app.get("/v1/separations/{id}/{track}", response_class=FileResponse)
    async def track(id: str, track: str) -> Response:  # noqa: A002  # pyright: ignore[reportUnusedFunction]
        """One track of it."""
        result = separations.find(id)
        if track not in result.tracks:
            raise HTTPException(404, f"no track is called {track!r}; there are {', '.join(result.tracks)}")
        path = result.tracks[track]
        return _Lent(path, separations, result, name=path.name)

    @app.delete("/v1/separations/{id}", status_code=204)
    async def remove(id: str) -> None:  # noqa: A002  # pyright: ignore[reportUnusedFunction]
        """Remove its tracks now."""
        separations.remove(separations.find(id).id)


def _streams(service: Service) -> Any:
    async def stream(socket: WebSocket) -> None:
        await service.stream(socket)

    return stream


async def _gone(request: Request) -> None:
    """Ends when the client has."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _say_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = error.detail
    if said == HTTPStatus(error.status_code).phrase:  # the framework's own, such as "Not Found"
        said = f"{request.method} {request.url.path} is no address of this server; /openapi.json lists them"
    return problem(error.status_code, said, dict(error.headers or {}))


async def _say_fault(_request: Request, _error: Exception) -> Response:
    return problem(500, "the server failed; its log says why")


class _Lent(FileResponse):
    """A file of a result, which stays until it is sent; the last one takes the result along."""

    def __init__(self, path: Path, separations: Separations, result: Result, *, name: str, last: bool = False) -> None:
        super().__init__(path, filename=name)
        self._separations, self._result, self._last = separations, result, last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._separations.lending(self._result):
            if self._last:
                self._separations.remove(self._result.id)
            await super().__call__(scope, receive, send)


class _Page(StaticFiles):
    """The page, which may load nothing from anywhere else."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file with the headers that hold the browser to that."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_PAGE_HEADERS)
        return response
