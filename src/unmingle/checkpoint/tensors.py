"""Saving a model and loading it again, strictly: exact names, exact shapes, and the bytes that were written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmingle._version import __version__
from unmingle.audio.temporary import whole
from unmingle.checkpoint.card import FILLED_IN, not_whole, read_card, read_metadata, require_file
from unmingle.errors import CheckpointError, OutputError
from unmingle.presets import ModelConfig, config_to_dict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from unmingle.models.base import SeparationModel

STORAGE_TYPES = ("float32", "float16", "int8")


def save_checkpoint(
    path: str | Path,
    model: SeparationModel,
    *,
    name: str,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | str | None = None,
) -> None:
    """Write a model's weights and everything needed to rebuild it; an existing file is replaced at once or not at all.

    Args:
        path: the `.safetensors` file to write; its folder is made where needed.
        model: the network, on any device.
        name: what the model is called.
        metadata: `recipe`, `training_data`, `licence`, `source` (text), `scores` (a mapping), and anything else;
            values that are not text are stored as JSON.
        dtype: how floating-point tensors are stored: float32 (also when None), float16, or int8, which is float16 but
            for matrices, whose rows become multiples of a step each. They load as float32.

    Raises:
        CheckpointError: another dtype, weights too large for float16, or metadata under a reserved name.
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save

    from unmingle.metrics.cost import count_parameters

    storage = _storage_type(dtype)
    tensors: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        tensors |= _stored(key, value.detach().cpu(), storage)
    header = {
        **_metadata_text(metadata or {}),
        "name": name,
        "family": model.config.family,
        "config": json.dumps(config_to_dict(model.config)),
        "unmingle_version": __version__,
        "parameters": str(count_parameters(model)),
        "sha256": _digest(tensors),
    }
    _write_whole(Path(path), save(tensors, metadata=header))


def load_checkpoint(path: str | Path) -> SeparationModel:
    """Rebuild the model that a weights file holds: on the CPU, in float32, in evaluation mode.

    Args:
        path: a file that `save_checkpoint` wrote.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: the file is damaged, is not one of ours, or does not fit the model it names.
    """
    from unmingle.checkpoint.int8 import spelt_out

    card = read_card(path)
    tensors = _read_stored(path)
    expected = read_metadata(path).get("sha256")
    if expected is not None and expected != _digest(tensors):
        raise CheckpointError(
            f"{path} is damaged: its tensors are not those that were saved (sha256 differs); copy or fetch it again"
        )
    return fit(card.config, spelt_out(tensors, where=str(path)), where=str(path))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file: as stored, but for matrices in eight bits, which become float32.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: not a whole safetensors file.
    """
    from unmingle.checkpoint.int8 import spelt_out

    return spelt_out(_read_stored(path), where=str(path))


def _read_stored(path: str | Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_file(path)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise not_whole(path, error) from error


def fit(config: ModelConfig, state: Mapping[str, Tensor], *, where: str) -> SeparationModel:
    """Build a model and give it these weights: float32, evaluation mode; global randomness is left as it was.

    Args:
        config: which network.
        state: its tensors by name, of any floating-point type.
        where: what to call their origin in an error.

    Raises:
        CheckpointError: a name is missing or surplus, or a shape differs; all of them in one message.
    """
    import torch

    from unmingle.models import build_model

    with torch.device("meta"):  # compared before anything is allocated: a damaged config may ask for terabytes
        _require_fit(build_model(config).state_dict(), state, where=where)
    with torch.random.fork_rng(devices=[]):
        model = build_model(config)
    model.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    return model.eval()


def _storage_type(dtype: torch.dtype | str | None) -> str:
    name = "float32" if dtype is None else str(dtype).removeprefix("torch.")
    if name not in STORAGE_TYPES:
        raise CheckpointError(f"weights cannot be stored as {name}; choose {', '.join(STORAGE_TYPES)}")
    return name


def _stored(key: str, value: Tensor, storage: str) -> dict[str, Tensor]:
    """A tensor as a file holds it, by name; a matrix in eight bits is two."""
    import torch

    from unmingle.checkpoint.int8 import STEPS, has_long_rows, rounded

    if not value.is_floating_point():
        return {key: value.clone().contiguous()}
    if storage == "int8" and has_long_rows(value) and bool(value.isfinite().all()):
        multiples, steps = rounded(value)
        return {key: multiples, key + STEPS: steps}
    stored = value.to(torch.float32 if storage == "float32" else torch.float16)
    if bool((value.isfinite() & ~stored.isfinite()).any()):
        raise CheckpointError(f"{key} holds values beyond the range of {stored.dtype}; store this model as float32")
    return {key: stored.clone().contiguous()}  # a copy: tied weights may share memory, which the format refuses


def _metadata_text(metadata: Mapping[str, Any]) -> dict[str, str]:
    reserved = sorted(set(metadata) & set(FILLED_IN))
    if reserved:
        raise CheckpointError(f"metadata cannot set {', '.join(reserved)}: these are filled in from the model")
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    import torch

    sha256 = hashlib.sha256()
    for key in sorted(tensors):
        sha256.update(key.encode())
        sha256.update(tensors[key].reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def _write_whole(path: Path, content: bytes) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder; a file name such as {path / 'model.safetensors'} was wanted")
    with whole(path, make_folder=True) as draft:
        draft.write_bytes(content)


def _require_fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], *, where: str) -> None:
    differing = [
        f"{key} is {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in found and found[key].shape != wanted[key].shape
    ]
    faults = {
        "missing": [key for key in wanted if key not in found],
        "surplus": [key for key in found if key not in wanted],
        "of another shape": differing,
    }
    said = [f"{len(keys)} {fault}: {', '.join(keys)}" for fault, keys in faults.items() if keys]
    if said:
        raise CheckpointError(f"the weights in {where} do not fit their model; tensors {'; '.join(said)}")
