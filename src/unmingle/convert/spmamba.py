"""Published SPMamba weights, whatever class the file names: `SPMamba`, `TFGridNetMamba` in older ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from torch import Tensor

from unmingle.convert import grid_names
from unmingle.errors import CheckpointError
from unmingle.models.spmamba import SPMamba
from unmingle.presets import config_from_dict
from unmingle.presets.spmamba import SPMambaConfig

families = ("spmamba_model",)

_CLASSES = ("spmamba", "tfgridnetmamba")
_IGNORED = ("input_dim", "lstm_hidden_units")  # taken by the published constructor, used by nothing
_NETWORKS = {
    f"{ours}.network.{direction}_units.": f"{theirs}_mamba.{direction}_blocks."
    for ours, theirs in (("spectral", "intra"), ("temporal", "inter"))
    for direction in ("forward", "backward")
}
_UNIT = "blocks.0.intra_mamba.forward_blocks."


def config_from_published(spec: Mapping[str, Any]) -> SPMambaConfig:
    """The configuration behind a parity vector.

    Args:
        spec: the constructor's arguments under `config`, those of its mixers under `mamba`.
    Raises:
        ConfigError: an argument that no SPMamba has, or a value that is not known here.
    """
    values = grid_names.check_arguments(spec["config"], "SPMamba", ignored=_IGNORED)
    return cast("SPMambaConfig", config_from_dict("spmamba", {**values, **spec.get("mamba", {})}))


def recognises(keys: Collection[str], model_name: str | None) -> bool:
    """Whether a file holds a published SPMamba, by its mixers; by its class name if nothing speaks against it."""
    named = (model_name or "").lower() in _CLASSES and not any(".intra_rnn." in key for key in keys)
    return named or any(".intra_mamba." in key for key in keys)


def infer_config(
    state: Mapping[str, Tensor],
    *,
    model_name: str | None = None,  # noqa: ARG001 (published files name the wrong class at times)
    model_args: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> SPMambaConfig:
    """Read the configuration off the tensors; hop, stride, rate come from `overrides`, else from `model_args`.

    Args:
        state: published keys, without `module.` or `audio_model.` in front.
        model_name: class that the file names; it decides nothing here.
        model_args: constructor arguments that the file, or a conf.yml beside it, holds, in published names.
        overrides: fields of `SPMambaConfig`. They win, but cannot contradict the tensors.
    Raises:
        CheckpointError: a tensor that every SPMamba has is missing.
        ConfigError: `overrides` names no field, or contradicts a tensor.
    """
    shown = grid_names.sizes(state, "SPMamba") | _mixer_sizes(state)
    found = grid_names.configure(
        SPMambaConfig, "SPMamba", shown=shown, arguments=model_args or {}, overrides=overrides or {}
    )
    return cast("SPMambaConfig", found)


def convert_state(state: Mapping[str, Tensor], config: SPMambaConfig) -> dict[str, Tensor]:
    """Rename and stack published tensors to ours.

    Raises:
        CheckpointError: tensors missing, surplus or of another shape than `config` asks for, all in one message.
    """
    return grid_names.convert(
        state, lambda: SPMamba(config), lambda name: published_keys(name, n_heads=config.n_heads), "SPMamba"
    )


def published_keys(name: str, *, n_heads: int) -> list[str]:
    """What the published class calls the parts of one of our parameters."""
    return grid_names.published_keys(name, _NETWORKS, n_heads=n_heads)


def _mixer_sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    inner, d_state = grid_names.shape_of(state, f"{_UNIT}0.mixer.A_log", "SPMamba", n_axes=2)
    features = grid_names.shape_of(state, f"{_UNIT}0.norm.weight", "SPMamba", n_axes=1)[0]
    if inner % features:
        raise CheckpointError(
            f"the mixers of this SPMamba have {inner} inner channels for {features} features; a multiple was wanted"
        )
    return {
        "n_units": grid_names.count(state, r"blocks\.0\.intra_mamba\.forward_blocks\.(\d+)\."),
        "d_state": d_state,
        "d_conv": grid_names.shape_of(state, f"{_UNIT}0.mixer.conv1d.weight", "SPMamba", n_axes=3)[2],
        "expand": inner // features,
    }
