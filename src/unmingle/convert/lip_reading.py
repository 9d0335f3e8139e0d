"""Published lip-reading weights: the 3-D convolution and ResNet-18 of a network that names words.

They come apart from any separator, in a file whose `model_state_dict` has `frontend3D.*`, `trunk.*` and `tcn.*`; the
last, which names the words, is left out. Nothing in such a file says whether it is the one that a separator was trained
behind, and another one of the same sizes makes both voices come out alike. So what can be told is told here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unmingle.errors import CheckpointError, ConfigError, did_you_mean
from unmingle.models.iianet import IIANet
from unmingle.presets.iianet import LipReadingConfig

if TYPE_CHECKING:
    from unmingle.convert.containers import Published
    from unmingle.models.base import SeparationModel

logger = logging.getLogger(__name__)

VIDEO = "video_model."  # where Lightning files keep the lip reader, and where it is put beside a separator
_ARGUMENTS = {"frontend_nout": "stem", "planes": "widths", "blocks": "blocks", "relu_type": "activation"}
_PARTS = {"norm": "bn", "act": "relu", "shortcut": "downsample"}
_LEAST_CHANGE = 1e-4  # of an estimate, relative, from one face to another


def published_lips(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `LipReadingConfig` from the arguments that a parity vector states.

    Raises:
        ConfigError: an unknown argument.
    """
    for name in arguments:
        if name not in _ARGUMENTS:
            raise ConfigError(
                f"no lip reader takes {name!r}, only {', '.join(_ARGUMENTS)}{did_you_mean(name, _ARGUMENTS)}"
            )
    return {_ARGUMENTS[name]: value for name, value in arguments.items()}


def is_lip_reading(keys: Collection[str]) -> bool:
    """Whether tensors of these names are a lip reader and nothing else."""
    return any(key.removeprefix(VIDEO).startswith("frontend3D.") for key in keys) and not any(
        key.startswith(("sm.", "encoder.", "decoder.")) for key in keys
    )


def published_lip_key(name: str) -> str:
    """What the published files call a part of our `LipReading`: `trunk.layer2.0.bn1` for `trunk.1.0.norm1`."""
    head, *rest = name.split(".")
    if head == "stem":
        return ".".join(["frontend3D", *rest])
    if rest:
        rest[0] = f"layer{int(rest[0]) + 1}"
    if len(rest) > 2:
        rest[2] = re.sub("^(norm|act|shortcut)", lambda ours: _PARTS[ours[0]], rest[2])
    return ".".join([head, *rest])


def add_lip_reading(separator: Published, path: str | Path, *, where: str) -> Published:
    """A published separator together with the lip reader in a file of its own.

    Args:
        separator: the audio-visual network.
        path: the file of the lip reader.
        where: what to call the separator's file in an error.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: no lip-reading network, one of another make, one that was never trained, or one whose
            embeddings the separator does not take.
    """
    from unmingle.convert.containers import read_published

    taken = separator.state.get("pre_v.weight")
    if taken is None:
        raise CheckpointError(
            f"{where} holds no audio-visual network, so it takes no lip-reading file; leave {path} out"
        )
    read = {key.removeprefix(VIDEO): value for key, value in read_published(path).state.items()}
    given = infer_lips(read, where=str(path))["widths"][-1]
    if taken.ndim != 3 or taken.shape[1] != given:
        raise CheckpointError(
            f"the lip reader in {path} gives embeddings of {given} channels but the separator in {where} takes "
            f"{taken.shape[1] if taken.ndim == 3 else tuple(taken.shape)}; fetch the one that it was trained with"
        )
    _warn_about_words(read, where=str(path))
    others = {key: value for key, value in separator.state.items() if not key.startswith(VIDEO)}
    return replace(separator, state={**others, **{VIDEO + key: value for key, value in read.items()}})


