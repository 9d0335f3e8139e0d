"""Does an exported graph give what torch gives? Asked of every file, at lengths that were not traced.

A graph of one hop is asked for whole streams, the end included, and in a batch that begin one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from unmingle.audio.framing import Samples
from unmingle.errors import ExportError
from unmingle.export.form import example_video
from unmingle.inference.onnx_engine import OnnxEngine
from unmingle.inference.onnx_live import OnnxLive
from unmingle.models.base import FrameStreamingModel, SeparationModel
from unmingle.presets import IIANetConfig

Answer = tuple[Tensor, Tensor, Tensor]
"""A mixture, what torch makes of it, and what the graph does."""

SECONDS = (0.05, 0.2113, 0.5707)
BATCHES = (1, 3)
STARTS = (0, 1, 7)
"""Hops after which the streams of a batch begin."""
TOLERANCE = 1e-4
"""Of the largest sample of the estimates: 80 dB below it."""


@dataclass(frozen=True)
class Agreement:
    """How a graph compares with the network it was made of.

    Attributes:
        max_abs_error: the largest difference between two samples.
        peak: the largest sample that torch gave.
        shapes: the mixtures that were compared, (batch, time).
    """

    max_abs_error: float
    peak: float
    shapes: list[tuple[int, int]]

    def require(self, name: str) -> None:
        """Refuse a graph that differs.

        Raises:
            ExportError: the error is above the tolerance, or not a number.
        """
        allowed = TOLERANCE * max(self.peak, 1e-3)
        if not self.max_abs_error <= allowed:
            raise ExportError(
                f"the graph of {name} differs from torch by {self.max_abs_error:.2g}, where {allowed:.2g} is allowed; "
                "nothing was written"
            )


def compare(network: SeparationModel, path: str | Path) -> Agreement:
    """Run a graph and its network on noise of several lengths and batch sizes.

    Args:
        network: on the CPU, in evaluation mode.
        path: the graph, as `unmingle.export.onnx` writes it.

    Raises:
        ExportError: the graph cannot be run, or gives another shape.
    """
    engine = _open(path)
    error, peak, shapes = 0.0, 0.0, list[tuple[int, int]]()
    for mixture, wanted, given in _within(_answers(network, engine)):
        if given.shape != wanted.shape:
            raise ExportError(
                f"the graph made {tuple(given.shape)} of {tuple(mixture.shape)}, torch {tuple(wanted.shape)}"
            )
        difference = float((given - wanted).abs().max())
        error = difference if difference != difference else max(error, difference)  # NaN stays
        peak = max(peak, float(wanted.abs().max()))
        shapes.append((mixture.shape[0], mixture.shape[1]))
    return Agreement(error, peak, shapes)


def _within(answers: Iterator[Answer]) -> Iterator[Answer]:
    """The same, with one error for whatever the graph fails of."""
    try:
        yield from answers
    except Exception as error:  # onnxruntime's exceptions have no common root but this one
        raise ExportError(f"the graph fails: {str(error).splitlines()[0]}; nothing was written") from error


def _answers(network: SeparationModel, engine: OnnxEngine) -> Iterator[Answer]:
    """Mixtures, what torch makes of each, and what the graph does."""
    if engine.live is not None:
        yield from _streams(cast(FrameStreamingModel, network), engine.live)
        return
    for shape in _shapes(network.config.sample_rate):
        given, config = [_noise(shape)], network.config
        if isinstance(config, IIANetConfig):
            given.append(example_video(config, batch=shape[0], n_samples=shape[1]))
        with torch.inference_mode():
            wanted = network(*given)
        yield given[0], wanted, torch.from_numpy(engine(*(one.numpy() for one in given)))


def _streams(network: FrameStreamingModel, live: OnnxLive) -> Iterator[Answer]:
    """Whole signals; then streams of one batch that do not begin together."""
    n_hops = 2 * (network.live.period or 0) + network.live.analysis.lead + max(STARTS)
    for n_samples in (network.least, n_hops * network.hop + 1):
        mixture = _noise((1, n_samples))
        with torch.inference_mode():
            wanted = network(mixture)
        yield mixture, wanted, torch.from_numpy(live.whole(mixture.numpy()))
    mixture = _noise((len(STARTS), n_hops * network.hop))
    together = torch.from_numpy(_staggered(live, mixture.numpy()))
    for item, start in enumerate(STARTS):
        own = mixture[item : item + 1, start * network.hop :]
        with torch.inference_mode():
            wanted, _ = network.step(own, network.init_state(1))
        yield own, wanted, together[item : item + 1, :, start * network.hop :]


def _staggered(live: OnnxLive, mixture: Samples) -> Samples:
    """Hop by hop, (B, time) -> (B, n_src, time); an item's state is nothing but zeros until its hop of `STARTS`."""
    fresh, parts = live.init_state(len(mixture)), list[Samples]()
    state = fresh
    for number, start in enumerate(range(0, mixture.shape[1], live.hop)):
        begun = np.array(STARTS) < number
        state = {
            name: np.where(begun.reshape(-1, *[1] * (old.ndim - 1)), old, fresh[name]) for name, old in state.items()
        }
        part, state = live.step(mixture[:, start : start + live.hop], state)
        parts.append(part)
    return np.concatenate(parts, axis=2)


def _open(path: str | Path) -> OnnxEngine:
    try:
        return OnnxEngine(path, threads=torch.get_num_threads())
    except ValueError as error:
        raise ExportError(f"onnxruntime refuses the graph: {error}") from error


def _shapes(sample_rate: int) -> Iterator[tuple[int, int]]:
    """Odd numbers of samples: whatever rounds, rounds here."""
    for batch in BATCHES:
        for seconds in SECONDS:
            yield batch, round(seconds * sample_rate) | 1


def _noise(shape: tuple[int, int]) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(shape[1]))
