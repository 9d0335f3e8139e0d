"""Where estimates come from: a bare network, the whole pipeline of `separate`, or files that somebody wrote.

An estimator says who it is (for the protocol), refuses at the door a mixture that it cannot take, and gives
(n_src, time).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from unmingle.data.av import read_lips, require_videos
from unmingle.data.files import fingerprint_of_files
from unmingle.errors import ConfigError, MissingFileError, SampleRateError
from unmingle.evaluation.utterance import Utterance, read_channel
from unmingle.inference.handle import require_sound_alone
from unmingle.models.lipreading import prepare_crops
from unmingle.presets.iianet import IIANetConfig

if TYPE_CHECKING:
    from unmingle.data.manifest import Entry
    from unmingle.inference.handle import Model
    from unmingle.inference.report import SeparationOptions
    from unmingle.models.base import AudioVisualModel, SeparationModel

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")


class Estimator(Protocol):
    """Anything that has an answer to a mixture.

    Attributes:
        in_order: whether it knows which of its estimates is which source.
    """

    in_order: bool

    def describe(self) -> dict[str, Any]:
        """Who it is, in words and numbers that go into the protocol."""
        ...

    def check(self, entry: Entry) -> None:
        """Refuse, before anything is computed, an entry that cannot be answered."""
        ...

    def __call__(self, utterance: Utterance) -> Tensor:
        """Estimates of one mixture, (n_src, time) float32 on the CPU, in any order."""
        ...


class NetworkEstimator:
    """A network alone: the whole mixture in one forward pass, at the network's own rate, no windows, no rescaling."""

    in_order = False

    def __init__(self, network: SeparationModel, *, name: str) -> None:
        """Take a network in evaluation mode, on the device where it is to run; not one that wants a video."""
        require_sound_alone(network.config, name=name)
        self._network = network.eval()
        self._name = name
        parameters = next(network.parameters(), None)
        self._device = parameters.device if parameters is not None else torch.device("cpu")

    def describe(self) -> dict[str, Any]:
        """Name, weights, rate."""
        return {
            "estimates_from": "network: one forward pass over the whole mixture, batch 1, no windows",
            "model": self._name,
            "weights_sha256": fingerprint(self._network),
            "device": self._device.type,
        }

    def check(self, entry: Entry) -> None:
        """The manifest must be at the network's rate, with as many sources as it separates."""
        _check_rate(entry, self._network.config.sample_rate, self._name)
        _check_sources(entry, self._network.config.n_src, self._name)

    def __call__(self, utterance: Utterance) -> Tensor:
        """One forward pass."""
        with torch.inference_mode():
            return self._network(utterance.mixture.unsqueeze(0).to(self._device))[0].float().cpu()


class FaceEstimator:
    """An audio-visual network alone: the whole mixture in one pass per face, which decides whose voice comes out."""

    in_order = True

    def __init__(self, network: AudioVisualModel, *, name: str) -> None:
        """Take a network with a lip reader, in evaluation mode, on the device where it is to run."""
        config = network.config
        if not isinstance(config, IIANetConfig) or config.lips is None or config.n_src != 1:
            raise ConfigError(f"{name} reads no lips of one face; import it together with its lip-reading file")
        self._network, self._name, self._config, self._crop = network.eval(), name, config, config.lips.crop
        self._device = next(network.parameters()).device

    def describe(self) -> dict[str, Any]:
        """Name, weights, rate."""
        return {
            "estimates_from": "network: the whole mixture and one face in a pass, once per face, no windows",
            "order": "the estimate of a face against the voice of that face; nothing is permuted",
            "model": self._name,
            "weights_sha256": fingerprint(self._network),
            "device": self._device.type,
        }

    def check(self, entry: Entry) -> None:
        """The manifest must be at the network's rate and show every speaker."""
        _check_rate(entry, self._config.sample_rate, self._name)
        require_videos([entry])

    def __call__(self, utterance: Utterance) -> Tensor:
        """One pass per face, as a batch."""
        rate, n_samples = utterance.sample_rate, utterance.mixture.shape[-1]
        faces = [read_lips(path, n_samples, sample_rate=rate, crop=self._crop) for path in utterance.video]
        video = prepare_crops(torch.from_numpy(np.stack(faces)).to(self._device), size=self._crop)
        mixture = utterance.mixture.expand(len(faces), -1).to(self._device)
        with torch.inference_mode():
            return self._network(mixture, video)[:, 0].float().cpu()


