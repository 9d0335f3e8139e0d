"""Models by name: a light handle that builds its network, and imports torch, on first use."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from unmingle.audio.framing import Samples
from unmingle.checkpoint import Card, fetch, read_card
from unmingle.errors import CheckpointError, ConfigError, MissingFileError, UnknownModelError, did_you_mean
from unmingle.inference.running import running
from unmingle.presets import PRESETS, ModelConfig, is_audio_visual
from unmingle.presets.counts import PARAMETERS
from unmingle.units import samples_to_seconds

if TYPE_CHECKING:
    from unmingle.models.base import SeparationModel

DEFAULT_MODEL = "afrcnn-16k"
"""The bundled model that is used when none is named."""

WEIGHTS = Path(__file__).parent.parent / "weights"
"""Where the bundled weights lie: one `NAME.safetensors` per model."""

ONNX_SUFFIX = ".onnx"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Engine(Protocol):
    """Whatever runs a network: numpy in, numpy out."""

    def __call__(self, mixture: Samples) -> Samples:
        """(batch, time) at the model's rate -> (batch, n_src, time), float32."""
        ...


@dataclass
class Model:
    """A model ready to separate.

    Attributes:
        name: bundled name, or the name that its weights file gives.
        config: which network, at which rate, for how many speakers.
        path: its weights; None when it was made from a network or an engine.
        card: what its weights file says about itself.
        device: where the network runs, such as `cpu` or `cuda`.
        engine: runs the network instead of torch, when it is given.
    """

    name: str
    config: ModelConfig
    path: Path | None = None
    card: Card | None = field(default=None, repr=False)
    device: str = "cpu"
    engine: Engine | None = None
    _network: SeparationModel | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_network(cls, network: SeparationModel, *, name: str = "unnamed") -> Model:
        """A handle of a network that is there already; it is put into evaluation mode."""
        parameter = next(network.parameters(), None)
        device = "cpu" if parameter is None else str(parameter.device)
        return cls(name, network.config, device=device, _network=network.eval())

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
        """Algorithmic latency of a causal model that streams; None: it listens to a whole window first."""
        samples: int | None = getattr(self.config, "latency", None)  # only configurations of streaming models say
        return None if samples is None else samples_to_seconds(samples, sample_rate=self.sample_rate)

    @property
    def network(self) -> SeparationModel:
        """The torch module, built on first use.

        Raises:
            CheckpointError: the weights are damaged or do not fit their model.
            ConfigError: there is no such device.
        """
        if self._network is None:
            if self.path is None or self.path.suffix == ONNX_SUFFIX:
                raise CheckpointError(f"{self.name} runs on its own engine and has no torch network")
            from unmingle.checkpoint import load_checkpoint

            self._network = _moved(load_checkpoint(self.path), self.device)
        return self._network

    def weights_digest(self) -> str | None:
        """SHA-256 of the weights file in hex digits; None without one."""
        if self.path is None:
            return None
        found = self.path.stat()
        return _digest(self.path, found.st_size, found.st_mtime_ns)

    def to(self, device: str) -> Model:
        """The same model on another device.

        Raises:
            ConfigError: there is no such device, or an engine runs the model where it was opened.
        """
        if self.engine is not None and device != self.device:
            raise ConfigError(f"{self.name} runs on its own engine on {self.device}; load it with device={device!r}")
        network = None if self._network is None else _moved(self._network, device)
        return replace(self, device=device, _network=network)

    def with_threads(self, threads: int) -> Model:
        """The model on so many threads: of torch, which has one setting for all, or of an exported file's engine."""
        from unmingle.inference.onnx_engine import OnnxEngine

        if isinstance(self.engine, OnnxEngine):
            return replace(self, engine=self.engine.with_threads(threads))
        import torch

        torch.set_num_threads(threads)
        return self

    def run(self, mixture: Samples) -> Samples:
        """Separate whole windows with the engine, or with the network on its device.

        Args:
            mixture: (batch, time) float32 at the model's rate.

        Returns:
            (batch, n_src, time) float32.

        Raises:
            MemoryError: the network needs more than there is.
        """
        if self.engine is not None:
            return self.engine(mixture)
        import torch

        with running():
            estimates = self.network(torch.from_numpy(mixture).to(self.device))
            return estimates.float().cpu().numpy()


