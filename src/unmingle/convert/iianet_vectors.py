"""Parity vectors of IIANet and its lip reader: several inputs, and several things to compare in one file.

Their metadata key `config` is JSON with a `kind`. Beside `output` a file may hold values from the way (`mid/*`), the
embedding between the two networks, and training losses; each is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from unmingle.checkpoint import fit
from unmingle.convert import iianet
from unmingle.convert.containers import strip_prefixes
from unmingle.convert.lip_reading import VIDEO, lip_sizes, published_lip_key, published_lips
from unmingle.errors import CheckpointError, ShapeError
from unmingle.layers.attention import pool_sum
from unmingle.layers.conv import pad_windows
from unmingle.metrics.permutation import best_permutation, matched_scores, pairwise
from unmingle.metrics.si_sdr import si_sdr, snr
from unmingle.models.iianet import IIANet
from unmingle.models.lipreading import LipReading, prepare_crops
from unmingle.presets.iianet import LipReadingConfig

_RELATIVE, _RELATIVE_L2 = 1e-4, 1e-5  # of the largest value, and of the norm
_EPS = 1e-8  # of the published losses

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Comparison:
    """What this network gives, beside what the published one gave."""

    what: str
    found: Tensor
    stored: Tensor

    @property
    def max_abs_error(self) -> float:
        """Largest difference; nan where either is no number."""
        return float((self.found - self.stored).abs().max())

    @property
    def tolerance(self) -> float:
        """The largest difference allowed."""
        return _RELATIVE * float(self.stored.abs().max())

    @property
    def ok(self) -> bool:
        """Whether the difference is small everywhere, and small as a whole."""
        norm = torch.linalg.vector_norm
        close = float(norm(self.found - self.stored)) <= _RELATIVE_L2 * float(norm(self.stored))
        return close and self.max_abs_error <= self.tolerance


def described(metadata: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The description of a vector of these kinds; None for any other file."""
    try:
        config: object = json.loads(metadata.get("config", ""))
    except ValueError:
        return None
    if not isinstance(config, dict) or config.get("kind") not in KINDS:
        return None
    return cast("dict[str, Any]", config)


@torch.inference_mode()
def compare(config: Mapping[str, Any], tensors: Tensors) -> list[Comparison]:
    """Rebuild the networks of a vector, run them, and give what is to be compared, the output first.

    Raises:
        CheckpointError: a tensor is missing, or the weights do not fit.
        ShapeError: the network gives another shape than is stored.
    """
    floats = {key: value.float() for key, value in tensors.items()}
    found = {name: value for name, value in KINDS[config["kind"]](config, _Vector(floats)) if name in floats}
    for name, value in found.items():
        if value.shape != floats[name].shape:
            raise ShapeError(f"{name}: the network gives {tuple(value.shape)}, stored is {tuple(floats[name].shape)}")
    if "output" not in found:
        raise CheckpointError("no parity vector: it holds no output")
    return [Comparison(name, value, floats[name]) for name, value in found.items()]


class _Vector(dict[str, Tensor]):
    """Tensors by name; one that is not there is no vector."""

    def __missing__(self, name: str) -> Tensor:
        raise CheckpointError(f"no parity vector: it holds no {name}")

    def state(self, prefix: str = "state/") -> dict[str, Tensor]:
        """The weights below a prefix, under the names that the published class gives them."""
        return strip_prefixes(
            {key.removeprefix(prefix): value for key, value in self.items() if key.startswith(prefix)}
        )


def _separator(config: Mapping[str, Any], vector: _Vector) -> Iterator[tuple[str, Tensor]]:
    mixture, visual = _rows(vector["input_audio"]), vector["input_video"]
    network = _network(config, vector.state())
    estimates = network.separate(mixture, visual)
    yield "output", estimates[0] if vector["input_audio"].ndim == 1 else estimates
    if any(name.startswith("mid/") for name in vector):
        yield from _on_the_way(network, mixture, visual)
    if "target" in vector:
        yield from _losses(estimates, vector["target"])


def _end_to_end(config: Mapping[str, Any], vector: _Vector) -> Iterator[tuple[str, Tensor]]:
    video = {VIDEO + key: value for key, value in vector.state("state/video.").items()}
    network = _network(config, {**vector.state("state/iianet."), **video})
    crops, size = vector["input_frames"], LipReadingConfig.crop
    visual = cast("LipReading", network.lips).embed(prepare_crops(crops, size=min(size, *crops.shape[2:])))
    estimates = network.separate(_rows(vector["input_audio"]), visual)
    yield "output", estimates[0] if vector["input_audio"].ndim == 1 else estimates
    yield "embedding", visual


