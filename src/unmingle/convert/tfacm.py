"""Published TFACM weights: the key layout of the authors' class TFACMCausal.

Both our forms take the same file. Queries, keys and values of the heads lie there one by one and are stacked here; the
last layer is there a transposed convolution, here the ordinary one that does the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor

from unmingle.convert.grid_names import (
    ARGUMENTS,
    FIXED,
    check_arguments,
    count,
    missing_and_surplus,
    refuse,
    renamed,
    shape_of,
)
from unmingle.convert.overrides import check_overrides
from unmingle.errors import ConfigError
from unmingle.models.tfacm import TFACM
from unmingle.presets import config_from_dict
from unmingle.presets.tfacm import TFACMConfig

logger = logging.getLogger(__name__)

families = ("tfacm_model",)

# Constructor arguments of the published class, and what they are called here; the activation is always the same.
_ARGUMENTS = {name: ours for name, ours in ARGUMENTS.items() if name != "activation"} | {"segment_size": "segment_size"}
_FIXED = {**FIXED, "activation": "prelu"}
_IGNORED = ("input_dim", "lstm_hidden_units")
_CLASS = "tfacmcausal"

_OUTER = {"encoder.conv.": "conv.0.conv.", "norm.": "conv.1.", "decoder.conv.": "deconv.", "idle.": "cln."}
_MEMORY = {"lstm.": "{kind}_net.rnn.", "linear.": "{kind}_net.proj.", "norm.": "{kind}_norm."}
_BLOCK = {
    "frequency.norm.": "intra_norm.",
    "frequency.network.lstm.": "intra_rnn.",
    "frequency.fold.conv.": "intra_linear.",
    "time.norm.": "inter_norm.",
    "time.segments.unit.lstm.": "inter_rnn.lstm.",
    "time.segments.unit.linear.": "inter_rnn.proj.",
    "time.segments.unit.norm.": "inter_rnn.norm.",
    "time.fold.conv.": "inter_linear.conv_transpose.",
    "attention.queries.": "attn_conv_Q_{head}.",
    "attention.keys.": "attn_conv_K_{head}.",
    "attention.values.": "attn_conv_V_{head}.",
    "attention.merge.": "attn_concat_proj.",
    "gate.left.0.": "gcfn_left.0.conv.",
    "gate.left.1.": "gcfn_left.1.depthwise.",
    "gate.left.2.": "gcfn_left.1.pointwise.",
    "gate.right.0.": "gcfn_right.0.conv.",
    "gate.right.1.": "gcfn_right.1.depthwise.",
    "gate.right.2.": "gcfn_right.1.pointwise.",
    "gate.right.3.": "gcfn_right.2.",
    "gate.final.": "gcfn_final.conv.",
}
_HEAD_PARTS = {"conv.": "0.conv.", "act.": "1.", "norm.": "2."}
_NORMS = re.compile(r"(^conv\.1|_norm|_rnn\.norm|\.2)\.(weight|bias)$")


def config_from_published(spec: Mapping[str, Any]) -> TFACMConfig:
    """The configuration behind a parity vector.

    Args:
        spec: the constructor's arguments under `config`; under `output`, which form a stored output has.
    Raises:
        ConfigError: an argument that no TFACM has, or a value that it does not know.
    """
    values: dict[str, Any] = {**_our_arguments(spec["config"]), "form": spec.get("output") or "published"}
    return cast("TFACMConfig", config_from_dict("tfacm", values))


def recognises(keys: Collection[str], model_name: str | None) -> bool:
    """Whether a file holds a published TFACM, by its class name or by its memory."""
    return (model_name or "").lower() == _CLASS or any(key.startswith("mems.0.h_net.") for key in keys)


def infer_config(
    state: Mapping[str, Tensor],
    *,
    model_name: str | None = None,  # noqa: ARG001 (published names of classes are wrong at times)
    model_args: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> TFACMConfig:
    """Read the configuration off the tensors; what no tensor shows comes from `overrides`, else from `model_args`.

    What nobody states is as in the published settings: 8 kHz, a hop of an eighth of the window, segments of 70 frames.

    Args:
        state: published keys, without `module.` or `audio_model.` in front.
        model_name: class that the file names; it decides nothing here.
        model_args: constructor arguments that the file holds, in published names; strangers among them are ignored,
            because published files hold a placeholder.
        overrides: fields of `TFACMConfig`. They win, but cannot contradict the tensors.
    Raises:
        CheckpointError: a tensor that every TFACM has is missing.
        ConfigError: `overrides` names no field, or contradicts a tensor.
    """
    overrides, arguments = dict(overrides or {}), dict(model_args or {})
    shown = _sizes(state)
    check_overrides(overrides, shown=shown, names=[field.name for field in fields(TFACMConfig)], what="TFACM")
    stated = {ours: arguments[name] for name, ours in _ARGUMENTS.items() if name in arguments}
    values = {"hop": shown["window"] // 8, "form": "published", **stated, **overrides, **shown}
    unsaid = [name for name in ("sample_rate", "hop", "stride", "segment_size") if name not in {**stated, **overrides}]
    if unsaid:
        logger.warning("the weights do not show %s; taken as published", ", ".join(unsaid))
    return cast("TFACMConfig", config_from_dict("tfacm", values))


def convert_state(state: Mapping[str, Tensor], config: TFACMConfig) -> dict[str, Tensor]:
    """Rename and stack published tensors to ours.

    Raises:
        CheckpointError: tensors missing, surplus or of another shape than `config` asks for, all in one message.
    """
    with torch.device("meta"):
        wanted = {name: tensor.shape for name, tensor in TFACM(config).state_dict().items()}
    sources = {name: published_keys(name, n_heads=config.n_heads) for name in wanted}
    problems = missing_and_surplus(state, sources.values())
    converted: dict[str, Tensor] = {}
    for name, keys in sources.items():
        parts = [_reoriented(name, state[key]) for key in keys if key in state]
        size = wanted[name].numel() // len(keys)
        problems += [
            f"{key} is {tuple(part.shape)}, not {size} numbers"
            for key, part in zip(keys, parts, strict=False)
            if part.numel() != size
        ]
        if not problems:
            converted[name] = torch.cat([part.detach().flatten() for part in parts]).view(wanted[name])
    refuse(problems, "TFACM")
    return converted


def published_keys(name: str, *, n_heads: int) -> list[str]:
    """What the published class calls the parts of one of our parameters, in the order in which they are stacked."""
    block = re.match(r"blocks\.(\d+)\.(.*)", name)
    memory = re.match(r"memory\.(hidden|cell)\.(.*)", name)
    if memory:
        key = "mems.0." + renamed(memory[2], _MEMORY).format(kind=memory[1][0])
    elif block:
        key = f"blocks.{block[1]}." + renamed(block[2], _BLOCK)
        if ".attn_" in key:
            stem, part = re.match(r"(.*?attn_\w+(?:\{head\})?\.)(.*)", key).groups()  # pyright: ignore[reportOptionalMemberAccess]
            key = stem + renamed(part, _HEAD_PARTS)
    else:
        key = renamed(name, _OUTER)
    if _NORMS.search(key) and "gcfn_" not in key:
        key = key.removesuffix(".weight").removesuffix(".bias") + (".gamma" if key.endswith("weight") else ".beta")
    return [key.format(head=head) for head in range(n_heads)] if "{head}" in key else [key]


def _reoriented(name: str, tensor: Tensor) -> Tensor:
    """The weight of a transposed convolution as that of the ordinary one that does the same; others as they are."""
    return tensor.transpose(0, 1).flip(2, 3) if name == "decoder.conv.weight" and tensor.ndim == 4 else tensor


def _our_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    values = check_arguments(arguments, "TFACM", ours=_ARGUMENTS, fixed=_FIXED, ignored=_IGNORED)
    if arguments.get("lstm_hidden_units", arguments.get("emb_dim")) != arguments.get("emb_dim"):
        raise ConfigError("lstm_hidden_units differs from emb_dim; the memory carries one into the other")
    return values


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    _, query_channels, _, n_bins = shape_of(state, "blocks.0.attn_conv_Q_0.2.gamma", "TFACM", n_axes=4)
    return {
        "n_src": shape_of(state, "deconv.weight", "TFACM", n_axes=4)[1] // 2,
        "window": 2 * (n_bins - 1),
        "channels": shape_of(state, "conv.0.conv.weight", "TFACM", n_axes=4)[0],
        "kernel": shape_of(state, "blocks.0.intra_linear.weight", "TFACM", n_axes=3)[2],
        "n_blocks": count(state, r"blocks\.(\d+)\."),
        "n_heads": count(state, r"blocks\.0\.attn_conv_Q_(\d+)\."),
        "query_width": query_channels * n_bins,
    }
