"""Published weights of the A-FRCNN family: which network the tensors are, and the way to ours.

`unmingle.convert.afrcnn_names` knows the names in the three published layouts. Nothing here can tell how often a block
was unfolded, since its weights are tied; the caller says so.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from unmingle.convert.afrcnn_names import block_prefix, is_old, published_names
from unmingle.errors import CheckpointError, ConfigError, did_you_mean
from unmingle.models.afrcnn import AFRCNN
from unmingle.presets.afrcnn import AFRCNNConfig, Method, Scheme

logger = logging.getLogger(__name__)

families = ("afrcnn", "control", "sfrcnn", "unet")

# Family of a parity vector -> scheme and method. Public files do not follow the paper's U-Nets and S-FRCNN.
_FAMILIES: dict[str, tuple[Scheme, Method]] = {
    "afrcnn/concat": ("asynchronous", "B"),
    "afrcnn/sum": ("asynchronous-sum", "B"),
    "control1": ("control-1", "A"),
    "control2": ("control-2", "A"),
    "sfrcnn": ("sfrcnn-code", "B"),
    "unet": ("unet-code", "B"),
    "unet-delay": ("unet-delay-code", "B"),
}
_CLASSES = {"afrcnn", "control1", "control2", "sfrcnn", "u_net", "u_net_delay"}

# Constructor arguments of the public classes -> our fields, and the classes' defaults.
_ARGUMENTS = {
    "out_channels": "channels",
    "in_channels": "hidden",
    "num_blocks": "n_iterations",
    "upsampling_depth": "depth",
    "states": "depth",
    "enc_kernel_size": "window",
    "enc_num_basis": "n_basis",
    "num_sources": "n_src",
    "sample_rate": "sample_rate",
}
_DEFAULTS = {"channels": 128, "hidden": 512, "n_iterations": 16, "depth": 4, "window": 21, "n_basis": 512, "n_src": 2}
_RATE_OF_WINDOW = {21: 8_000, 41: 16_000}  # the published front ends; their hop lasts 1.25 ms


def config_from_published(spec: Mapping[str, Any]) -> AFRCNNConfig:
    """Our configuration from the published one of a parity vector.

    Args:
        spec: `family`, `sample_rate`, and `config` with the constructor's arguments.

    Raises:
        ConfigError: an unknown family or argument.
    """
    family = str(spec["family"])
    kind = re.sub(r"(-v1|-code)$", "", family)
    if kind not in _FAMILIES:
        raise ConfigError(f"no public A-FRCNN network is of family {family!r}{did_you_mean(family, _FAMILIES)}")
    arguments = dict(spec["config"])
    unfolding = str(arguments.pop("recurrent_mode", "SC")).upper()
    scheme, method = _FAMILIES[kind]
    values: dict[str, Any] = {"scheme": scheme, "method": method, "sample_rate": spec.get("sample_rate", 8_000)}
    values |= {**_DEFAULTS, **_our_fields(arguments), **_unfolding(unfolding)}
    return AFRCNNConfig(**values)


def _our_fields(arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name in arguments:
        if name not in _ARGUMENTS:
            known = ", ".join((*_ARGUMENTS, "recurrent_mode"))
            raise ConfigError(f"no public A-FRCNN takes {name!r}, only {known}{did_you_mean(name, _ARGUMENTS)}")
    return {_ARGUMENTS[name]: value for name, value in arguments.items()}


def _unfolding(mode: str) -> dict[str, Any]:
    """The public files' DC runs the block once, whatever count they are given, and has no phi."""
    return {"unfolding": "DC", "phi": "none", "n_iterations": 1} if mode == "DC" else {"unfolding": mode}


def recognises(keys: Collection[str], model_name: str | None) -> bool:
    """Whether a file holds a network of this family, by where its block lies or by its class name."""
    known_name = model_name is not None and model_name.lower() in _CLASSES
    return known_name or block_prefix(keys) is not None


