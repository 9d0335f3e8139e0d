"""Where the lip reader of an audio-visual network comes from: a file of its own, other weights, or its own training."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unmingle.checkpoint import read_tensors
from unmingle.convert.containers import read_published
from unmingle.convert.lip_reading import VIDEO, infer_lips, published_lip_key
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models.base import SeparationModel
from unmingle.models.iianet import IIANet
from unmingle.models.lipreading import LipReading
from unmingle.presets.iianet import LipReadingConfig
from unmingle.training.recipe import Recipe

_OURS = "lips."


def place_lips(network: SeparationModel, recipe: Recipe) -> None:
    """Give a new network the lip reader that its recipe names, in place.

    Raises:
        ConfigError: the lip reader learns nothing and comes from nowhere, or the network has none to replace.
        CheckpointError: the file holds no lip reader, or another one.
    """
    lips = network.lips if isinstance(network, IIANet) else None
    training = recipe.training
    if training.lip_reader is not None:
        if lips is None:
            raise ConfigError("training.lip_reader is set, but the network of this recipe reads no lips; leave it out")
        lips.load_state_dict(read_lips(training.lip_reader, lips.config))
    elif lips is not None and lips.config.learns != "everything" and training.init_from is None:
        raise ConfigError(
            f"model.lips.learns is {lips.config.learns!r}, but its weights are random: the network would learn not to "
            "look. Set training.lip_reader to a trained lip reader (the published lrw_resnet18_mstcn_adamw_s3, or "
            "weights of ours that have one), or model.lips.learns=everything"
        )


def read_lips(path: str | Path, config: LipReadingConfig) -> dict[str, Tensor]:
    """The tensors of a lip reader, by our names: out of our own weights, or a published file.

    Args:
        path: `.safetensors` of an audio-visual network of ours, or a lip-reading file as it is published.
        config: the lip reader that is wanted.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: no lip reader, one that was never trained, or one of other sizes.
    """
    with torch.device("meta"):
        wanted = LipReading(config).state_dict()
    found = _own(path) or _published(path, list(wanted))
    differing = [name for name in wanted if name not in found or found[name].shape != wanted[name].shape]
    if differing or len(found) > len(wanted):
        raise CheckpointError(
            f"the lip reader in {path} is not the one that the recipe wants (stem {config.stem}, widths "
            f"{list(config.widths)}, blocks {list(config.blocks)}, {config.activation}); {len(differing)} tensors do "
            f"not fit{': ' + ', '.join(differing[:3]) if differing else ''}; change model.lips, or give another file"
        )
    return found


def _own(path: str | Path) -> dict[str, Tensor]:
    if Path(path).suffix != ".safetensors":
        return {}
    state = read_tensors(path)
    return {key.removeprefix(_OURS): value for key, value in state.items() if key.startswith(_OURS)}


def _published(path: str | Path, names: list[str]) -> dict[str, Tensor]:
    state = {key.removeprefix(VIDEO): value for key, value in read_published(path).state.items()}
    infer_lips(state, where=str(path))  # refuses what is none
    renamed = {name: state[key] for name in names if (key := published_lip_key(name)) in state}
    more = {key: value for key, value in state.items() if key.startswith(("frontend3D.", "trunk."))}
    return renamed if len(renamed) == len(more) else more