def _video_model(config: Mapping[str, Any], vector: _Vector) -> Iterator[tuple[str, Tensor]]:
    lips = LipReading(_lips_config(published_lips(config["model"])))
    _load(lips, vector.state())
    yield "output", lips.embed(vector["input_video"].squeeze(1))


def _video_submodule(config: Mapping[str, Any], vector: _Vector) -> Iterator[tuple[str, Tensor]]:
    """A part of the lip reader, by its published name; its sizes are those of its tensors."""
    state, name = vector.state(), str(config["submodule"])
    lips = LipReading(_lips_config(lip_sizes(state)))
    parts = dict(lips.named_modules())
    ours = next((part for part in parts if part and published_lip_key(part) == name), None)
    if ours is None:
        raise CheckpointError(f"a lip reader of these tensors has no part {name!r}")
    _load(parts[ours], state, outer=f"{ours}.")
    output = parts[ours](vector["input_video"])
    pooled = output.ndim == vector["output"].ndim + 2  # the published trunk ends with the mean over the picture
    yield "output", output.mean(dim=(2, 3)) if pooled else output


KINDS: dict[str, Callable[[Mapping[str, Any], _Vector], Iterator[tuple[str, Tensor]]]] = {
    "iianet": _separator,
    "end_to_end": _end_to_end,
    "video_model": _video_model,
    "video_submodule": _video_submodule,
}


def _network(config: Mapping[str, Any], state: Tensors) -> IIANet:
    ours = iianet.config_from_published(config)
    return cast("IIANet", fit(ours, iianet.convert_state(state, ours), where="the vector"))


def _rows(mixture: Tensor) -> Tensor:
    """(time,), (batch, time) or (batch, 1, time) -> (batch, time)."""
    if mixture.ndim not in (1, 2, 3) or (mixture.ndim == 3 and mixture.shape[1] != 1):
        raise ShapeError(f"input_audio is {tuple(mixture.shape)}; wanted (time,), (batch, time) or (batch, 1, time)")
    return mixture.reshape(-1, mixture.shape[-1])


def _on_the_way(network: IIANet, mixture: Tensor, visual: Tensor) -> Iterator[tuple[str, Tensor]]:
    features = network.encoder(pad_windows(mixture, window=network.config.window, hop=network.config.hop).unsqueeze(1))
    audio, video = network.bottleneck(network.norm(features)), network.video_bottleneck(visual)
    separator = network.separator
    heard, seen = separator.inter_top(pool_sum(separator.audio_up(audio)), pool_sum(separator.video_up(video)))
    audio_out, video_out = separator.fuse(audio, video)
    yield from {
        "mid/encoder": features,
        "mid/bottleneck": audio,
        "mid/pre_v": video,
        "mid/cycle0_global_a": heard,
        "mid/cycle0_global_v": seen,
        "mid/cycle0_audio_out": audio_out,
        "mid/cycle0_video_out": video_out,
        "mid/separator_out": separator(audio, video),
    }.items()


def _losses(estimates: Tensor, target: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Minus the score of the best assignment, mean over sources and batch."""
    for name, metric in {"loss_neg_snr": snr, "loss_neg_sisdr": si_sdr}.items():
        scores = pairwise(partial(metric, zero_mean=True, eps=_EPS), estimates=estimates, sources=target)
        yield name, -matched_scores(scores, best_permutation(scores)).mean().reshape(1)


def _lips_config(values: Mapping[str, Any]) -> LipReadingConfig:
    as_tuples = {name: tuple(values[name]) for name in ("widths", "blocks") if name in values}
    return LipReadingConfig(**cast("dict[str, Any]", {**values, **as_tuples}))


def _load(module: nn.Module, state: Tensors, *, outer: str = "") -> None:
    wanted = {name: published_lip_key(outer + name) for name in module.state_dict()}
    missing = [key for key in wanted.values() if key not in state]
    surplus = sorted(set(state) - set(wanted.values()))
    if missing or surplus:
        raise CheckpointError(f"the weights do not fit; missing: {', '.join(missing)}; surplus: {', '.join(surplus)}")
    module.load_state_dict({name: state[key] for name, key in wanted.items()})
    module.eval()
