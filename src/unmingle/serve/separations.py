"""Orders in, tracks on disk, for a while: a bounded number at once, each in a thread and in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from unmingle.audio.io import count_seconds
from unmingle.errors import (
    AudioReadError,
    ConfigError,
    OutputError,
    SampleRateError,
    SignalError,
    UnmingleError,
)
from unmingle.inference.handle import Model
from unmingle.inference.inputs import SIDECAR_SUFFIX
from unmingle.inference.offline import separate_to_files
from unmingle.inference.report import SeparationReport
from unmingle.serve.metrics import Metrics
from unmingle.serve.orders import Order
from unmingle.serve.settings import ServeSettings

_STATUS: dict[type[UnmingleError], int] = {
    AudioReadError: 415,
    SignalError: 422,
    SampleRateError: 422,
    ConfigError: 422,
    OutputError: 507,
}
_RETRY_SECONDS = "10"
_log = logging.getLogger(__name__)


class _AbandonedError(Exception):
    """The client has gone, or the server goes."""


@dataclass
class Result:
    """The tracks of one recording, as long as they are kept.

    Attributes:
        id: names it in links; nobody guesses it.
        folder: where its files are.
        stem: what their names begin with.
        report: what is known about the separation.
        tracks: name of a track -> its file.
        expires: when it is removed.
        n_readers: how many clients are being sent its files.
    """

    id: str
    folder: Path
    stem: str
    report: dict[str, Any]
    tracks: dict[str, Path]
    expires: datetime
    n_readers: int = 0

    def describe(self) -> dict[str, Any]:
        """What JSON says about it, links included."""
        links = {name: f"/v1/separations/{self.id}/{name}" for name in self.tracks}
        tracks = [
            {**track, "bytes": self.tracks[track["name"]].stat().st_size, "url": links[track["name"]]}
            for track in self.report["tracks"]
        ]
        return {"id": self.id, "expires": self.expires.isoformat(), **self.report, "tracks": tracks}


class Separations:
    """All separations of one server."""

    def __init__(self, model: Model, settings: ServeSettings, metrics: Metrics, folder: Path) -> None:
        """Prepare; everything is written below `folder`."""
        self.model = model
        self._settings, self._metrics, self._folder = settings, metrics, folder
        self._threads = ThreadPoolExecutor(settings.n_separations, thread_name_prefix="separation")
        self._kept: dict[str, Result] = {}
        self._at_work: set[asyncio.Future[Result]] = set()
        self._abandon_all = threading.Event()
        self._closing = False
        self.n_accepted = self._n_lent = 0
        about = "Recordings that are received, wait or are separated."
        metrics.gauge("separations_accepted", about, lambda: float(self.n_accepted))
        metrics.gauge("separations_kept", "Results whose tracks can be fetched.", lambda: float(len(self._kept)))

    @contextmanager
    def place(self) -> Generator[Path]:
        """Take one of the places there are, with a folder for the upload; both are given back in the end.

        Raises:
            HTTPException: 503, all are taken, or the server goes down; 507, there is no room for a folder.
        """
        self._refuse_if_full()
        self.n_accepted += 1
        folder = self._folder / secrets.token_urlsafe(16)
        try:
            with room_for("a recording"):
                folder.mkdir(parents=True)
            yield folder
        finally:
            self.n_accepted -= 1
            if folder.name not in self._kept:
                shutil.rmtree(folder, ignore_errors=True)

    @property
    def busy(self) -> bool:
        """Whether anything that was accepted is not answered yet."""
        return self.n_accepted + self._n_lent > 0

    def _refuse_if_full(self) -> None:
        settings, full = self._settings, None
        if self._closing:
            full = "the server is going down and takes nothing new"
        elif self.n_accepted >= settings.n_separations + settings.max_waiting:
            full = f"{self.n_accepted} recordings are in work or waiting, which is all that this server takes at once"
        elif len(self._kept) + self.n_accepted >= settings.max_kept:
            full = f"{len(self._kept)} results wait to be fetched or to expire, and there is no room for more"
        if full is not None:
            self._metrics.count("separations_total", outcome="refused")
            raise HTTPException(503, f"{full}; try again later", {"Retry-After": _RETRY_SECONDS})

    async def run(self, order: Order, *, gone: Callable[[], Any]) -> Result:
        """Separate in a thread, and keep the tracks.

        Args:
            order: what to separate, and how.
            gone: an awaitable that ends when the client has gone; the work is then abandoned.

        Raises:
            HTTPException: the recording cannot be separated, and why.
        """
        abandoned = threading.Event()
        watch = asyncio.ensure_future(gone())
        watch.add_done_callback(lambda task: task.cancelled() or abandoned.set())
        outcome = "failed"
        try:
            result = await self._in_thread(order, abandoned)
            outcome = "done"
            return self._keep(result)
        except _AbandonedError:
            outcome = "abandoned"
            raise HTTPException(503, "the work was given up: the client had gone, or the server went down") from None
        except UnmingleError as error:
            raise _as_http(error, order) from error
        finally:
            watch.cancel()
            self._metrics.count("separations_total", outcome=outcome)

    async def _in_thread(self, order: Order, abandoned: threading.Event) -> Result:
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._separate, order, abandoned)
        self._at_work.add(work)
        try:
            return await work
        except asyncio.CancelledError:
            if self._abandon_all.is_set():
                raise _AbandonedError from None
            raise
        finally:
            self._at_work.discard(work)

    def _separate(self, order: Order, abandoned: threading.Event) -> Result:
        """In a thread: the tracks of an order; what was uploaded is removed."""
        folder, began = order.recording.parent, time.perf_counter()

        def watch(_done: float, seconds: float | None) -> None:
            if abandoned.is_set() or self._abandon_all.is_set():
                raise _AbandonedError
            self._refuse_length(order.recording, seconds)

        for upload in order.uploads:
            self._refuse_length(upload, count_seconds(upload, at_most=self._settings.max_sound_seconds))
        watch(0.0, None)
        report = separate_to_files(
            order.recording, folder, self.model, order.options, format=order.format, progress=watch
        )
        for upload in order.uploads:
            upload.unlink()
        self._metrics.count("separation_busy_seconds_total", time.perf_counter() - began)
        self._metrics.count("separation_sound_seconds_total", report.seconds)
        return self._result(order, report)

    def _refuse_length(self, upload: Path, seconds: float | None) -> None:
        most = self._settings.max_sound_seconds
        if seconds is not None and seconds > most:
            raise HTTPException(413, f"{upload.name} lasts {seconds:.1f} s; this server takes at most {most:g} s")

    def _result(self, order: Order, report: SeparationReport) -> Result:
        folder = order.recording.parent
        tracks = {track.name: track.path for track in report.tracks if track.path is not None}
        voices = [(name, Path(path).name) for name, path in order.options.enroll]
        settings = {**report.settings, "enroll": voices}
        described = {"input": {"name": order.recording.name}, **report.to_dict(), "settings": settings}
        expires = datetime.now(UTC) + timedelta(seconds=self._settings.keep_seconds)
        return Result(folder.name, folder, order.recording.stem, described, tracks, expires)

    def _keep(self, result: Result) -> Result:
        self._kept[result.id] = result
        asyncio.get_running_loop().call_later(self._settings.keep_seconds, self.remove, result.id)
        return result

    def find(self, id: str) -> Result:  # noqa: A002
        """A result that is kept.

        Raises:
            HTTPException: 404, there is none of that id, or no longer.
        """
        if id not in self._kept:
            raise HTTPException(404, "no such separation; its tracks are removed when they expire")
        return self._kept[id]

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove a result, if it is still there; its files go when nobody fetches them any more."""
        result = self._kept.pop(id, None)
        if result is not None:
            self._delete_unless_lent(result)

    @contextmanager
    def lending(self, result: Result) -> Generator[None]:
        """While files of a result are on their way to a client.

        Raises:
            HTTPException: 404, it has just been removed.
        """
        self.find(result.id)
        result.n_readers += 1
        self._n_lent += 1
        try:
            yield
        finally:
            result.n_readers -= 1
            self._n_lent -= 1
            self._delete_unless_lent(result)

    def _delete_unless_lent(self, result: Result) -> None:
        if result.n_readers == 0 and result.id not in self._kept:
            shutil.rmtree(result.folder, ignore_errors=True)

    async def zip(self, result: Result) -> Path:
        """All tracks and the report in one file, beside them."""
        return await asyncio.to_thread(_zip, result)

    def refuse_more(self) -> None:
        """Take nothing new; go on with what was accepted."""
        self._closing = True

    def give_up(self) -> None:
        """Answer what is left with a refusal; the threads stop at the next window of their recordings."""
        self._abandon_all.set()
        for work in self._at_work:
            work.cancel()

    def close(self) -> None:
        """Wait for the threads, and remove all files."""
        self._abandon_all.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for id in list(self._kept):  # noqa: A001
            self.remove(id)


@contextmanager
def room_for(what: str) -> Generator[None]:
    """While the body writes `what`: a disk that takes no more is 507, and logged."""
    try:
        yield
    except OSError as error:
        _log.error("no room for %s: %s", what, error)
        raise HTTPException(507, f"the server has no room for {what} ({error.strerror}); try again later") from error


def _zip(result: Result) -> Path:
    path = result.folder / "tracks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{result.stem}{SIDECAR_SUFFIX}", json.dumps(result.report, indent=2, ensure_ascii=False))
        for track in result.tracks.values():
            archive.write(track, track.name)
    return path


def _as_http(error: UnmingleError, order: Order) -> HTTPException:
    """An error of the package as an answer, without the folders of this machine."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            words = str(error)
            for upload in order.uploads:  # the recording last, whose folder the others are in
                words = words.replace(f"{upload.parent}/", "")
            return HTTPException(status, words)
    _log.error("a separation failed\n%s", "".join(traceback.format_exception(error)))
    return HTTPException(500, "the server failed at this recording; its log says why")
