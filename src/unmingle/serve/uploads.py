"""A form on the wire -> an order: the recording on disk under a harmless name, and how to separate it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Literal, cast, get_args

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unmingle.errors import ConfigError, did_you_mean
from unmingle.inference.inputs import SUFFIXES
from unmingle.inference.report import SeparationOptions, TrackFormat
from unmingle.serve.settings import ServeSettings

Answer = Literal["zip", "json"]

_LONGEST_STEM = 40  # characters; of up to four bytes each, with room for suffixes in the 255 of a file system
_ODD = re.compile(r"[^\w .()+-]")
_FIELDS = ("file", "n_src", "format", "keep_residual", "gate", "level_dbfs", "answer")
_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 1 << 26


@dataclass(frozen=True)
class Order:
    """What a client wants to have separated, and how.

    Attributes:
        recording: its file here.
        options: how to separate.
        format: of the tracks.
        answer: tracks in a zip, or JSON with links to them.
    """

    recording: Path
    options: SeparationOptions
    format: TrackFormat
    answer: Answer


async def read_order(request: Request, folder: Path, settings: ServeSettings, *, n_src: int) -> Order:
    """Receive a form, within the limits, and put its recording into a folder.

    Args:
        request: with a body of type multipart/form-data.
        folder: where the recording goes.
        settings: the limits.
        n_src: speakers that the model separates.

    Raises:
        HTTPException: 408 too slow, 413 too large, 415 no form, 422 a field that is missing or wrong.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(415, f"the body is of type {kind or 'none'}; send a multipart/form-data form with a `file`")
    limited = Request(request.scope, _limited(request, settings))
    try:
        async with asyncio.timeout(settings.upload_seconds), limited.form(max_files=1, max_fields=len(_FIELDS)) as form:
            upload, fields = _parts(form)
            order = _order(fields, request.headers.get("accept", ""), folder / safe_name(upload.filename), n_src=n_src)
            await asyncio.to_thread(_keep, upload.file, order.recording)
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


def _parts(form: FormData) -> tuple[UploadFile, dict[str, str]]:
    values = dict(form.multi_items())
    for name in values:
        if name not in _FIELDS:
            raise HTTPException(422, f"the form has an unknown field {name!r}{did_you_mean(name, _FIELDS)}")
    upload = values.pop("file", None)
    if not isinstance(upload, UploadFile):
        raise HTTPException(422, "the form has no file; send the recording as a file in the field `file`")
    return upload, {name: str(value).strip() for name, value in values.items()}


def _order(fields: Mapping[str, str], accept: str, recording: Path, *, n_src: int) -> Order:
    wanted = fields.get("n_src", str(n_src))
    if wanted != str(n_src):
        raise HTTPException(422, f"n_src is {wanted!r} and the model separates {n_src} speakers; leave n_src out")
    try:
        level = fields.get("level_dbfs")
        options = SeparationOptions(
            keep_residual=_truth(fields, "keep_residual"),
            gate=_truth(fields, "gate"),
            level_dbfs=None if level is None else float(level),
        )
    except ConfigError as error:
        raise HTTPException(422, str(error)) from error
    except ValueError as error:
        raise HTTPException(422, f"level_dbfs is {fields['level_dbfs']!r}; wanted a number such as -26") from error
    preferred = "json" if "application/json" in accept else "zip"
    return Order(
        recording,
        options,
        cast(TrackFormat, _choice(fields, "format", get_args(TrackFormat), "wav")),
        cast(Answer, _choice(fields, "answer", get_args(Answer), preferred)),
    )


def _truth(fields: Mapping[str, str], name: str) -> bool:
    text = fields.get(name, "false").lower()
    if text not in _TRUTHS:
        raise HTTPException(422, f"{name} is {text!r}; wanted true or false")
    return _TRUTHS[text]


def _choice(fields: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = fields.get(name, default)
    if value not in allowed:
        raise HTTPException(422, f"{name} is {value!r}; wanted {' or '.join(allowed)}")
    return value


def _keep(upload: IO[bytes], target: Path) -> None:
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
