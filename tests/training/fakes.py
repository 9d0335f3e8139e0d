"""A tiny network, tiny batches and a short recipe for the trainer's tests."""

import torch

from unmingle.data.batch import Batch
from unmingle.training.recipe import recipe_from_values

TINY = {
    "family": "tdanet",
    "sample_rate": 8000,
    "window_ms": 4,
    "channels": 8,
    "hidden": 16,
    "depth": 3,
    "n_iterations": 2,
}
TIME = 1600


def batch(step, n=2):
    generator = torch.Generator().manual_seed(step)
    sources = torch.randn(n, 2, TIME, generator=generator)
    return Batch(sources.sum(1), sources, torch.arange(n) % 2 == 0)


class Noise:
    """Batches of noise, and the numbers of those that were asked for."""

    def __init__(self):
        self.asked = []

    def batch(self, step):
        self.asked.append(step)
        return batch(step)


def recipe(**training):
    defaults = {"n_threads": 1, "max_steps": 6, "validate_steps": 3, "log_steps": 2, "lr": 1e-2, "ema_decay": 0.9}
    return recipe_from_values(
        {
            "name": "tiny",
            "model": TINY,
            "data": {"sample_rate": 8000, "n_workers": 0, "segment_seconds": 0.2},
            "training": {**defaults, **training},
        }
    )
