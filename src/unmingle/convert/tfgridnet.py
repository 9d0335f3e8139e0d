"""TF-GridNet weights in the layout of ESPnet's first version, which is also that of networks trained from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from torch import Tensor

from unmingle.convert import grid_names
from unmingle.models.tfgridnet import TFGridNet
from unmingle.presets import config_from_dict
from unmingle.presets.tfgridnet import TFGridNetConfig

families = ("tfgridnet_model",)

_ARGUMENTS = {"lstm_hidden_units": "hidden"}  # beside those of `grid_names`
_IGNORED = ("input_dim",)
_NETWORKS = {"spectral.network.lstm.": "intra_rnn.", "temporal.network.lstm.": "inter_rnn."}


def config_from_published(spec: Mapping[str, Any]) -> TFGridNetConfig:
    """The configuration behind a parity vector.

    Args:
        spec: the constructor's arguments under `config`.
    Raises:
        ConfigError: an argument that no TF-GridNet has, or a value that is not known here.
    """
    arguments: dict[str, Any] = dict(spec["config"])
    own = {ours: arguments.pop(name) for name, ours in _ARGUMENTS.items() if name in arguments}
    values = grid_names.check_arguments(arguments, "TF-GridNet", ignored=_IGNORED)
    return cast("TFGridNetConfig", config_from_dict("tfgridnet", {**values, **own}))


def recognises(keys: Collection[str], model_name: str | None) -> bool:
    """Whether a file holds a published TF-GridNet, by its LSTMs or by its class name."""
    return "blocks.0.inter_rnn.weight_ih_l0" in keys or (model_name or "").lower() == "tfgridnet"


def infer_config(
    state: Mapping[str, Tensor],
    *,
    model_name: str | None = None,  # noqa: ARG001 (the tensors decide)
    model_args: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TFGridNetConfig:
    """Read the configuration off the tensors; hop, stride, rate come from `overrides`, else from `model_args`.

    Args:
        state: published keys, without `module.` or `audio_model.` in front.
        model_name: class that the file names; it decides nothing here.
        model_args: constructor arguments that the file, or a conf.yml beside it, holds, in published names.
        overrides: fields of `TFGridNetConfig`. They win, but cannot contradict the tensors.
    Raises:
        CheckpointError: a tensor that every TF-GridNet has is missing.
        ConfigError: `overrides` names no field, or contradicts a tensor.
    """
    hidden = grid_names.shape_of(state, "blocks.0.intra_rnn.weight_hh_l0", "TF-GridNet", n_axes=2)[1]
    found = grid_names.configure(
        TFGridNetConfig,
        "TF-GridNet",
        shown={**grid_names.sizes(state, "TF-GridNet"), "hidden": hidden},
        arguments=model_args or {},
        overrides=overrides or {},
    )
    return cast("TFGridNetConfig", found)


def convert_state(state: Mapping[str, Tensor], config: TFGridNetConfig) -> dict[str, Tensor]:
    """Rename and stack published tensors to ours.

    Raises:
        CheckpointError: tensors missing, surplus or of another shape than `config` asks for, all in one message.
    """
    return grid_names.convert(
        state, lambda: TFGridNet(config), lambda name: published_keys(name, n_heads=config.n_heads), "TF-GridNet"
    )


def published_keys(name: str, *, n_heads: int) -> list[str]:
    """What the published class calls the parts of one of our parameters."""
    return grid_names.published_keys(name, _NETWORKS, n_heads=n_heads)
