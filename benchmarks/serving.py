"""How many live streams one server carries, as a Markdown table.

    python benchmarks/serving.py                                    the bundled streaming model, or tfacm-live untrained
    python benchmarks/serving.py --model live.safetensors --hops 4  another one, other steps
    python benchmarks/serving.py --streams 1 --seconds 1            a smoke test; the figures mean nothing

A server of its own process on loopback; N clients in this one, each of which sends a block of noise whenever a
microphone would have it, for some seconds. "lag" is how long ago the newest sample that came back had sounded: the
algorithmic latency, the wait for a turn, the computing and the way. A frame is late when its lag is more than
`--tolerance` above the algorithmic latency; "dropped" is sound that the server threw away to keep up. RTF is computing
time over sound, all streams together. N is carried while at most one frame in a hundred is late and nothing is dropped;
the first N that is not carried is the last.

Clients and server share the machine: give it two cores, and let nothing else run. The longest run is the number of rows
times `--seconds`, and ten seconds for each start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
from websockets.asyncio.client import connect

from unmingle.checkpoint import save_checkpoint
from unmingle.inference.handle import list_models, load_or_build

HEAD = "| streams | algorithmic, ms | lag p50, ms | p95 | p99 | worst | late | dropped, s | RTF | carried |"
LATE_SHARE = 0.01
PATIENCE = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="name or path of a model that streams")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8], help="how many at the same time")
    parser.add_argument("--seconds", type=float, default=20.0, help="sound of each stream")
    parser.add_argument("--rate", type=int, default=16_000, help="Hz of the streams")
    parser.add_argument("--hops", type=int, default=2, help="hops of the network at a time")
    parser.add_argument("--threads", type=int, default=1, help="processor threads of one step")
    parser.add_argument("--tolerance", type=float, default=20.0, help="milliseconds above the algorithmic latency")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or default_model(Path(folder))
        print(f"{model}, {options.hops} hops at a time, streams at {options.rate} Hz\n\n{HEAD}")
        print("|" + "--:|" * HEAD.count("|", 1))
        for n_streams in options.streams:
            with serving(model, n_streams, options) as url:
                row = asyncio.run(measure(url, n_streams, options))
            print(in_words(n_streams, row), flush=True)
            if not row["carried"]:
                break


def default_model(folder: Path) -> str:
    """The first bundled model that streams; without one, the live preset with random weights, which cost the same."""
    for entry in list_models():
        if entry.bundled and entry.causal:
            return entry.name
    path = folder / "tfacm-live.safetensors"
    save_checkpoint(path, load_or_build("tfacm-live").network, name="tfacm-live (untrained)")
    return str(path)


@contextmanager
def serving(model: str, n_streams: int, options: argparse.Namespace) -> Iterator[str]:
    """The server as a process; yields its address."""
    command = [sys.executable, "-m", "unmingle", "serve", "--port", "0", "--stream-model", model]
    limits = ["--streams", n_streams, "--hops", options.hops, "--threads", options.threads, "--grace-seconds", 1]
    pipe = subprocess.PIPE
    with subprocess.Popen([*command, *map(str, limits)], stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = process.stdout.readline().strip()
            if not url:
                raise SystemExit(process.stderr.read())
            yield url
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


async def measure(url: str, n_streams: int, options: argparse.Namespace) -> dict[str, float]:
    """All streams at once; what their frames had to wait, and what the server counted."""
    address = url.replace("http", "ws", 1) + "v1/stream"
    clients = [stream(address, number, number / n_streams, options) for number in range(n_streams)]
    async with asyncio.timeout(options.seconds + PATIENCE):
        answers = await asyncio.gather(*clients)
    latency = answers[0][0]
    lags = sorted(lag for _, found, _ in answers for lag in found)
    late = sum(lag > latency + options.tolerance / 1e3 for lag in lags) / len(lags)
    dropped = sum(dropped for _, _, dropped in answers) / options.rate
    counted = metrics(url)
    return {
        "latency": latency,
        "p50": statistics.median(lags),
        "p95": lags[int(0.95 * len(lags))],
        "p99": lags[int(0.99 * len(lags))],
        "worst": lags[-1],
        "late": late,
        "dropped": dropped,
        "rtf": counted["stream_busy_seconds_total"] / counted["stream_sound_seconds_total"] * n_streams,
        "carried": late <= LATE_SHARE and dropped == 0,
    }


async def stream(
    address: str, number: int, share: float, options: argparse.Namespace
) -> tuple[float, list[float], int]:
    """One client: its algorithmic latency, the lag of every frame, and how many samples were dropped.

    It begins that share of a block late, so that not all blocks come at once.
    """
    noise = np.random.default_rng(number).normal(size=options.rate)
    sound = np.rint(3000 * noise).astype("<i2").tobytes()
    async with connect(address, compression=None, max_size=None, proxy=None) as socket:
        await socket.send(json.dumps({"sample_rate": options.rate, "format": "s16le", "when_late": "drop"}))
        ready = json.loads(await socket.recv())
        if ready["type"] != "ready":
            raise SystemExit(ready["message"])
        began = perf_counter() + share * ready["block_samples"] / options.rate
        sending = asyncio.create_task(send(socket, sound, ready["block_samples"], began, options))
        lags, dropped = await receive(socket, began, 2 * ready["n_src"], options.rate)
        await sending
        return ready["latency_seconds"], lags, dropped


async def send(socket, sound: bytes, block: int, began: float, options: argparse.Namespace) -> None:
    """Every block at the moment at which its last sample has sounded."""
    for end in range(block, round(options.seconds * options.rate) + 1, block):
        await asyncio.sleep(began + end / options.rate - perf_counter())
        start = (2 * (end - block)) % (len(sound) - 2 * block)
        await socket.send(sound[start : start + 2 * block])
    await socket.send("flush")


async def receive(socket, began: float, width: int, rate: int) -> tuple[list[float], int]:
    """The lag of every frame until the stream is flushed."""
    lags, given, dropped = [], 0, 0
    async for message in socket:
        if isinstance(message, bytes):
            given += len(message) // width
            lags.append(perf_counter() - began - (given + dropped) / rate)
            continue
        words = json.loads(message)
        if words["type"] == "dropped":
            dropped += words["samples"]
        elif words["type"] == "flushed":
            break
        else:
            raise SystemExit(words["message"])
    return lags[:-1] or lags, dropped  # the last one holds what flush gave, which nobody waited for


def metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^unmingle_(\w+) (\S+)$", text, re.MULTILINE)}


def in_words(n_streams: int, row: dict[str, float]) -> str:
    times = " | ".join(f"{1e3 * row[name]:.1f}" for name in ("latency", "p50", "p95", "p99", "worst"))
    verdict = "yes" if row["carried"] else "no"
    return f"| {n_streams} | {times} | {row['late']:.1%} | {row['dropped']:.1f} | {row['rtf']:.2f} | {verdict} |"


if __name__ == "__main__":
    main()
