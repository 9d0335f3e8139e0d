"""Models by name: a light handle that builds its network, and imports torch, on first use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unmingle.models.base import SeparationModel
    from unmingle.presets import ModelConfig

DEFAULT_MODEL = "tdanet-16k"
"""The bundled model that is used when none is named."""


@dataclass
class Model:
    """A model ready to separate.

    Attributes:
        name: bundled name, or file name of the weights.
        config: which network, at which rate, for how many speakers.
        path: its weights; None when it was made from a network.
        device: where the network runs, such as `cpu` or `cuda`.
    """

    name: str
    config: ModelConfig
    path: Path | None = None
    device: str = "cpu"

    @property
    def sample_rate(self) -> int:
        """Hz at which the network works."""
        return self.config.sample_rate

    @property
    def n_src(self) -> int:
        """Speakers that it separates."""
        return self.config.n_src

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input."""
        return self.config.causal

    @property
    def latency_seconds(self) -> float | None:
        """Algorithmic latency of a causal model; None: it listens to the whole window first."""
        return None

    @property
    def network(self) -> SeparationModel:
        """The torch module, built on first use."""
        raise NotImplementedError


@dataclass(frozen=True)
class ModelEntry:
    """One line of `list_models`.

    Attributes:
        name: what `load_model` (when `bundled`) or `build_model` takes.
        sample_rate: Hz.
        n_src: speakers.
        causal: whether it can stream.
        parameters: how many numbers were trained; None for a preset without weights.
        licence: of the weights; None for a preset without weights.
        bundled: whether weights come with the package.
    """

    name: str
    sample_rate: int
    n_src: int
    causal: bool
    parameters: int | None
    licence: str | None
    bundled: bool


def load_model(name_or_path: str | Path | None = None, *, device: str = "cpu") -> Model:
    """A model by bundled name, by path of its `.safetensors`, or by hub id `owner/name` that was pulled before."""
    raise NotImplementedError


def list_models() -> list[ModelEntry]:
    """Bundled models first, then the presets, which are networks without weights."""
    raise NotImplementedError
