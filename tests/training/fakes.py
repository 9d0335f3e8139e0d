"""A tiny network, tiny batches and a short recipe for the trainer's tests."""

import torch
from safetensors.torch import load_file

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


class KilledError(Exception):
    pass


class Noise:
    """Batches of noise, and the numbers of those that were asked for.

    They die when the batch of one step is asked for, which happens while the step before it is under way.
    """

    make = staticmethod(batch)

    def __init__(self, *, dies_at=None):
        self.asked, self.dies_at = [], dies_at

    def batch(self, step):
        if step == self.dies_at:
            raise KilledError
        self.asked.append(step)
        return self.make(step)


def same_weights(left, right):
    """Whether two weights files hold the same numbers, bit by bit."""
    left, right = load_file(left), load_file(right)
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


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


LIPS = {"stem": 2, "widths": [3, 4], "blocks": [1, 1], "crop": 12, "learns": "everything"}
TINY_AV = {
    "family": "iianet",
    "sample_rate": 8000,
    "window_ms": 2.0,
    "channels": 8,
    "hidden": 12,
    "visual_channels": 4,
    "video_channels": 4,
    "depth": 2,
    "n_iterations": 2,
    "n_fusion": 2,
}


def faces(step, n=2):
    """One mixture of two tones, asked for by a bright face and by a dark one in turn."""
    generator = torch.Generator().manual_seed(step)
    time = torch.arange(TIME) / 8000
    tones = torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (400, 1900)])
    sources = tones * (0.5 + torch.rand(n, 2, 1, generator=generator))
    face = torch.arange(n) % 2
    video = torch.randint(0, 60, (n, 5, 12, 12), generator=generator) + 150 * face.view(-1, 1, 1, 1)
    return Batch(sources.sum(1), sources[torch.arange(n), face].unsqueeze(1), None, video.to(torch.uint8))


class Faces(Noise):
    """As Noise, with faces."""

    make = staticmethod(faces)


def av_recipe(*, lips=None, **training):
    defaults = {"n_threads": 1, "max_steps": 6, "validate_steps": 3, "log_steps": 2, "lr": 1e-2, "ema_decay": 0.9}
    return recipe_from_values(
        {
            "name": "tiny-av",
            "model": {**TINY_AV, "lips": {**LIPS, **(lips or {})}},
            "data": {
                "sample_rate": 8000,
                "n_workers": 0,
                "segment_seconds": 0.2,
                "video": {"crop": 12},
                "mixing": {"speed": [1, 1]},
            },
            "training": {**defaults, **training},
        }
    )