class PipelineEstimator:
    """What `unmingle.separate` gives: resampling, windows and levels included."""

    in_order = False

    def __init__(self, model: Model, options: SeparationOptions | None = None) -> None:
        """Take a model handle, not one that wants a video, and how to separate with it."""
        require_sound_alone(model.config, name=model.name)
        self._model, self._options = model, options

    def describe(self) -> dict[str, Any]:
        """Name, weights, options where there are any."""
        model = self._model
        return {
            "estimates_from": "pipeline: unmingle.separate, with its resampling, windows and levels",
            "model": model.name,
            "weights_sha256": model.weights_digest() if model.engine else fingerprint(model.network),
            **({"options": asdict(self._options)} if self._options else {}),
        }

    def check(self, entry: Entry) -> None:
        """Any rate will do; the number of sources must fit."""
        _check_sources(entry, self._model.n_src, self._model.name)

    def __call__(self, utterance: Utterance) -> Tensor:
        """Separate as the front door does."""
        from unmingle.inference.offline import separate

        estimates = separate(
            self._model, utterance.mixture.numpy(), sample_rate=utterance.sample_rate, options=self._options
        )
        return torch.from_numpy(np.ascontiguousarray(estimates, dtype=np.float32))


class FileEstimator:
    """Estimates on disk, written by anything.

    Per mixture and speaker k the first of these that exists is read:

        FOLDER/{id}_spk{k}.wav    FOLDER/{stem of the mixture}_spk{k}.wav    FOLDER/s{k}/{file name of the mixture}

    with any of the usual endings. Rate and length must be those of the mixture.
    """

    in_order = False

    def __init__(self, folder: str | Path) -> None:
        """Name the folder."""
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise MissingFileError(f"there is no folder {self._folder}; --estimates names a folder of separated files")

    def describe(self) -> dict[str, Any]:
        """Folder, and what lies in it."""
        files = sorted(path for path in self._folder.rglob("*") if path.suffix in SUFFIXES)
        return {
            "estimates_from": "files",
            "model": self._folder.name,
            "estimates_sha256": fingerprint_of_files(files),
        }

    def check(self, entry: Entry) -> None:
        """Every file must be there."""
        for k in range(1, len(entry.sources) + 1):
            self._find(entry.id, Path(entry.mixture).stem, k)

    def __call__(self, utterance: Utterance) -> Tensor:
        """Read the files of one mixture."""
        n_src, time = utterance.sources.shape
        paths = [self._find(utterance.id, utterance.stem, k) for k in range(1, n_src + 1)]
        return torch.stack([read_channel(path, sample_rate=utterance.sample_rate, time=time) for path in paths])

    def _find(self, name: str, stem: str, k: int) -> Path:
        places = (f"{name}_spk{k}", f"{stem}_spk{k}", f"s{k}/{stem}", f"s{k}/{name}")
        for place in places:
            for suffix in SUFFIXES:
                path = self._folder / f"{place}{suffix}"
                if path.is_file():
                    return path
        raise MissingFileError(
            f"{self._folder} holds no estimate {k} of mixture {name!r}; looked for "
            + ", ".join(f"{place}.wav" for place in dict.fromkeys(places))
            + f" and the endings {', '.join(SUFFIXES[1:])}"
        )


def fingerprint(network: torch.nn.Module) -> str:
    """The first 16 hex digits of SHA-256 over names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in cast("dict[str, Tensor]", network.state_dict()).items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _check_rate(entry: Entry, sample_rate: int, name: str) -> None:
    if entry.sample_rate != sample_rate:
        raise SampleRateError(
            f"mixture {entry.id!r} is at {entry.sample_rate} Hz but {name} wants {sample_rate} Hz; "
            "resample the manifest, or score the whole pipeline, which resamples (--pipeline)"
        )


def _check_sources(entry: Entry, n_src: int, name: str) -> None:
    if len(entry.sources) != n_src:
        raise ConfigError(
            f"mixture {entry.id!r} has {len(entry.sources)} sources but {name} separates {n_src}; "
            "choose a model for that number, or another manifest"
        )
