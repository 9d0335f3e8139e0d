"""Published TDANet weights: the key layouts of the authors' classes TDANetBest, TDANet, TDANetOld, and of SonicSim.

TDANetBest and SonicSim call the parameters of a gLN `gamma` and `beta`, the others `weight` and `bias`; either is read.
The classes TDANet (form `code`) and TDANetOld (form `paper`) share keys and shapes, so only the class name in the file
tells them apart. Before 2023-07-19 the class TDANet was what TDANetOld is now.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor

from unmingle.convert.overrides import check_overrides
from unmingle.errors import CheckpointError, ConfigError, did_you_mean
from unmingle.layers.attention import sinusoid_positions
from unmingle.models.tdanet import TDANet
from unmingle.presets import config_from_dict
from unmingle.presets.tdanet import Form, TDANetConfig

logger = logging.getLogger(__name__)

families = ("tdanet/",)

_FORM_OF_FAMILY: dict[str, Form] = {
    "tdanet/best": "released",
    "tdanet/paper": "paper",
    "tdanet/code": "code",
    "tdanet/sonicsim": "sonicsim",
}
_FORM_OF_CLASS: dict[str, Form] = {"tdanetbest": "released", "tdanet": "code", "tdanetold": "paper"}

# Constructor arguments of the published classes, and what they are called here.
_ARGUMENTS = {
    "sample_rate": "sample_rate",
    "num_sources": "n_src",
    "enc_kernel_size": "window_ms",
    "out_channels": "channels",
    "in_channels": "hidden",
    "upsampling_depth": "depth",
    "num_blocks": "n_iterations",
}
_CLASS_DEFAULTS = {"window_ms": 21, "depth": 4}  # where the published constructors differ from `TDANetConfig`
_POSITIONS = "sm.unet.globalatt.attn.pos_enc.pe"

# Beginnings of our parameter names -> the published ones; the longest that fits is taken.
_PREFIXES = {
    "norm.": "ln.",
    "mask.": "mask_net.",
    "separator.mix.": "sm.concat_block.",
    "separator.block.expand.": "sm.unet.proj_1x1.",
    "separator.block.down.": "sm.unet.spp_dw.",
    "separator.block.modulation.": "sm.unet.loc_glo_fus.",
    "separator.block.up.": "sm.unet.last_layer.",
    "separator.block.reduce.": "sm.unet.res_conv.",
    "separator.block.global_attention.attention.input_norm.": "sm.unet.globalatt.attn.attn_in_norm.",
    "separator.block.global_attention.attention.attention.in_proj.": "sm.unet.globalatt.attn.attn.in_proj_",
    "separator.block.global_attention.attention.attention.out_proj.": "sm.unet.globalatt.attn.attn.out_proj.",
    "separator.block.global_attention.attention.output_norm.": "sm.unet.globalatt.attn.norm.",
    "separator.block.global_attention.feed_forward.widen.": "sm.unet.globalatt.mlp.fc1.",
    "separator.block.global_attention.feed_forward.neighbours.": "sm.unet.globalatt.mlp.dwconv.",
    "separator.block.global_attention.feed_forward.narrow.": "sm.unet.globalatt.mlp.fc2.",
}
_TOP_DOWN_PARTS = {".local.": ".local_embedding.", ".shift.": ".global_embedding.", ".gate.": ".global_act."}


def config_from_published(spec: Mapping[str, Any]) -> TDANetConfig:
    """The configuration behind a parity vector: the published class, called with a batch, to the letter.

    Args:
        spec: `family`, `sample_rate`, and the constructor's arguments under `config`.
    Raises:
        ConfigError: a family or an argument that no TDANet has.
    """
    family = str(spec["family"])
    if family not in _FORM_OF_FAMILY:
        raise ConfigError(f"no TDANet is of family {family!r}{did_you_mean(family, _FORM_OF_FAMILY)}")
    form = _FORM_OF_FAMILY[family]
    rate = {"sample_rate": spec["sample_rate"]} if "sample_rate" in spec else {}
    values: dict[str, Any] = {**_CLASS_DEFAULTS, **rate, **_our_arguments(spec["config"])}
    values |= {"form": form, "attention_axis": "time" if form == "paper" else "batch"}
    return cast("TDANetConfig", config_from_dict("tdanet", values))


def recognises(keys: Collection[str], model_name: str | None) -> bool:
    """Whether a file holds a published TDANet, by its class name or by its global attention."""
    known_name = model_name is not None and model_name.lower() in _FORM_OF_CLASS
    return known_name or any(key.startswith("sm.unet.globalatt.") for key in keys)


def infer_config(
    state: Mapping[str, Tensor],
    *,
    model_name: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TDANetConfig:
    """Read the configuration off the tensors; what no tensor shows comes from `overrides`, else from `model_args`.

    Args:
        state: published keys, without `module.` or `audio_model.` in front.
        model_name: class that the file names.
        model_args: constructor arguments that the file holds, in published names. Strangers among them are ignored,
            because files trained with the public code hold placeholders.
        overrides: fields of `TDANetConfig`. They win, but cannot contradict the tensors.
    Raises:
        CheckpointError: a tensor that every TDANet has is missing, or two forms fit.
        ConfigError: `overrides` names no field, or contradicts a tensor.
    """
    overrides = dict(overrides or {})
    stated = {ours: model_args[name] for name, ours in _ARGUMENTS.items() if name in model_args} if model_args else {}
    stated |= overrides
    window = _shape(state, "encoder.weight")[2]
    rate = _sample_rate(window, stated)
    shown: dict[str, Any] = {"window_ms": 1000 * window / rate, **_sizes(state)}
    names = [field.name for field in fields(TDANetConfig)]
    check_overrides(overrides, shown=shown, names=names, what="TDANet")
    values = {name: overrides[name] for name in ("attention_axis", "dropout") if name in overrides}
    form = overrides.get("form") or _form(state, model_name)
    values |= {**shown, "sample_rate": rate, "n_iterations": _n_iterations(stated), "form": form}
    return cast("TDANetConfig", config_from_dict("tdanet", values))


def convert_state(state: Mapping[str, Tensor], config: TDANetConfig) -> dict[str, Tensor]:
    """Rename published tensors to ours. The position encoding, which is computed here, is checked and left out.

    Raises:
        CheckpointError: tensors missing, surplus or of another shape than `config` asks for, all in one message; or a
            position encoding that is not the published one.
    """
    with torch.device("meta"):
        wanted = {published_key(ours, config.form): (ours, t) for ours, t in TDANet(config).state_dict().items()}
    if _POSITIONS in state:
        _check_positions(state[_POSITIONS], config)
    found = {_plain(key): tensor for key, tensor in state.items()}
    problems = [f"missing {key}" for key in wanted if _plain(key) not in found]
    known = {_POSITIONS, *map(_plain, wanted)}
    problems += [f"surplus {key}" for key in state if _plain(key) not in known]
    problems += [
        f"{key} is {tuple(found[_plain(key)].shape)}, not {tuple(tensor.shape)}"
        for key, (_, tensor) in wanted.items()
        if _plain(key) in found and found[_plain(key)].shape != tensor.shape
    ]
    if problems:
        raise CheckpointError(
            f"these weights do not fit a TDANet of form {config.form!r}, {len(problems)} differences: "
            f"{'; '.join(problems)}; name another form, or fetch the file again"
        )
    return {ours: found[_plain(key)].detach().contiguous() for key, (ours, _) in wanted.items()}


def published_key(name: str, form: Form) -> str:
    """What the published class of a form calls one of our parameters."""
    prefix = max((ours for ours in _PREFIXES if name.startswith(ours)), key=len, default="")
    key = _PREFIXES.get(prefix, prefix) + name.removeprefix(prefix)
    if key.startswith(("sm.unet.loc_glo_fus.", "sm.unet.last_layer.")):
        for ours, theirs in _TOP_DOWN_PARTS.items():
            key = key.replace(ours, theirs)
    is_gln = key.startswith("ln.") or (".norm." in key and not key.startswith("sm.unet.globalatt.attn."))
    if is_gln and form in ("released", "sonicsim"):
        return key.removesuffix(".weight").removesuffix(".bias") + (".gamma" if key.endswith(".weight") else ".beta")
    return key


def _plain(key: str) -> str:
    return re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", key))


def _our_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name in arguments:
        if name not in _ARGUMENTS:
            raise ConfigError(f"no TDANet takes {name!r}, only {', '.join(_ARGUMENTS)}{did_you_mean(name, _ARGUMENTS)}")
    return {_ARGUMENTS[name]: value for name, value in arguments.items()}


def _shape(state: Mapping[str, Tensor], key: str) -> torch.Size:
    if key not in state:
        raise CheckpointError(f"not a whole TDANet: {key!r} is missing from {len(state)} tensors; fetch the file again")
    return state[key].shape


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    scales = {match[1] for key in state if (match := re.match(r"sm\.unet\.spp_dw\.(\d+)\.", key))}
    return {
        "n_src": _shape(state, "decoder.weight")[1],
        "channels": _shape(state, "bottleneck.weight")[0],
        "hidden": _shape(state, "sm.unet.proj_1x1.conv.weight")[0],
        "depth": len(scales),
    }


def _sample_rate(window: int, stated: Mapping[str, Any]) -> int:
    if "sample_rate" in stated:
        return _above_zero("sample_rate", stated, int)
    if "window_ms" in stated:
        return round(1000 * window / _above_zero("window_ms", stated, int, float))
    logger.warning(
        "the weights do not say their sample rate; taken: 16000 Hz, that of the released ones (--sample-rate)"
    )
    return 16_000


def _n_iterations(stated: Mapping[str, Any]) -> int:
    if "n_iterations" not in stated:
        raise ConfigError(
            "how often a TDANet's block is applied cannot be seen from its weights and was not given; "
            "pass n_iterations (--n-iterations), which is 16 in every published TDANet"
        )
    return _above_zero("n_iterations", stated, int)


def _above_zero(name: str, stated: Mapping[str, Any], *types: type) -> Any:
    value = stated[name]
    if type(value) not in types or not value > 0:
        wanted = " or ".join(kind.__name__ for kind in types)
        raise ConfigError(f"{name} is given as {value!r}, by the caller or the file; wanted {wanted} above 0")
    return value


def _form(state: Mapping[str, Tensor], model_name: str | None) -> Form:
    if any(key.startswith("sm.unet.loc_glo_fus.") for key in state):
        return "released" if any(".loc_glo_fus.0.global_embedding." in key for key in state) else "sonicsim"
    if "ln.gamma" in state:
        raise CheckpointError(
            f"class {model_name!r} with gLN weights called gamma and beta is an early TDANet that was never released; "
            "if it is the first public one (February 2023), it computes as --form code"
        )
    form = _FORM_OF_CLASS.get((model_name or "").lower())
    if form not in ("paper", "code"):
        raise CheckpointError(
            f"forms 'paper' and 'code' of TDANet have the same tensors and class name {model_name!r} does not decide; "
            "say which one made this file: --form paper (class TDANetOld) or --form code (class TDANet)"
        )
    if form == "code":
        logger.warning("the class TDANet is read as form 'code'; for a file made before 2023-07-19 give --form paper")
    return form


def _check_positions(positions: Tensor, config: TDANetConfig) -> None:
    shape = tuple(positions.shape)
    if len(shape) != 3 or shape[0] != 1 or shape[2] != config.hidden:
        raise CheckpointError(f"{_POSITIONS} is {shape}, not (1, positions, {config.hidden}); not a TDANet")
    error = (positions[0].float() - sinusoid_positions(shape[1], shape[2])).abs().max().item()
    if not error <= 5e-3:  # float32 phases of ten thousand radians are good to 1e-3
        raise CheckpointError(f"{_POSITIONS} differs from the published sinusoids by {error:g}; not a published TDANet")