def infer_lips(state: Mapping[str, Tensor], *, where: str) -> dict[str, Any]:
    """Fields of `LipReadingConfig`, read off published tensors.

    Raises:
        CheckpointError: no lip reader of this make, or one with its first random weights.
    """
    stem = state.get("frontend3D.0.weight")
    if stem is None or "trunk.layer1.0.conv1.weight" not in state:
        sample = ", ".join(sorted(state)[:3])
        raise CheckpointError(
            f"{where} holds no lip-reading network with a 3-D convolution and a ResNet trunk, but {len(state)} tensors "
            f"such as {sample}; wanted is the visual network that IIANet was trained with (lrw_resnet18_mstcn_adamw_s3)"
        )
    if stem.ndim != 5 or tuple(stem.shape[1:]) != (1, 5, 7, 7):
        raise CheckpointError(
            f"{where} is a lip-reading network of another make: its first filters are {tuple(stem.shape[1:])}, "
            "not (1, 5, 7, 7) for gray pictures; fetch the one that IIANet was trained with"
        )
    _refuse_random(state, where=where)
    return lip_sizes(state)


def lip_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """As `infer_lips`, from any part of a lip reader; what that part does not show is as published."""
    known = dict(enumerate(LipReadingConfig.widths))
    inner: dict[int, tuple[int, int]] = {}  # stage -> channels of its first convolution, (out, in)
    blocks: dict[int, int] = {}
    for key in sorted(state, reverse=True):  # so that the first block of a stage is the last seen
        if match := re.match(r"trunk\.layer(\d+)\.(\d+)\.conv1\.weight$", key):
            stage, block = int(match[1]) - 1, int(match[2])
            inner[stage] = (state[key].shape[0], state[key].shape[1])
            blocks[stage] = max(block + 1, blocks.get(stage, 1))
    widths = {**known, **{stage - 1: before for stage, (_, before) in inner.items()}}
    widths |= {stage: channels for stage, (channels, _) in inner.items()}
    first = state.get("frontend3D.0.weight")
    n_stages = max(blocks, default=len(known) - 1) + 1
    slopes = any(re.search(r"frontend3D\.2\.weight$|\.relu\d\.weight$", key) for key in state)
    return {
        "stem": widths.get(-1, LipReadingConfig.stem) if first is None else len(first),
        "widths": [widths[stage] for stage in range(n_stages)],
        "blocks": [blocks.get(stage, 1) for stage in range(n_stages)],
        "activation": "prelu" if slopes else "relu",
    }


@torch.inference_mode()
def require_sight(model: SeparationModel) -> None:
    """Refuse a network with a lip reader whose estimates do not depend on the face: the lip reader is not its own.

    Raises:
        CheckpointError: two different moving faces gave the same voice.
    """
    if not isinstance(model, IIANet) or model.lips is None:
        return
    draw = torch.Generator().manual_seed(0)
    n_samples, crop = model.config.sample_rate // 4, model.lips.config.crop
    mixture = 0.1 * torch.randn(1, n_samples, generator=draw).expand(2, -1)
    faces = torch.randn(2, model.config.n_frames(n_samples), crop, crop, generator=draw)
    one, other = model(mixture, faces)
    change = float(torch.linalg.vector_norm(one - other) / (torch.linalg.vector_norm(one) + 1e-12))
    if not change > _LEAST_CHANGE:
        raise CheckpointError(
            f"this network does not see: two faces changed its voice by {change:.1g} of it. The lip-reading file is "
            "not the one that the separator was trained with; try another (lrw_resnet18_mstcn_adamw_s3)"
        )


def _refuse_random(state: Mapping[str, Tensor], *, where: str) -> None:
    gains = [state[key] for key in state if re.search(r"(frontend3D\.1|\.bn\d)\.weight$", key)]
    if gains and all(bool((gain == 1).all()) for gain in gains):
        raise CheckpointError(
            f"the lip-reading network in {where} was never trained: its normalisations are as they were made. The "
            "public training program goes on without a word when no lip-reading file is configured; give one"
        )


def _warn_about_words(state: Mapping[str, Tensor], *, where: str) -> None:
    words = [key for key in state if "tcn" in key]
    if words and not any("ms_tcn" in key for key in words):
        logger.warning(
            "%s names words by %s and not by a multi-scale TCN, so it may not be the file that IIANet was trained "
            "with; make sure that two faces give two voices",
            where,
            ".".join(words[0].split(".")[:2]),
        )