@lru_cache(maxsize=8)
def _digest(path: Path, _size: int, _changed: int) -> str:
    """Read once for all recordings of a run, and again when the file is another one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class ModelEntry:
    """One line of `list_models`.

    Attributes:
        name: what `load_model` takes when it is `bundled`; else the name of a preset.
        sample_rate: Hz.
        n_src: speakers.
        causal: whether it can stream.
        parameters: how many numbers are trained, a frozen front end left out; None of a weights file that does not say.
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
    """A handle of a model; its network is built on first use.

    Args:
        name_or_path: a bundled name, the path of a `.safetensors` or of an `.onnx` that `unmingle export` wrote (which
            onnxruntime runs, without torch), or the id `owner/name` of a hub repository that was fetched before (this
            function never uses the network). None is the default model.
        device: where its network shall run, such as `cpu` or `cuda`.

    Raises:
        UnknownModelError: nothing has this name, or only a preset has, which brings no weights.
        MissingFileError: there is no such file, or the hub repository was not fetched yet.
        CheckpointError: the file is damaged or not one of ours.
        MissingExtraError: an `.onnx` was given and onnxruntime is not installed.
    """
    path = weights_file(DEFAULT_MODEL if name_or_path is None else name_or_path)
    if path.suffix == ONNX_SUFFIX:
        from unmingle.inference.onnx_engine import OnnxEngine

        engine = OnnxEngine(path, device=device)
        return Model(engine.card.name, engine.card.config, path, engine.card, device, engine)
    card = read_card(path)
    return Model(card.name, card.config, path, card, device)


def load_or_build(name: str) -> Model:
    """As `load_model`; a preset without weights is built with random ones, and its handle has no card."""
    if name not in PRESETS or (WEIGHTS / f"{name}.safetensors").is_file():
        return load_model(name)
    from unmingle.models import build_model

    return Model.from_network(build_model(PRESETS[name]), name=name)


def require_sound_alone(config: ModelConfig, *, name: str) -> None:
    """Refuse a network that wants to see the speakers, where nobody shows them to it.

    Raises:
        ConfigError: it is audio-visual.
    """
    if is_audio_visual(config):
        raise ConfigError(
            f"{name} gives the voice of a face that it sees: it wants a video of each speaker besides the mixture, and "
            f"here it would get sound alone; choose an audio model such as {DEFAULT_MODEL}, or run its network, "
            "model.network(mixture, video)"
        )


def list_models() -> list[ModelEntry]:
    """Bundled models first, the default one before the others; then the presets, which are networks without weights."""
    bundled = sorted((_bundled_entry(path) for path in WEIGHTS.glob("*.safetensors")), key=_default_first)
    names = {entry.name for entry in bundled}
    presets = [
        ModelEntry(name, config.sample_rate, config.n_src, config.causal, PARAMETERS[name], None, bundled=False)
        for name, config in PRESETS.items()
        if name not in names
    ]
    return [*bundled, *presets]


def _bundled_entry(path: Path) -> ModelEntry:
    card = read_card(path)
    config = card.config
    return ModelEntry(
        path.stem, config.sample_rate, config.n_src, config.causal, card.parameters, card.licence or None, bundled=True
    )


def _default_first(entry: ModelEntry) -> tuple[bool, str]:
    return entry.name != DEFAULT_MODEL, entry.name


def weights_file(name_or_path: str | Path) -> Path:
    """The weights file that is meant: of a bundled name, of a path, of a hub repository that was fetched before.

    Raises:
        UnknownModelError, MissingFileError: as `load_model`.
    """
    name = str(name_or_path)
    bundled = WEIGHTS / f"{name}.safetensors"
    if bundled.parent == WEIGHTS and bundled.is_file():
        return bundled
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    if isinstance(name_or_path, Path) or path.suffix in {".safetensors", ONNX_SUFFIX}:
        raise MissingFileError(f"there is no weights file {path}; check the path")
    if _HUB_ID.fullmatch(name):
        return fetch(name, cached_only=True)
    raise _unknown(name)


def _unknown(name: str) -> UnknownModelError:
    bundled = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
    have = f"bundled are {', '.join(bundled)}" if bundled else "no weights are bundled with this installation"
    if name in PRESETS:
        return UnknownModelError(
            f"{name} is a preset: its network can be built, but no weights come with it; {have}. "
            "Train it, or import published weights with `unmingle import` and give the path of the file"
        )
    guess = did_you_mean(name, [*bundled, *PRESETS])
    return UnknownModelError(f"no model is called {name!r}; {have}, and the path of a .safetensors works too{guess}")


def _moved(network: SeparationModel, device: str) -> SeparationModel:
    try:
        return network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"the device {device!r} cannot be used ({error}); `cpu` always can") from error