def infer_config(
    state: Mapping[str, Tensor],
    *,
    model_name: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> AFRCNNConfig:
    """Read the configuration off the tensors. What they cannot tell comes from `overrides`, else from `model_args`.

    That is `n_iterations` always, and `sample_rate` where the window is not one of the two published ones.

    Args:
        state: published keys, without `module.` or `audio_model.` in front.
        model_name: class that the file names; the tensors say more, so it is not needed.
        model_args: constructor arguments that the file holds; strangers among them are ignored, because files of the
            public training code hold placeholders.
        overrides: fields of `AFRCNNConfig`; they win, but cannot contradict the tensors.

    Raises:
        CheckpointError: not the tensors of a whole network of this family.
        ConfigError: `overrides` names no field or contradicts the tensors, or nobody gave `n_iterations`.
    """
    del model_name
    chosen = dict(overrides or {})
    shown = _sizes(state) | _choices(state)
    _check_overrides(chosen, shown)
    said = {ours: model_args[name] for name, ours in _ARGUMENTS.items() if model_args and name in model_args}
    known: dict[str, Any] = {**said, **shown, **chosen}
    return AFRCNNConfig(**_with_sample_rate(_with_n_iterations(known)))


def _with_n_iterations(known: dict[str, Any]) -> dict[str, Any]:
    if "n_iterations" not in known:
        raise ConfigError(
            "how often an A-FRCNN's block was unfolded cannot be seen from its weights and was not given; "
            "pass n_iterations (--n-iterations), which is 4, 8, 12 or 16 in published networks"
        )
    return known


def _with_sample_rate(known: dict[str, Any]) -> dict[str, Any]:
    if "sample_rate" in known:
        return known
    window = known["window"]
    if window not in _RATE_OF_WINDOW:
        raise ConfigError(
            f"a window of {window} samples may be for any sample rate, and none was given; pass sample_rate"
        )
    logger.info("a window of %d samples is taken to mean %d Hz", window, _RATE_OF_WINDOW[window])
    return {**known, "sample_rate": _RATE_OF_WINDOW[window]}


def _sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    prefix = _require_block(state)
    project, stage = ("first.net.0", "bottom_up") if is_old(prefix) else ("proj_1x1.conv", "spp_dw")
    n_basis, _, window = _shape(state, "encoder.weight")
    stages = {match[1] for key in state if (match := re.match(rf"{re.escape(prefix + stage)}\.(\d+)\.", key))}
    return {
        "n_src": _shape(state, "decoder.weight")[1],
        "window": window,
        "n_basis": n_basis,
        "channels": _shape(state, "bottleneck.weight")[0],
        "hidden": _shape(state, f"{prefix}{project}.weight")[0],
        "depth": len(stages),
    }


def _shape(state: Mapping[str, Tensor], key: str) -> tuple[int, int, int]:
    shape = tuple(state[key].shape) if key in state else ()
    if len(shape) != 3:
        found = f"is {shape}" if shape else "is missing"
        raise CheckpointError(f"{key} of an A-FRCNN is a tensor of rank 3, and here {found}; fetch the file again")
    return shape


def _choices(state: Mapping[str, Tensor]) -> dict[str, Any]:
    prefix = _require_block(state)
    scheme, method = _scheme({key.removeprefix(prefix) for key in state})
    return {"scheme": scheme, "method": method, **_phi(state)}


def _scheme(keys: Collection[str]) -> tuple[Scheme, Method]:
    """Each network has a key that those above it in this list do not have."""
    tails = {
        "bottom_up_con.0.net.0.weight": "unet-delay",
        "latlayer.0.net.0.weight": "unet",
        "final_norm.net.0.gamma": "sfrcnn",
        "fuse_layers.2.0.0.conv.weight": "control1",
        "upsample_layers.0.conv.weight": "control2",
        "concat_layer.0.conv.weight": "afrcnn/concat",
        "top_down.0.net.0.weight": "afrcnn/concat",
    }
    family = next((family for key, family in tails.items() if key in keys), "afrcnn/sum")
    return _FAMILIES[family]


def _phi(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """A DC network with phi, which no public file has, looks like SC; an override of `unfolding` says otherwise."""
    if "sm.concat_block.0.weight" not in state:
        return _unfolding("DC")
    channels, fan_in, _ = _shape(state, "sm.concat_block.0.weight")
    forms = {2 * channels: ("CC", "dense"), channels: ("SC", "dense"), 2: ("CC", "depthwise"), 1: ("SC", "depthwise")}
    unfolding, kind = forms.get(fan_in, ("SC", "depthwise"))
    return {"unfolding": unfolding, "phi": kind}


def _check_overrides(overrides: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(AFRCNNConfig)]
    for name, value in overrides.items():
        if name not in known:
            raise ConfigError(f"an A-FRCNN has no {name!r}, only {', '.join(known)}{did_you_mean(name, known)}")
        if name != "unfolding" and shown.get(name, value) != value:
            raise ConfigError(f"{name} was given as {value!r} but these weights are of {shown[name]!r}; leave it out")


def convert_state(state: Mapping[str, Tensor], config: AFRCNNConfig) -> dict[str, Tensor]:
    """Published names to ours.

    Args:
        state: tensors under their published names.
        config: the network they belong to.

    Raises:
        CheckpointError: tensors are missing or surplus; all of them in one message, under their published names.
    """
    with torch.device("meta"):
        wanted = AFRCNN(config).state_dict().keys()
    published = published_names(wanted, prefix=_require_block(state), config=config)
    missing = [key for key in published.values() if key not in state]
    surplus = sorted(set(state) - set(published.values()))
    faults = {"missing": missing, "surplus": surplus}
    said = [f"{len(keys)} {fault}: {', '.join(keys)}" for fault, keys in faults.items() if keys]
    if said:
        raise CheckpointError(
            f"these are not the tensors of {config}; {'; '.join(said)}. Give other sizes or another file"
        )
    return {name: state[key] for name, key in published.items()}


def _require_block(state: Mapping[str, Tensor]) -> str:
    prefix = block_prefix(state)
    if prefix is None:
        raise CheckpointError(f"no block of an A-FRCNN network among {len(state)} tensors; fetch the file again")
    return prefix
