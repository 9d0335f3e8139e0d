"""What published checkpoints are wrapped in, unwrapped without running any code of theirs.

| container   | how it is known                                   | where the tensors are            |
|-------------|---------------------------------------------------|----------------------------------|
| safetensors | the file begins with a safetensors header         | the file                         |
| state dict  | every value is a tensor                           | the dict                         |
| trainer     | has `model_state_dict`                            | there                            |
| look2hear   | has `state_dict` and `model_name`                 | `state_dict`                     |
| lightning   | has `state_dict`, keys mostly under `audio_model.` | `state_dict`                     |

Key prefixes that wrappers add (`module.`, `audio_model.`, in any order and number) are taken off. A conf.yml beside the
file, which look2hear writes, gives the class and the arguments that the file itself does not.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import Tensor
from torch.torch_version import TorchVersion

from unmingle.checkpoint import read_metadata, read_tensors
from unmingle.errors import CheckpointError, MissingFileError

PREFIXES = ("module.", "audio_model.")
SETTINGS = "conf.yml"
_ACCEPTED = (
    "a state dict, a trainer file with model_state_dict, a file with model_name and state_dict, a Lightning .ckpt, "
    "or a safetensors state dict"
)


@dataclass(frozen=True)
class Published:
    """A published checkpoint out of its wrapping, with what the settings beside it say.

    Attributes:
        state: tensors under their published names, without wrappers' prefixes; float32 where floating-point.
        container: which wrapping it came in, a word of the table above.
        model_name: the class that the file says it belongs to, if it says so.
        model_args: the arguments of that class, as far as they are given.
        settings: the conf.yml beside the file, where one says anything of this.
    """

    state: Mapping[str, Tensor]
    container: str
    model_name: str | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Path | None = None


def read_published(path: str | Path) -> Published:
    """Read a published checkpoint in any of the known containers.

    Args:
        path: the file.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: damaged, not a checkpoint, one of our own, or a pickle that wants to run code; or the
            conf.yml beside it is damaged.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; one checkpoint file was wanted")
    if not path.exists():
        raise MissingFileError(f"there is no file {path}; check the path")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; {_ACCEPTED} was wanted. Copy or download it again")
    found = _from_safetensors(path) if _is_safetensors(path) else _unwrap(_unpickle(path), path)
    settings = path.with_name(SETTINGS)
    name, arguments = _read_settings(settings)
    return replace(
        found,
        model_name=found.model_name or name,
        model_args={**arguments, **found.model_args},
        settings=settings if name or arguments else None,
    )


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the prefixes that DataParallel and training wrappers put before every name.

    Raises:
        CheckpointError: two names become the same.
    """
    stripped: dict[str, Tensor] = {}
    for key, value in state.items():
        bare = key
        while bare.startswith(PREFIXES):
            bare = bare.split(".", 1)[1]
        if bare in stripped:
            raise CheckpointError(f"the tensor {bare} is there twice, once as {key}; keep one of the two models")
        stripped[bare] = value
    return stripped


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return path.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{")


def _from_safetensors(path: Path) -> Published:
    if {"family", "config"} <= set(read_metadata(path)):
        raise CheckpointError(f"{path} is a weights file of unmingle already; give its path to --model or load_model")
    return Published(_cleaned(read_tensors(path), path), "safetensors")


def _unpickle(path: Path) -> object:
    """Weights-only: tensors, plain values, and torch's version class, which trainers store beside them."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([TorchVersion]):
            warnings.simplefilter("ignore")  # older pickle protocols are read, or refused with an error of their own
            return cast("object", torch.load(path, map_location="cpu", weights_only=True))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # whatever a damaged stream makes the unpickler stumble over
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    wanted = re.search(r"GLOBAL (\S+)", str(error))
    if wanted:
        return CheckpointError(
            f"{path} wants to run code when it is opened (it asks for {wanted[1]}) and was not opened; {_ACCEPTED} was "
            "wanted. Where you trust it, save its tensors alone: torch.save(model.state_dict(), OUT)"
        )
    reason = str(error).partition("\n")[0].partition(". ")[0]
    why = f" ({reason[:200]})" if " " in reason else ""  # text may be read as a pickle and fail with a lone number
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is damaged or not a checkpoint{why}; {_ACCEPTED} was "
        "wanted. Copy or download it again"
    )


def _unwrap(content: object, path: Path) -> Published:
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds {_described(content)}; {_ACCEPTED} was wanted")
    entries = cast("Mapping[object, object]", content)
    if "model_state_dict" in entries:
        return Published(_cleaned(entries["model_state_dict"], path), "trainer")
    if "state_dict" in entries and "model_name" in entries:
        return Published(
            _cleaned(entries["state_dict"], path),
            "look2hear",
            _text(entries["model_name"]),
            _mapping(entries.get("model_args")),
        )
    if "state_dict" in entries:
        settings = _mapping(entries.get("training_config")) or _mapping(entries.get("hyper_parameters"))
        network = _mapping(settings.get("audionet"))
        return Published(
            _cleaned(entries["state_dict"], path),
            "lightning",
            _text(network.get("audionet_name")),
            _mapping(network.get("audionet_config")),
        )
    return Published(_cleaned(entries, path), "state dict")


def _read_settings(path: Path) -> tuple[str | None, Mapping[str, Any]]:
    """The class and its arguments as a training's settings give them, with the sample rate of its data."""
    if not path.is_file():
        return None, {}
    try:
        settings = _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise CheckpointError(
            f"the settings {path} cannot be read ({type(error).__name__}); repair the file, or move it away and give "
            "what the weights do not show as options"
        ) from error
    network = _mapping(settings.get("audionet"))
    data = _mapping(_mapping(settings.get("datamodule")).get("data_config"))
    rate = {"sample_rate": data["sample_rate"]} if "sample_rate" in data else {}
    return _text(network.get("audionet_name")), {**rate, **_mapping(network.get("audionet_config"))}


def _cleaned(state: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path} holds {_described(state)} where its tensors were wanted; expected {_ACCEPTED}")
    entries = cast("Mapping[object, object]", state)
    tensors = {key: value for key, value in entries.items() if isinstance(key, str) and isinstance(value, Tensor)}
    others = [str(key) for key in entries if key not in tensors]
    if others:
        raise CheckpointError(
            f"{path} is no state dict: {', '.join(others[:8])}{' ...' if len(others) > 8 else ''} are not tensors; "
            f"{_ACCEPTED} was wanted"
        )
    return {key: _as_float32(key, value, path) for key, value in strip_prefixes(tensors).items()}


def _as_float32(key: str, value: Tensor, path: Path) -> Tensor:
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        raise CheckpointError(f"{path}: {key} is a {value.layout} {value.dtype} tensor; a dense real one was wanted")
    if not value.is_floating_point():
        return value.detach()
    if not bool(value.isfinite().all()):
        raise CheckpointError(
            f"{path}: {key} holds NaN or infinite values; take an earlier checkpoint of that training"
        )
    return value.detach().float()


def _described(content: object) -> str:
    if isinstance(content, Mapping):
        return "an empty dict"
    return f"a {type(content).__name__}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
