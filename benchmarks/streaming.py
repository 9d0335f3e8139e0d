"""How fast the streaming presets stream, as a Markdown table.

    python benchmarks/streaming.py                           the streaming presets, 1, 2 and 4 hops at a time
    python benchmarks/streaming.py tfacm-live --hops 1 2     some of them
    python benchmarks/streaming.py --width 32 48 64          tfacm-live at other widths, to choose one
    python benchmarks/streaming.py --seconds 0.2             a smoke test; the figures mean nothing

A block is what one step takes: `hops` hops. It is in time when it is computed before the next one is there, so "p99"
has to stay below "block". RTF is computing time over sound; "streams" is how many one core carries at that, one after
the other; "batched" is the RTF of each of several streams that step together. "memory" is what a stream holds.

Each row is a process of its own on one thread, after a warm-up; "matmul" is this machine's rate of matrix products
between the steps, in GFLOP/s, to compare machines by. Let nothing else run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import torch

from unmingle.layers.state import named_tensors
from unmingle.metrics.cost import count_macs
from unmingle.models import build_model
from unmingle.presets import PRESETS

STREAMING = ("tfacm-live", "tfacm-live-16k", "tfacm-stream")
HEAD = (
    "| network | latency, ms | block, ms | RTF | p50, ms | p99, ms | late | streams | batched | memory, MB | matmul |"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"presets; without a name {', '.join(STREAMING)}")
    parser.add_argument("--hops", type=int, nargs="+", default=[1, 2, 4], help="hops at a time")
    parser.add_argument("--width", type=int, nargs="+", help="channels instead of the preset's own")
    parser.add_argument("--seconds", type=float, default=20.0, help="sound that is timed")
    parser.add_argument("--batch", type=int, default=8, help="streams that step together, for `batched`")
    parser.add_argument("--macs", action="store_true", help="count multiply-accumulates per second too")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # one measurement, asked for by the parent
    options = parser.parse_args()
    if options.row:
        print(json.dumps(measure(**json.loads(options.row))))
        return
    names = options.names or list(STREAMING if options.width is None else STREAMING[:1])
    if unknown := [name for name in names if getattr(PRESETS.get(name), "latency", None) is None]:
        parser.error(f"{', '.join(unknown)}: no preset that streams")
    print(HEAD)
    print("|---" + "|--:" * 10 + "|")
    for name in names:
        for width in options.width or [PRESETS[name].channels]:
            if options.macs:
                network = build_model(replace(PRESETS[name], channels=width)).eval()
                print(
                    f"{name}, {width} channels: {count_macs(network, include_fused=True) / 1e9:.2f} G MACs/s",
                    file=sys.stderr,
                )
            for hops in options.hops:
                row = {"name": name, "width": width, "hops": hops, "seconds": options.seconds, "batch": options.batch}
                done = subprocess.run(
                    [sys.executable, __file__, "--row", json.dumps(row)], capture_output=True, text=True, check=True
                )
                print(
                    in_words(
                        f"`{name}` x {hops}" + (f", {width} ch." if options.width else ""), json.loads(done.stdout)
                    )
                )


def in_words(title: str, row: dict[str, float]) -> str:
    rtf = row["total"] / row["seconds"]
    return (
        f"| {title} | {1e3 * row['latency']:.1f} | {1e3 * row['block']:.1f} | {rtf:.3f} | {1e3 * row['p50']:.2f} | "
        f"{1e3 * row['p99']:.2f} | {row['late']:.1%} | {int(1 / rtf)} | {row['batched']:.3f} | "
        f"{row['memory'] / 1e6:.2f} | {row['matmul'] / 1e9:.1f} |"
    )


@torch.inference_mode()
def measure(name: str, width: int, hops: int, seconds: float, batch: int) -> dict[str, float]:
    """One row, in this process, which must be a fresh one."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = build_model(replace(PRESETS[name], channels=width)).eval()
    rate, block = network.config.sample_rate, hops * network.hop
    steps = max(2, round(seconds * rate / block))
    warm_up = max(2, round(min(seconds, 2.0) * rate / block))  # the attention's memory fills meanwhile
    times, matmul, state = walk(network, 1, block, steps, warm_up)
    together, _, _ = walk(network, batch, block, max(2, steps // batch), 2)
    ordered = sorted(times)
    return {
        "latency": (network.delay + block) / rate,
        "block": block / rate,
        "seconds": steps * block / rate,
        "total": sum(times),
        "p50": statistics.median(times),
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "late": sum(one > block / rate for one in times) / steps,
        "batched": statistics.median(together) / (block / rate) / batch,
        "memory": sum(tensor.nbytes for _, tensor in named_tensors(state)),
        "matmul": matmul,
    }


def walk(network, batch: int, block: int, steps: int, warm_up: int):
    """Seconds that each step took, the rate of matrix products meanwhile, and the state in the end."""
    sound = 0.1 * torch.randn(16, batch, block, generator=torch.Generator().manual_seed(1))
    square = torch.randn(256, 256)
    state, times, products = network.init_state(batch), [], []
    for number in range(warm_up + steps):
        started = time.perf_counter()
        _, state = network.step(sound[number % 16], state)
        times.append(time.perf_counter() - started)
        if number % 50 == 0:
            started = time.perf_counter()
            square @ square
            products.append(time.perf_counter() - started)
    return times[warm_up:], 2 * 256**3 / statistics.median(products), state


if __name__ == "__main__":
    main()
