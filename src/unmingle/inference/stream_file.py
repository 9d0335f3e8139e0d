"""A stream as bytes: its arrays in safetensors, its counters and its model in the header."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from unmingle.errors import CheckpointError
from unmingle.presets import config_to_dict

if TYPE_CHECKING:
    from unmingle.inference.steps import Steps
    from unmingle.inference.stream import StreamState
    from unmingle.presets import ModelConfig

_ARRAYS = ("arriving", "waiting", "leaving")


def pack(state: StreamState, steps: Steps, *, config: ModelConfig, sample_rate: int) -> bytes:
    """The bytes of a state; no code is needed to read them, and none is run."""
    from safetensors.numpy import save

    arrays = {f"network.{name}": array for name, array in steps.to_arrays(state.network).items()}
    arrays |= {"arriving": state.arriving.past, "waiting": state.waiting, "leaving": state.leaving.past}
    about = {"kind": "unmingle stream", "about": json.dumps(_about(config, sample_rate)), "counters": _counters(state)}
    return save({name: np.array(array, order="C") for name, array in arrays.items()}, metadata=about)


def unpack(data: bytes, template: StreamState, steps: Steps, *, config: ModelConfig, sample_rate: int) -> StreamState:
    """The state in `data`, of the structure of `template`.

    Raises:
        CheckpointError: damaged, or of another model or rate.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(data)
    wanted = json.loads(json.dumps(_about(config, sample_rate)))
    saved, counters = (_values(header[name]) for name in ("about", "counters"))
    if saved != wanted:
        differing = [key for key in wanted if saved.get(key) != wanted[key]]
        raise CheckpointError(
            f"the saved stream is of another model or rate ({', '.join(differing)}: "
            f"{', '.join(str(saved.get(key)) for key in differing)}); restore it into a Stream like the one saved"
        )
    try:
        arrays = {name: array.copy() for name, array in load(data).items()}
        arriving, waiting, leaving = (arrays.pop(name) for name in _ARRAYS)
        named = {name.removeprefix("network."): array for name, array in arrays.items()}
        network = steps.from_arrays(named) if counters["heard"] > waiting.shape[1] else template.network
        return template._replace(
            network=network,
            arriving=template.arriving._replace(past=arriving, **counters.pop("arriving")),
            waiting=waiting,
            leaving=template.leaving._replace(past=leaving, **counters.pop("leaving")),
            **counters,
        )
    except (KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the saved stream is damaged: {error}") from error


def _values(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the saved stream is damaged: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"the saved stream is damaged: {text[:40]!r} is no JSON object")
    return cast("dict[str, Any]", values)


def _about(config: ModelConfig, sample_rate: int) -> dict[str, Any]:
    return {"family": config.family, "config": config_to_dict(config), "sample_rate": sample_rate}


def _counters(state: StreamState) -> str:
    ends = {name: {"taken": part.taken, "given": part.given} for name, part in _resamplers(state).items()}
    return json.dumps({**ends, **{name: getattr(state, name) for name in ("taken", "heard", "late", "given")}})


def _resamplers(state: StreamState) -> dict[str, Any]:
    return {"arriving": state.arriving, "leaving": state.leaving}


def _header(data: bytes) -> dict[str, str]:
    """The metadata of safetensors in memory: a length of 8 bytes, then JSON."""
    try:
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size])["__metadata__"]
        if metadata["kind"] == "unmingle stream" and {"about", "counters"} <= metadata.keys():
            return metadata
    except (ValueError, KeyError, TypeError):
        pass
    raise CheckpointError(f"these {len(data)} bytes are no saved stream; give what Stream.save returned")
