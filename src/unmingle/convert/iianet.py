"""Published IIANet weights, under today's names and the early ones, with the lip reader beside them or without.

The authors' `best_model.pth` holds the separator alone. Their Lightning files hold the lip reader too, under
`video_model.`, which is where `unmingle.convert.lip_reading` puts one that comes in a file of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor

from unmingle.convert.lip_reading import VIDEO, infer_lips, is_lip_reading, published_lip_key, published_lips
from unmingle.convert.overrides import check_overrides
from unmingle.errors import CheckpointError, ConfigError, did_you_mean
from unmingle.models.iianet import IIANet
from unmingle.presets import config_from_dict
from unmingle.presets.iianet import IIANetConfig

logger = logging.getLogger(__name__)

families = ("iianet", "end_to_end", "video_model", "video_submodule")

# Constructor arguments of the published class, and what they are called here; `vout_channels` equals `vin_channels`.
_ARGUMENTS = {
    "out_channels": "channels",
    "in_channels": "hidden",
    "num_blocks": "n_iterations",
    "upsampling_depth": "depth",
    "enc_kernel_size": "window_ms",
    "num_sources": "n_src",
    "vpre_channels": "visual_channels",
    "vin_channels": "video_channels",
    "sample_rate": "sample_rate",
}
_CLASS_DEFAULTS = {"window_ms": 21, "depth": 4, "n_src": 2}  # where they differ from the published configuration

# Beginnings of our parameter names -> the published ones; the longest that fits is taken.
_PREFIXES = {
    "norm.": "ln.",
    "video_bottleneck.": "pre_v.",
    "mask.": "mask_net.",
    "separator.inter_middle.gates.": "sm.video_blocks.1.video_res.",
    "separator.inter_bottom_audio.": "sm.InterA_B_A.",
    "separator.inter_bottom_video.": "sm.InterA_B_V.",
    "separator.inter_top.audio_gate.": "sm.InterA_T.M_wav.",
    "separator.inter_top.into_audio.": "sm.InterA_T.W_wav.",
    "separator.inter_top.video_gate.": "sm.InterA_T.M_video.",
    "separator.inter_top.into_video.": "sm.InterA_T.W_video.",
    "separator.inter_top.audio_attention.": "sm.InterA_T.amlp.attn.",
    "separator.inter_top.audio_feed_forward.widen.": "sm.InterA_T.amlp.mlp.fc1.",
    "separator.inter_top.audio_feed_forward.neighbours.": "sm.InterA_T.amlp.mlp.dwconv.",
    "separator.inter_top.audio_feed_forward.narrow.": "sm.InterA_T.amlp.mlp.fc2.",
    "separator.inter_top.video_attention.": "sm.InterA_T.vmlp.attn.",
    "separator.inter_top.video_feed_forward.": "sm.InterA_T.vmlp.mlp.",
    **{
        f"separator.{modality}_{ours}.": f"sm.{modality}_blocks.{theirs}."
        for modality in ("audio", "video")
        for ours, theirs in {
            "up.expand": "0.proj_1x1",
            "up.activation": "0.proj_1x1.act",
            "up.down": "0.spp_dw",
            "down.global_intra": "1.loc_glo_fus",
            "down.local_intra": "1.last_layer",
            "down.reduce": "1.res_conv",
        }.items()
    },
}
_INTRA_PARTS = {".local.": ".local_embedding.", ".shift.": ".global_embedding.", ".gate.": ".global_act."}
_EARLY_NAMES = {
    "sm.mlp_avfusion.": "sm.InterA_T.",
    "sm.concat_block.": "sm.InterA_B_A.",
    "sm.video_concat.": "sm.InterA_B_V.",
}


def config_from_published(spec: Mapping[str, Any]) -> IIANetConfig:
    """The configuration behind a parity vector.

    Args:
        spec: `model` and `sample_rate`, and for a network with its lip reader `video_model`; constructor arguments.

    Raises:
        ConfigError: an argument that IIANet does not have, or widths that it cannot have.
    """
    arguments = dict(spec["model"])
    video = arguments.pop("vout_channels", arguments.get("vin_channels"))
    if video != arguments.get("vin_channels"):
        raise ConfigError(
            f"vin_channels is {arguments.get('vin_channels')} but vout_channels {video}; the published network runs "
            "only where they are the same"
        )
    for name in arguments:
        if name not in _ARGUMENTS:
            raise ConfigError(f"no IIANet takes {name!r}, only {', '.join(_ARGUMENTS)}{did_you_mean(name, _ARGUMENTS)}")
    rate = {"sample_rate": spec["sample_rate"]} if "sample_rate" in spec else {}
    values = {**_CLASS_DEFAULTS, **rate, **{_ARGUMENTS[name]: value for name, value in arguments.items()}}
    lips = published_lips(spec["video_model"]) if "video_model" in spec else None
    return _build({**values, "lips": lips})


def recognises(keys: Collection[str], model_name: str | None) -> bool:
    """Whether a file holds a published IIANet, by its class name or by its blocks; or only a lip reader."""
    known_name = model_name is not None and model_name.lower() == "iianet"
    return known_name or any(key.startswith("sm.audio_blocks.") for key in keys) or is_lip_reading(keys)


def infer_config(
    state: Mapping[str, Tensor],
    *,
    model_name: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> IIANetConfig:
    """Read the configuration off the tensors; what no tensor shows comes from `overrides`, else from `model_args`.

    Args:
        state: published keys, without `module.` or `audio_model.` in front.
        model_name: class that the file names; the tensors say more, so it is not needed.
        model_args: constructor arguments that the file holds, in published names. Strangers among them are ignored,
            because files of the training program hold placeholders.
        overrides: fields of `IIANetConfig`. They win, but cannot contradict the tensors.

    Raises:
        CheckpointError: a tensor that every IIANet has is missing, or it is a lip reader alone, or none at all.
        ConfigError: `overrides` names no field, or contradicts a tensor; or nobody gave `n_iterations`.
    """
    del model_name
    state = _canonical(state)
    chosen = dict(overrides or {})
    if is_lip_reading(state):
        raise CheckpointError(
            "this is a lip-reading network and no separator; give it beside the IIANet it belongs to: "
            "unmingle import IIANET --lip-reading THIS -o OUT"
        )
    stated = {ours: model_args[name] for name, ours in _ARGUMENTS.items() if name in model_args} if model_args else {}
    stated |= chosen
    rate = _sample_rate(stated, window=_shape(state, "encoder.weight")[2])
    shown = {"window_ms": 1000 * _shape(state, "encoder.weight")[2] / rate, **_sizes(state)}
    names = [field.name for field in fields(IIANetConfig) if field.name != "lips"]
    check_overrides(chosen, shown=shown, names=names, what="IIANet")
    if "n_iterations" not in stated:
        raise ConfigError(
            "how many cycles an IIANet runs cannot be seen from its weights and was not given; pass n_iterations "
            "(--n-iterations), which is 16 for the published weights, 10 for IIANet-fast"
        )
    said = {name: stated[name] for name in ("n_iterations", "frame_rate", "n_fusion", "dropout") if name in stated}
    return _build({**said, **shown, "sample_rate": rate, "lips": _lips(state)})


def convert_state(state: Mapping[str, Tensor], config: IIANetConfig) -> dict[str, Tensor]:
    """Rename published tensors to ours; under the early names, what the final network does not have is dropped.

    Raises:
        CheckpointError: tensors missing, surplus or of another shape than `config` asks for, all in one message.
    """
    early = any(key.startswith(tuple(_EARLY_NAMES)) for key in state)
    state = _canonical(state)
    with torch.device("meta"):
        wanted = {published_key(ours): (ours, tensor) for ours, tensor in IIANet(config).state_dict().items()}
    problems = [f"missing {key}" for key in wanted if key not in state]
    surplus = [key for key in state if key not in wanted]
    if early and surplus:
        logger.warning("left out %d tensors of an early IIANet that the final one does not have", len(surplus))
    else:
        problems += [f"surplus {key}" for key in surplus]
    problems += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, (_, tensor) in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    if problems:
        raise CheckpointError(
            f"these weights do not fit an IIANet of depth {config.depth} with {config.channels}, {config.hidden} and "
            f"{config.video_channels} channels, {len(problems)} differences: {'; '.join(problems)}; fetch it again"
        )
    return {ours: state[key].detach().contiguous() for key, (ours, _) in wanted.items()}


def published_key(name: str) -> str:
    """What the published files call one of our parameters; those of the lip reader stand under `video_model.`."""
    if name.startswith("lips."):
        return VIDEO + published_lip_key(name.removeprefix("lips."))
    prefix = max((ours for ours in _PREFIXES if name.startswith(ours)), key=len, default="")
    key = _PREFIXES.get(prefix, prefix) + name.removeprefix(prefix)
    if ".loc_glo_fus." in key or ".last_layer." in key:
        for ours, theirs in _INTRA_PARTS.items():
            key = key.replace(ours, theirs)
    return key


def _canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Today's names; a lip reader without the temporal network that names words."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        early = next((name for name in _EARLY_NAMES if key.startswith(name)), "")
        today = _EARLY_NAMES.get(early, early) + key.removeprefix(early)
        today = re.sub(rf"^{re.escape(VIDEO)}(module\.)+", VIDEO, today)
        if not (today.startswith(VIDEO) and "tcn" in today):
            renamed[today] = value
    return renamed


def _lips(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    video = {key.removeprefix(VIDEO): value for key, value in state.items() if key.startswith(VIDEO)}
    if not video:
        logger.warning(
            "no lip-reading file came along: this network will take embeddings of the video, not the video itself; "
            "import it with --lip-reading FILE to have both"
        )
        return None
    return infer_lips(video, where="the checkpoint")


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    scales = {match[1] for key in state if (match := re.match(r"sm\.audio_blocks\.0\.spp_dw\.(\d+)\.", key))}
    return {
        "n_src": _shape(state, "decoder.weight")[1],
        "channels": _shape(state, "bottleneck.weight")[0],
        "hidden": _shape(state, "sm.audio_blocks.0.proj_1x1.conv.weight")[0],
        "visual_channels": _shape(state, "pre_v.weight")[1],
        "video_channels": _shape(state, "pre_v.weight")[0],
        "depth": len(scales),
    }


def _shape(state: Mapping[str, Tensor], key: str) -> tuple[int, int, int]:
    shape = tuple(state[key].shape) if key in state else ()
    if len(shape) != 3:
        found = f"is {shape}" if key in state else "is missing"
        raise CheckpointError(f"not a whole IIANet: {key!r} {found} among {len(state)} tensors; fetch the file again")
    return shape


def _sample_rate(stated: Mapping[str, Any], *, window: int) -> int:
    name = "sample_rate" if "sample_rate" in stated else "window_ms"
    if name not in stated:
        logger.warning("the weights do not say their sample rate; taking 16000 Hz, as the released ones (sample_rate)")
        return 16_000
    value = stated[name]
    if type(value) not in (int, float) or not value > 0:
        raise ConfigError(f"{name} is given as {value!r}, by the caller or the file; wanted a number above 0")
    return value if name == "sample_rate" else round(1000 * window / value)


def _build(values: Mapping[str, Any]) -> IIANetConfig:
    return cast("IIANetConfig", config_from_dict("iianet", values))
