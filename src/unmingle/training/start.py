"""The network that a run begins with: random weights, those of a file, as many of a file's as fit, or those of
a narrower network inside a wider one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unmingle.checkpoint import fit, load_checkpoint, read_tensors
from unmingle.errors import CheckpointError, ConfigError
from unmingle.inference.handle import weights_file
from unmingle.models import build_model
from unmingle.presets import AFRCNNConfig, TDANetConfig, config_to_dict
from unmingle.training.lips import place_lips
from unmingle.training.recipe import Recipe

if TYPE_CHECKING:
    from unmingle.models.base import SeparationModel
    from unmingle.presets import ModelConfig

log = logging.getLogger(__name__)


def first_network(recipe: Recipe) -> SeparationModel:
    """Build the network of a recipe with its first weights; the same for the same recipe and files.

    Raises:
        CheckpointError: `training.init_from` or `training.lip_reader` does not fit the network.
        ConfigError: `training.init_partly` or `init_wider` without `init_from`, or both of them; a network that cannot
            grow; a lip reader that is missing.
        MissingFileError, UnknownModelError: weights that the recipe names are not there.
    """
    training = recipe.training
    ways = [name for name in ("init_partly", "init_wider") if getattr(training, name)]
    if ways and training.init_from is None:
        raise ConfigError(f"training.{ways[0]} is set, but there is no training.init_from to take weights from")
    if len(ways) > 1:
        raise ConfigError("training.init_partly and training.init_wider are two ways to begin; set one of them")
    network = _fresh(recipe) if training.init_from is None else _begun(recipe, str(weights_file(training.init_from)))
    place_lips(network, recipe)
    return network


def _begun(recipe: Recipe, path: str) -> SeparationModel:
    """With weights out of a file, in one of the three ways."""
    if recipe.training.init_wider:
        network = _fresh(recipe)
        _place_inside(network, load_checkpoint(path), where=path)
        return network
    given = _for_each_step(recipe.model, read_tensors(path))
    if not recipe.training.init_partly:
        return fit(recipe.model, given, where=path)
    network = _fresh(recipe)
    _take_what_fits(network, given, where=path)
    return network


def _fresh(recipe: Recipe) -> SeparationModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.training.seed)
        return build_model(recipe.model)


def _for_each_step(config: ModelConfig, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where an untied network has a tensor for each unfolding step and the file has one for all, give each a copy."""
    with torch.device("meta"):  # for its names alone
        network = build_model(config)
    tied = {key: network.name_when_tied(key) for key in network.state_dict()}
    copies = {key: given[name] for key, name in tied.items() if key not in given and name in given}
    copied = {tied[key] for key in copies}
    return {key: value for key, value in given.items() if key not in copied} | copies


def _take_what_fits(network: SeparationModel, given: dict[str, Tensor], *, where: str) -> None:
    """Copy the tensors that the network has by the same name and shape, in place, and log the rest."""
    mine = network.state_dict()
    fitting = {key: value for key, value in given.items() if key in mine and mine[key].shape == value.shape}
    if 2 * len(fitting) < len(mine):
        raise CheckpointError(
            f"only {len(fitting)} of the {len(mine)} tensors of this recipe's network are in {where}, which is of "
            "another network; training.init_partly wants one that differs in a few layers, such as in n_src"
        )
    network.load_state_dict(fitting, strict=False)
    new = ", ".join(sorted(mine.keys() - fitting.keys())) or "none"
    log.warning("%d of %d tensors come from %s; begun anew: %s", len(fitting), len(mine), Path(where).name, new)


def _place_inside(network: SeparationModel, narrow: SeparationModel, *, where: str) -> None:
    """Give a network the weights of one with fewer `channels`, in place, so that it computes what that one did.

    What the new features read is random; whatever was there before does not read them yet, and no norm runs over the
    channels of these two families.
    """
    config, given = network.config, narrow.config
    if not isinstance(config, AFRCNNConfig | TDANetConfig) or not isinstance(given, type(config)):
        raise ConfigError(
            f"training.init_wider is set, for {config.family} from {given.family}; only A-FRCNN and TDANet can grow, "
            "each from its own family"
        )
    if isinstance(config, AFRCNNConfig) and config.unfolding == "CC":
        raise ConfigError(
            "training.init_wider is set, but with unfolding 'CC' the initial map and the last one share the joining "
            "convolution's inputs, where new channels would come between them; only 'SC' and 'DC' can grow"
        )
    wanted = config_to_dict(config)
    differing = {name: value for name, value in config_to_dict(given).items() if wanted[name] != value}
    if differing.keys() - {"channels"} or given.channels > config.channels:
        said = ", ".join(f"{name}={value!r}" for name, value in sorted(differing.items()))
        raise CheckpointError(
            f"the network in {where} does not fit inside this recipe's: it has {said}; training.init_wider wants one "
            "that differs in having fewer channels and in nothing else"
        )
    old = narrow.state_dict()
    for key, value in network.state_dict().items():
        sizes = old[key].shape
        if value.dim() > 1:
            value[: sizes[0], sizes[1] :] = 0  # what old outputs make of new inputs
        value[tuple(slice(0, size) for size in sizes)] = old[key]
    log.warning("%d channels of %s are inside these %d", given.channels, Path(where).name, config.channels)
