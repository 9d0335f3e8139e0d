"""Does an exported graph give what torch gives? Asked of every file, at lengths that were not traced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from unmingle.errors import ExportError
from unmingle.inference.onnx_engine import OnnxEngine
from unmingle.models.base import SeparationModel

SECONDS = (0.05, 0.2113, 0.5707)
BATCHES = (1, 3)
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
    """Run a graph and its network on noise of three lengths and two batch sizes.

    Args:
        network: on the CPU, in evaluation mode.
        path: the graph, as `unmingle.export.onnx` writes it.

    Raises:
        ExportError: the graph cannot be run, or gives another shape.
    """
    engine = _open(path)
    error, peak, shapes = 0.0, 0.0, list(_shapes(network.config.sample_rate))
    for shape in shapes:
        mixture = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(shape[1]))
        with torch.inference_mode():
            wanted = network(mixture)
        given = _run(engine, mixture)
        if given.shape != wanted.shape:
            raise ExportError(f"the graph made {tuple(given.shape)} of {shape}, torch {tuple(wanted.shape)}")
        difference = float((given - wanted).abs().max())
        error = difference if difference != difference else max(error, difference)  # NaN stays
        peak = max(peak, float(wanted.abs().max()))
    return Agreement(error, peak, shapes)


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


def _run(engine: OnnxEngine, mixture: torch.Tensor) -> torch.Tensor:
    try:
        return torch.from_numpy(engine(mixture.numpy()))
    except Exception as error:  # onnxruntime's exceptions have no common root but this one
        raise ExportError(
            f"the graph fails on {tuple(mixture.shape)}: {str(error).splitlines()[0]}; nothing was written"
        ) from error
