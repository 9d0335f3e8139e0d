"""The network that a run begins with: random weights, those of a file, or as many of a file's as fit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unmingle.checkpoint import fit, read_tensors
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models import build_model
from unmingle.training.lips import place_lips
from unmingle.training.recipe import Recipe

if TYPE_CHECKING:
    from unmingle.models.base import SeparationModel

log = logging.getLogger(__name__)


def first_network(recipe: Recipe) -> SeparationModel:
    """Build the network of a recipe with its first weights; the same for the same recipe and files.

    Raises:
        CheckpointError: `training.init_from` or `training.lip_reader` does not fit the network.
        ConfigError: `training.init_partly` without `init_from`, or a lip reader that is missing.
        MissingFileError: a file that the recipe names is not there.
    """
    training = recipe.training
    if training.init_partly and training.init_from is None:
        raise ConfigError("training.init_partly is set, but there is no training.init_from to take weights from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = build_model(recipe.model)
    if training.init_from is not None:
        given = _for_each_step(network, read_tensors(training.init_from))
        if training.init_partly:
            _take_what_fits(network, given, where=training.init_from)
        else:
            network = fit(recipe.model, given, where=training.init_from)
    place_lips(network, recipe)
    return network


def _for_each_step(network: SeparationModel, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where an untied network has a tensor for each unfolding step and the file has one for all, give each a copy."""
    tied = {key: network.name_when_tied(key) for key in network.state_dict()}
    if all(key in given for key in tied):
        return given
    mine = {key: given[name] for key, name in tied.items() if key not in given and name in given}
    rest = given.keys() - {tied[key] for key in mine}
    return {**{key: given[key] for key in rest}, **mine}


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
