"""The measuring process: `python -m unmingle.metrics.probe`, started by `unmingle.metrics.cost.observe` alone.

It reads a pickled (network, inputs, inputs to warm up with, threads, repeats) from its parent and prints one line of
JSON. A process of its own because a thread count and a high-water mark of memory both stick to the process that once
had them.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

MATMUL_SIZE = 1024  # float32, large enough to be bound by arithmetic and not by memory


@dataclass(frozen=True)
class Observation:
    """What one process saw.

    Attributes:
        forward_seconds: median wall time of a forward pass.
        matmul_flops_per_second: rate of square matrix products, median, taken between the passes.
        forward_memory_bytes: growth of the process over one forward pass; None where the system does not tell.
        process_memory_bytes: the most the process held during it.
    """

    forward_seconds: float
    matmul_flops_per_second: float
    forward_memory_bytes: int | None
    process_memory_bytes: int | None

    @classmethod
    def from_json(cls, line: str) -> Observation:
        """Read what the process printed."""
        return cls(**json.loads(line))


def observe_here(
    model: nn.Module, inputs: Sequence[Tensor], *, warm_up: Sequence[Tensor], threads: int, repeats: int
) -> Observation:
    """Measure in this process, which must be a fresh one. With no repeats, the pass that shows the memory is timed."""
    torch.set_num_threads(threads)
    square = torch.randn(MATMUL_SIZE, MATMUL_SIZE, generator=torch.Generator().manual_seed(1))
    forward_times: list[float] = []
    with torch.inference_mode():
        model(*warm_up)
        growth, peak = _memory_of(lambda: forward_times.append(_seconds_of(lambda: model(*inputs))))
        _seconds_of(lambda: square @ square)
        matmul_times = [_seconds_of(lambda: square @ square)]
        for _ in range(repeats):
            forward_times.append(_seconds_of(lambda: model(*inputs)))
            matmul_times.append(_seconds_of(lambda: square @ square))
    rate = 2 * MATMUL_SIZE**3 / statistics.median(matmul_times)
    return Observation(statistics.median(forward_times[1:] or forward_times), rate, growth, peak)


def _seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _memory_of(work: Callable[[], object]) -> tuple[int | None, int | None]:
    """Growth over the work and the peak during it, in bytes.

    Not `ru_maxrss`: on Linux a child starts with its parent's high-water mark, so a large parent hides the answer.
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        work()
        return None, None
    before = _status_bytes(status, "VmRSS")
    with contextlib.suppress(OSError):
        reset.write_text("5")  # forget the high-water mark of loading
    work()
    peak = _status_bytes(status, "VmHWM")
    return max(0, peak - before), peak


def _status_bytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Read the work from standard input, print one line."""
    model, inputs, warm_up, threads, repeats = pickle.load(sys.stdin.buffer)  # written by our own parent
    seen = observe_here(model, inputs, warm_up=warm_up, threads=threads, repeats=repeats)
    sys.stdout.write(json.dumps(asdict(seen)) + "\n")


if __name__ == "__main__":
    main()
