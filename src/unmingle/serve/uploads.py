"""A form on the wire -> an order: the recordings on disk under harmless names, and how to separate."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmingle.errors import did_you_mean
from unmingle.inference.inputs import SUFFIXES
from unmingle.serve.orders import ENROLL, FIELDS, MOST_FILES, MOST_WORDS, RECORDING, Order, make_order
from unmingle.serve.separations import room_for
from unmingle.serve.settings import ServeSettings

_LONGEST_STEM = 40  # characters; of up to four bytes each, with room for suffixes in the 255 of a file system
_ODD = re.compile(r"[^\w .()+-]")
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 1 << 26


async def read_order(request: Request, folder: Path, settings: ServeSettings) -> Order:
    """Receive a form, within the limits, and put its recordings into a folder.

    Args:
        request: with a body of type multipart/form-data.
        folder: where the recordings go.
        settings: the limits.

    Raises:
        HTTPException: 408 too slow, 413 too large, 415 no form, 422 a field that is missing or wrong.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, f"the body is of type {kind or 'none'}; send a multipart/form-data form with a `file`")
    limited = Request(request.scope, _limited(request, settings))
    try:
        async with (
            asyncio.timeout(settings.upload_seconds),
            limited.form(max_files=MOST_FILES, max_fields=MOST_WORDS) as form,
        ):
            parts = _take_apart(form)
            places = _places(parts.files, folder)
            accept = request.headers.get("accept", "")
            order = make_order(parts.words, parts.only, places, accept=accept)
            for name, path in places.items():
                await asyncio.to_thread(_keep, parts.files[name].file, path)
            return order
    except TimeoutError:
        raise HTTPException(408, f"the upload took more than {settings.upload_seconds:g} seconds") from None


def safe_name(name: str | None) -> str:
    """A file name without folders, control characters or surprises, from whatever a client calls its file."""
    plain = Path((name or "").replace("\\", "/")).name
    stem, suffix = Path(plain).stem, Path(plain).suffix.lower()
    stem = _ODD.sub("_", stem)[:_LONGEST_STEM].strip(" .") or "recording"
    return stem + (suffix if suffix in SUFFIXES else "")


def _limited(request: Request, settings: ServeSettings) -> Receive:
    """`receive` that refuses a body that is too large or stops coming."""
    most, seen = settings.max_upload_bytes, 0
    too_large = HTTPException(413, f"the body is larger than {most} bytes, the most that this server takes")
    declared = request.headers.get("content-length", "")

    async def receive() -> Message:
        nonlocal seen
        if declared.isdecimal() and int(declared) > most:
            raise too_large
        try:
            async with asyncio.timeout(settings.idle_seconds):
                message = await request.receive()
        except TimeoutError:
            raise HTTPException(408, f"nothing of the upload came for {settings.idle_seconds:g} seconds") from None
        seen += len(message.get("body", b""))
        if seen > most:
            raise too_large
        return message

    return receive


@dataclass
class _Parts:
    """A form taken apart."""

    words: dict[str, str] = field(default_factory=dict[str, str])
    only: list[str] = field(default_factory=list[str])
    files: dict[str, UploadFile] = field(default_factory=dict[str, UploadFile])

    def add(self, name: str, value: UploadFile | str) -> None:
        if name not in FIELDS and not name.startswith(ENROLL):
            raise HTTPException(422, f"the form has an unknown field {name!r}{did_you_mean(name, FIELDS)}")
        if name in self.words or name in self.files:
            raise HTTPException(422, f"the form has two fields {name!r}; send one")
        if isinstance(value, UploadFile) != (name == RECORDING or name.startswith(ENROLL)):
            came, wanted = ("a file", "a word") if isinstance(value, UploadFile) else ("a word", "a file")
            raise HTTPException(422, f"the field {name!r} came as {came}; send {wanted} in it")
        if isinstance(value, UploadFile):
            self.files[name] = value
        elif name == "only":
            self.only.append(value.strip())
        else:
            self.words[name] = value.strip()


def _take_apart(form: FormData) -> _Parts:
    parts = _Parts()
    for name, value in form.multi_items():
        parts.add(name, value)
    if RECORDING not in parts.files:
        raise HTTPException(422, f"the form has no file; send the recording as a file in the field `{RECORDING}`")
    return parts


def _places(files: Mapping[str, UploadFile], folder: Path) -> dict[str, Path]:
    """Where each file goes: the recording into the folder, voices into hidden ones below, whatever they are called."""
    return {
        name: (folder if name == RECORDING else folder / f".voice{number}") / safe_name(upload.filename)
        for number, (name, upload) in enumerate(files.items())
    }


def _keep(upload: IO[bytes], target: Path) -> None:
    with room_for(target.name):
        target.parent.mkdir(exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(upload, file)


class Lingering:
    """Middleware: before an error is sent, reads on for a moment what the client is still sending.

    A connection that is closed on unread data is reset, and many clients then never see the answer. A client that asks
    first (`Expect: 100-continue`) sends nothing until it is told to.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and linger where an error comes before the end of the body."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        more = not any(name == b"expect" for name, _ in scope["headers"])

        async def watched() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            status = message.get("status", HTTPStatus.OK)
            if (
                more and status >= HTTPStatus.BAD_REQUEST and status != HTTPStatus.REQUEST_TIMEOUT
            ):  # that one has stopped
                await linger()
            await send(message)

        async def linger() -> None:
            left = _LINGER_BYTES
            try:
                async with asyncio.timeout(_LINGER_SECONDS):
                    while more and left > 0:
                        left -= len((await watched()).get("body", b""))
            except TimeoutError:
                pass

        await self._app(scope, watched, answer)
