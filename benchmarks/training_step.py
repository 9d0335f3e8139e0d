"""What a training step costs: eager or compiled, in float32 or with rounded products.

    python benchmarks/training_step.py recipes/afrcnn-16k-wider.yaml training.n_threads=1

The network, the batch and the optimizer are those of the recipe, the mixtures are noise, so no speech is needed. Each
row is a process of its own; "steps" counts against the first row.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from unmingle.data.batch import Batch
from unmingle.training.keeper import Report
from unmingle.training.recipe import Recipe, load_recipe
from unmingle.training.trainer import train

ROWS = {
    "eager, float32": ["training.compile=false", "training.precision=float32"],
    "eager, bf16-products": ["training.compile=false", "training.precision=bf16-products"],
    "compiled, float32": ["training.compile=true", "training.precision=float32"],
    "compiled, bf16-products": ["training.compile=true", "training.precision=bf16-products"],
}
FRESH = ["training.init_from=null", "training.init_partly=false", "training.init_wider=false"]
WARM_UP = 3


@dataclass(frozen=True)
class Noise:
    """Batches of the recipe's sizes."""

    recipe: Recipe

    def batch(self, step: int) -> Batch:
        data = self.recipe.data
        sources = torch.randn(data.batch_size, data.n_src, data.segment, generator=torch.Generator().manual_seed(step))
        return Batch(sources.sum(1), sources)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="on top of the recipe")
    parser.add_argument("--steps", type=int, default=12, help="timed steps")
    parser.add_argument("--row", choices=ROWS, help="print the seconds of one row's step instead of the table")
    options = parser.parse_args()
    if options.row:
        print(seconds_of_a_step(options.recipe, [*options.settings, *FRESH, *ROWS[options.row]], options.steps))
        return
    recipe = load_recipe(options.recipe, options.settings)
    audio = recipe.data.batch_size * recipe.data.segment_seconds
    print("| | a step, s | audio a second, s | steps |\n|---|--:|--:|--:|")
    first: float | None = None
    for row in ROWS:
        command = [sys.executable, __file__, options.recipe, *options.settings, "--steps", options.steps, "--row", row]
        done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True)
        seconds = float(done.stdout.split()[-1])
        first = first or seconds
        print(f"| {row} | {seconds:.3f} | {audio / seconds:.1f} | {first / seconds:.2f} |", flush=True)


def seconds_of_a_step(path: Path, settings: list[str], n_steps: int) -> float:
    """The median."""
    steps = f"training.max_steps={WARM_UP + n_steps}"
    recipe = load_recipe(path, [*settings, steps, "training.max_minutes=null"])
    noise, times = Noise(recipe), list[float]()

    def note(_report: Report) -> None:
        times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder) / "run", batches=noise, validation=[noise.batch(0)], on_step=note)
    between = [after - before for before, after in pairwise(times)]
    return statistics.median(between[WARM_UP - 1 :])


if __name__ == "__main__":
    main()
