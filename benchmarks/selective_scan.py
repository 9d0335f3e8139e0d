"""Time of every back end of the selective scan on three shapes of (sequences, channels, states, steps).

    python benchmarks/selective_scan.py [--threads 1] [--repeats 5] [--shapes 126,64,16,250 ...]

Prints the processor time of the best of some runs, which other processes disturb less than the wall clock, and how
many times faster than the plain recurrence that is. The first call of a compiled back end is not counted.
"""

import argparse
import time
from collections.abc import Callable

import torch

from unmingle.layers.selective_scan import operator, plain

SHAPES = ("126,64,16,250", "4,64,16,4000", "257,16,16,119")
BACKENDS: dict[str, Callable] = {
    "plain": plain.scan,
    "stepwise": lambda *core: operator.scan(*core, backend="stepwise"),
    "compiled": lambda *core: operator.scan(*core, backend="compiled"),
}


def best_time(scan: Callable, core: list[torch.Tensor], repeats: int) -> float:
    """Seconds of processor time of the best run after a first one."""
    times = []
    with torch.inference_mode():
        scan(*core)
        for _ in range(repeats):
            start = time.process_time()
            scan(*core)
            times.append(time.process_time() - start)
    return min(times)


def arguments(n: int, channels: int, states: int, steps: int) -> list[torch.Tensor]:
    """Random arguments of the size and kind that a network has."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    delta, decay = torch.nn.functional.softplus(normal(n, steps, channels) - 4), -torch.arange(1.0, states + 1)
    return [
        normal(n, steps, channels),
        delta,
        decay.repeat(channels, 1),
        normal(n, steps, states),
        normal(n, steps, states),
    ]


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| shape | back end | seconds | times as fast as plain |\n|---|---|---|---|")
    for shape in options.shapes:
        core = arguments(*map(int, shape.split(",")))
        seconds = {name: best_time(scan, core, options.repeats) for name, scan in BACKENDS.items()}
        for name, value in seconds.items():
            print(f"| {shape} | {name} | {value:.4f} | {seconds['plain'] / value:.1f} |")


if __name__ == "__main__":
    main()
