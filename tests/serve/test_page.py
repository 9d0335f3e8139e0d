"""The page in a real browser without a window, with a recording in place of a microphone."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile as sf
from websockets.sync.client import ClientConnection, connect

from unmingle.inference.stream import Stream

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser on this machine: none of {', '.join(NAMES)} is on the PATH"
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--remote-debugging-port=0",
)
PATIENCE = 30.0
INSIDE = "document.getElementById('house')?.hidden === false"


TAPS = """
    const connect = AudioNode.prototype.connect;
    const taps = [];
    AudioNode.prototype.connect = function (to, ...more) {
        if (to instanceof AudioDestinationNode) taps.push(connect.call(this, this.context.createAnalyser()));
        return connect.call(this, to, ...more);
    };
    window.loudness = (voice) => {
        const samples = new Float32Array(taps[voice].fftSize);
        taps[voice].getFloatTimeDomainData(samples);
        return Math.max(...samples.map(Math.abs));
    };
"""  # what goes to the loudspeakers, one tap per voice


class Page:
    """One tab of the browser, driven over the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(PATIENCE))
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(message["params"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(message["params"]["entry"]["text"])
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def run(self, script: str) -> Any:
        done = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, fact: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({fact})"):
            assert time.monotonic() < deadline, (fact, self.run("document.body.innerText"), self.complaints)
            time.sleep(0.1)

    def text(self, id: str) -> str:  # noqa: A002
        return self.run(f"document.getElementById({id!r}).textContent")

    def choose_file(self, path: Path) -> None:
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.do("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def picture(self, name: str, *, width: int = 900, height: int = 1100, dark: bool = False) -> None:
        """A screenshot, for whoever wants to look: only where the variable UNMINGLE_PICTURES names a folder."""
        folder = os.environ.get("UNMINGLE_PICTURES")
        if not folder:
            return
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do("Emulation.setEmulatedMedia", features=scheme)
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        time.sleep(1.0)
        data = base64.b64decode(self.do("Page.captureScreenshot", captureBeyondViewport=True)["data"])
        (Path(folder) / f"{name}.png").write_bytes(data)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears, over and over: syllables of noise."""
    time_ = np.arange(2 * 16_000) / 16_000
    noise = np.random.default_rng(0).normal(size=time_.size)
    path = tmp_path_factory.mktemp("microphone") / "speech.wav"
    sf.write(path, 0.1 * noise * (np.sin(2 * np.pi * 2 * time_) > 0), 16_000)
    return path


@pytest.fixture(scope="module")
def browser(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A browser that runs; yields where its DevTools listen."""
    assert CHROMIUM is not None
    profile = tmp_path_factory.mktemp("profile")
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--use-file-for-fake-audio-capture={spoken}",
        "about:blank",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            patience = threading.Timer(PATIENCE, process.kill)
            patience.start()
            said = next((line for line in process.stderr if "DevTools listening on" in line), "")
            patience.cancel()
            found = re.search(r"ws://([\d.]+:\d+)/", said)
            if found is None:
                pytest.skip(f"{CHROMIUM} does not start on this machine, or not within {PATIENCE:g} s")
            yield f"http://{found[1]}"
        finally:
            process.terminate()


@pytest.fixture
def visit(browser: str) -> Iterator[Callable[[str], Page]]:
    """Open an address in a tab."""
    with ExitStack() as opened:

        def go(url: str) -> Page:
            tab = httpx.put(f"{browser}/json/new", timeout=PATIENCE, trust_env=False).json()
            opened.callback(httpx.get, f"{browser}/json/close/{tab['id']}", timeout=PATIENCE, trust_env=False)
            page = Page(opened.enter_context(connect(tab["webSocketDebuggerUrl"], max_size=None, compression=None)))
            page.do("Page.navigate", url=url)
            return page

        yield go


def test_the_page_streams_the_microphone_and_shows_every_voice(running, visit, streaming) -> None:
    page = visit(running.url)
    page.until(INSIDE)
    page.run(TAPS)
    page.run("document.getElementById('live-play').click(); document.getElementById('live-button').click()")
    page.until("document.querySelectorAll('#live-tracks .track').length === 3")
    page.until("/ms/.test(document.getElementById('live-measured').textContent)")
    page.until(_drawn("#live-tracks .track:nth-child(2) canvas"))
    rate = int(re.search(r"(\d+) Hz", page.text("live-status"))[1])
    algorithmic = 1e3 * Stream(streaming, sample_rate=rate).latency_seconds
    assert page.text("live-algorithmic") == f"{algorithmic:.0f} ms"
    assert float(page.text("live-measured").split()[0]) > 0
    page.until("loudness(0) > 0 && loudness(1) > 0")
    page.run("document.querySelector('[aria-label=\"Mute Speaker 1\"]').click()")
    assert page.run("document.querySelector('[aria-label=\"Mute Speaker 1\"]').ariaPressed") == "true"
    page.until("loudness(0) === 0 && loudness(1) > 0")
    page.picture("live")
    page.picture("live-phone", width=380, height=1500, dark=True)
    page.run("document.getElementById('live-button').click()")
    page.until("document.getElementById('live-button').textContent.startsWith('Start')")
    assert page.text("live-status") == "Stopped."
    assert page.complaints == []


def _drawn(selector: str) -> str:
    """Whether a canvas shows more than a line of silence."""
    return f"""(() => {{
        const canvas = document.querySelector({selector!r});
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let inked = 0;
        for (let i = 3; i < data.length; i += 4) inked += data[i] > 0;
        return inked > 1.3 * canvas.width;
    }})()"""


def test_the_page_separates_a_recording_and_gives_its_tracks(running, visit, wav, tmp_path) -> None:
    recording = tmp_path / "two people.wav"
    recording.write_bytes(wav(1.0))
    page = visit(running.url)
    page.until(INSIDE)
    page.choose_file(recording)
    page.until("document.getElementById('file-status').textContent.includes('2 tracks of 1.0 s')")
    page.until(_drawn("#file-tracks .track:nth-child(3) canvas"))
    downloads = page.run("[...document.querySelectorAll('#file-tracks a')].map(one => one.download)")
    assert downloads == ["two people_spk1.wav", "two people_spk2.wav"]
    lasts = page.run(
        "(async a => (await new Promise(r => a.readyState ? r() : a.onloadedmetadata = r), a.duration))"
        "(document.querySelectorAll('audio')[2])"
    )
    assert lasts == pytest.approx(1.0)
    page.picture("recording")
    page.run("document.getElementById('file-people').value = '1'")
    page.run("document.getElementById('file-loudness').checked = true")
    page.choose_file(recording)
    page.until("document.getElementById('file-status').textContent.includes('1 track of 1.0 s')")
    assert page.run("document.querySelectorAll('#file-tracks a').length") == 1
    (tmp_path / "text.wav").write_text("no sound")
    page.choose_file(tmp_path / "text.wav")
    page.until("document.getElementById('file-status').textContent.includes('not an audio or video file')")
    assert page.complaints == [
        "Failed to load resource: the server responded with a status of 415 (Unsupported Media Type)"
    ]


def test_the_page_asks_for_the_token_or_takes_it_from_its_address(serving, visit) -> None:
    token = "a-token-of-some-length"
    with serving(token=token, stream_model=None) as locked:
        page = visit(locked.url)
        page.until("document.getElementById('door')?.hidden === false")
        page.picture("door")
        page.run(f"document.getElementById('token').value = {token!r}; document.querySelector('#door button').click()")
        page.until(INSIDE)
        assert "--stream-model" in page.text("live-status")
        page = visit(f"{locked.url}#token={token}")
        page.until(INSIDE)
        assert token not in page.run("location.href")
