"""What published networks on the grid of frames and bins call their tensors: SPMamba and TF-GridNet alike.

Their constructors and TFACM's take nearly the same arguments, which are checked here for all three. The layout is that
of ESPnet's first TF-GridNet. Queries, keys and values of the heads lie there one by one and are stacked here, and norms
have their gains with axes of length 1 that ours do without.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from unmingle.convert.overrides import check_overrides
from unmingle.errors import CheckpointError, ConfigError, did_you_mean
from unmingle.presets import ModelConfig, config_from_dict

logger = logging.getLogger(__name__)

# Arguments of the published constructors, and what they are called here.
ARGUMENTS = {
    "sample_rate": "sample_rate",
    "n_srcs": "n_src",
    "n_fft": "window",
    "stride": "hop",
    "n_layers": "n_blocks",
    "attn_n_head": "n_heads",
    "attn_approx_qk_dim": "query_width",
    "emb_dim": "channels",
    "emb_ks": "kernel",
    "emb_hs": "stride",
    "activation": "activation",
    "eps": "eps",
}
# Arguments without a field of ours: what they have to be.
FIXED = {"window": "hann", "n_imics": 1, "use_builtin_complex": False}

_OUTER = {"encoder.": "conv.0.", "norm.": "conv.1.", "decoder.": "deconv."}
_BLOCK = {
    "spectral.norm.": "intra_norm.",
    "spectral.fold.conv.": "intra_linear.",
    "temporal.norm.": "inter_norm.",
    "temporal.fold.conv.": "inter_linear.",
    "attention.queries.": "attn_conv_Q_{head}.",
    "attention.keys.": "attn_conv_K_{head}.",
    "attention.values.": "attn_conv_V_{head}.",
    "attention.merge.": "attn_concat_proj.",
}
_HEAD_PARTS = {"conv.": "0.", "act.": "1.", "norm.": "2."}
_GAINS = re.compile(r"(i\w+_norm|\.2)\.(weight|bias)$")


def published_keys(name: str, networks: Mapping[str, str], *, n_heads: int) -> list[str]:
    """What the published class calls the parts of one of our parameters, in the order in which they are stacked.

    Args:
        name: our parameter.
        networks: the same for the beginnings of names inside a block that belong to the sequence networks.
        n_heads: attention heads.
    """
    block = re.match(r"(blocks\.\d+\.)(.*)", name)
    if block is None:
        return [renamed(name, _OUTER)]
    key = block[1] + renamed(block[2], {**_BLOCK, **networks})
    head = re.match(r"(.*\.attn_[^.]*\.)(.*)", key)
    key = head[1] + renamed(head[2], _HEAD_PARTS) if head else key
    if _GAINS.search(key) and ".mixer." not in key and "_blocks." not in key:
        key = re.sub(r"bias$", "beta", re.sub(r"weight$", "gamma", key))
    return [key.format(head=number) for number in range(n_heads)] if "{head}" in key else [key]


def convert(
    state: Mapping[str, Tensor], model: Callable[[], torch.nn.Module], keys_of: Callable[[str], list[str]], what: str
) -> dict[str, Tensor]:
    """Rename and stack published tensors to those of a model.

    Args:
        state: published tensors.
        model: builds the network; it gets no memory.
        keys_of: our parameter -> the published ones.
        what: the network's name, for the message.
    Raises:
        CheckpointError: tensors missing, surplus or of another shape, all in one message.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in model().state_dict().items()}
    sources = {name: keys_of(name) for name in wanted}
    problems = missing_and_surplus(state, sources.values())
    for name, keys in sources.items():
        part = (wanted[name][0] // len(keys), *wanted[name][1:])
        problems += [
            f"{key} is {tuple(state[key].shape)}, not {part} but for axes of length 1"
            for key in keys
            if key in state and _squeezed(state[key].shape) != _squeezed(part)
        ]
    refuse(problems, what)
    return {
        name: torch.cat([state[key].detach().flatten() for key in keys]).view(wanted[name])
        for name, keys in sources.items()
    }


def missing_and_surplus(state: Collection[str], sources: Iterable[Collection[str]]) -> list[str]:
    """A phrase for every published tensor that is wanted and not there, or there and not wanted."""
    known = {key for keys in sources for key in keys}
    return [
        *(f"missing {key}" for key in sorted(known.difference(state))),
        *(f"surplus {key}" for key in sorted(set(state) - known)),
    ]


def refuse(problems: Collection[str], what: str) -> None:
    """End with all that is wrong with published tensors, if anything is.

    Raises:
        CheckpointError: something is.
    """
    if problems:
        raise CheckpointError(
            f"these weights do not fit the {what} they should, {len(problems)} differences: {'; '.join(problems)}; "
            "state its sizes, or fetch the file again"
        )


def renamed(name: str, table: Mapping[str, str]) -> str:
    """A name whose beginning, the longest in the table, is replaced."""
    ours = max((prefix for prefix in table if name.startswith(prefix)), key=len)
    return table[ours] + name.removeprefix(ours)


def sizes(state: Mapping[str, Tensor], what: str) -> dict[str, int]:
    """What the tensors show of the fields that every such network has.

    Raises:
        CheckpointError: a tensor is missing, or the network hears several microphones.
    """
    _, query_channels, _, n_bins = shape_of(state, "blocks.0.attn_conv_Q_0.2.gamma", what, n_axes=4)
    channels, planes, _, _ = shape_of(state, "conv.0.weight", what, n_axes=4)
    if planes != 2:
        raise CheckpointError(f"this {what} hears {planes // 2} microphones; networks for one are known here")
    return {
        "n_src": shape_of(state, "deconv.weight", what, n_axes=4)[1] // 2,
        "window": 2 * (n_bins - 1),
        "channels": channels,
        "kernel": shape_of(state, "blocks.0.intra_linear.weight", what, n_axes=3)[2],
        "n_blocks": count(state, r"blocks\.(\d+)\."),
        "n_heads": count(state, r"blocks\.0\.attn_conv_Q_(\d+)\."),
        "query_width": query_channels * n_bins,
    }


def shape_of(state: Mapping[str, Tensor], key: str, what: str, *, n_axes: int) -> torch.Size:
    """The shape of a tensor that every such network has.

    Raises:
        CheckpointError: it is missing, or has another number of axes.
    """
    if key not in state:
        raise CheckpointError(f"not a whole {what}: {key!r} is missing from {len(state)} tensors; fetch the file again")
    if state[key].ndim != n_axes:
        raise CheckpointError(f"not a {what}: {key!r} is {tuple(state[key].shape)}, but should have {n_axes} axes")
    return state[key].shape


def count(keys: Collection[str], pattern: str) -> int:
    """How many different things a pattern's group finds at the beginnings of names."""
    return len({match[1] for key in keys if (match := re.match(pattern, key))})


def configure(
    config_type: type[ModelConfig],
    what: str,
    *,
    shown: Mapping[str, Any],
    arguments: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> ModelConfig:
    """Our configuration from what tensors show, else from what the caller says, else from what the file says.

    What nobody states is as in the published settings: 8 ms hops of 32 ms windows, vectors at every position.

    Args:
        config_type: the family's configuration.
        what: the network's name, for messages.
        shown: fields that the tensors decide.
        arguments: constructor arguments of the published class; strangers among them are ignored.
        overrides: fields that the caller gives. They cannot contradict the tensors.
    Raises:
        ConfigError: `overrides` names no field, or contradicts a tensor.
    """
    decided = {name: value for name, value in shown.items() if name != "query_width"}
    check_overrides(overrides, shown=decided, names=[field.name for field in fields(config_type)], what=what)
    stated = {ours: arguments[name] for name, ours in ARGUMENTS.items() if name in arguments} | dict(overrides)
    window = shown["window"]
    guessed = {"sample_rate": 31.25 * window, "hop": window // 4, "stride": 1}
    if unsaid := [name for name in guessed if name not in stated]:
        guesses = ", ".join(f"{name} {guessed[name]:g}" for name in unsaid)
        logger.warning(
            "neither weights nor a conf.yml beside them say all; taken as published: %s; give what differs, as in %s",
            guesses,
            f"{unsaid[-1]}={guessed[unsaid[-1]]:g}",
        )
    guessed["sample_rate"] = round(guessed["sample_rate"])
    values = {**guessed, **stated, **shown}
    values["query_width"] = _query_width(stated.get("query_width"), shown)
    return config_from_dict(config_type.family, values)


def check_arguments(
    arguments: Mapping[str, Any],
    what: str,
    *,
    ours: Mapping[str, str] = ARGUMENTS,
    fixed: Mapping[str, Any] = FIXED,
    ignored: Collection[str] = (),
) -> dict[str, Any]:
    """Arguments of a published constructor under our names.

    Args:
        arguments: by their published names.
        what: the network's name, for messages.
        ours: our name of each that is a field.
        fixed: what the others have to be.
        ignored: names of those that decide nothing.

    Raises:
        ConfigError: one that the network does not take, or a value of it that is not known here.
    """
    known = [*ours, *fixed, *ignored]
    for name, value in arguments.items():
        if name not in known:
            raise ConfigError(f"no {what} takes {name!r}{did_you_mean(name, known)}")
        if name in fixed and (value.lower() if isinstance(value, str) else value) != fixed[name]:
            raise ConfigError(f"{name} is {value!r}; only {fixed[name]!r} is known here")
    values = {field: arguments[name] for name, field in ours.items() if name in arguments}
    return values | ({"activation": values["activation"].lower()} if "activation" in values else {})


def _query_width(stated: object, shown: Mapping[str, Any]) -> int:
    """The stated width where it makes as many channels as the tensors have."""
    n_bins = shown["window"] // 2 + 1
    fits = type(stated) is int and -(-stated // n_bins) * n_bins == shown["query_width"]
    return stated if fits and isinstance(stated, int) else shown["query_width"]


def _squeezed(shape: Collection[int]) -> list[int]:
    return [length for length in shape if length != 1]
