"""The card in a weights file's header: what is needed to build the network and to judge it. Reading it needs no torch.

Metadata keys: name, family, config (JSON), unmingle_version, parameters, sha256; and, where they are known, recipe,
training_data, licence, source, scores (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from unmingle._version import __version__
from unmingle.errors import CheckpointError, ConfigError, MissingFileError
from unmingle.presets import ModelConfig, config_from_dict

NEEDED = ("name", "family", "config", "unmingle_version")
FILLED_IN = (*NEEDED, "parameters", "sha256")
_TEXT = ("recipe", "training_data", "licence", "source")


@dataclass(frozen=True)
class Card:
    """What a weights file says about itself.

    Attributes:
        name: the model's name, such as `afrcnn-16k`.
        config: the network's configuration, complete.
        unmingle_version: the version that wrote the file.
        parameters: number of trainable values; None where the file does not say.
        recipe: the training recipe, its name or its text.
        training_data: what the weights were trained on.
        licence: under which terms the weights may be used.
        source: where the weights come from.
        scores: measured figures by name.
        other: any further metadata, as text.
    """

    name: str
    config: ModelConfig
    unmingle_version: str
    parameters: int | None = None
    recipe: str = ""
    training_data: str = ""
    licence: str = ""
    source: str = ""
    scores: Mapping[str, Any] = field(default_factory=dict[str, Any])
    other: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def family(self) -> str:
        """The network's family, a key of `unmingle.presets.CONFIGS`."""
        return self.config.family


def read_card(path: str | Path) -> Card:
    """What a weights file says about itself, from its header alone and without torch.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: the file is damaged or is not one of ours.
    """
    metadata = read_metadata(path)
    missing = [key for key in NEEDED if key not in metadata]
    if missing:
        raise CheckpointError(
            f"{path} holds tensors but not which model they belong to (its metadata has no {', '.join(missing)}); a "
            "weights file of unmingle was wanted. For a published checkpoint run: unmingle import CHECKPOINT -o OUT"
        )
    return card_from(path, metadata)


def card_from(path: str | Path, metadata: Mapping[str, str]) -> Card:
    """The card that metadata makes; the keys in `NEEDED` are there.

    Raises:
        CheckpointError: its configuration or its scores cannot be read.
    """
    known = {*FILLED_IN, *_TEXT, "scores"}
    return Card(
        name=metadata["name"],
        config=_read_config(path, metadata),
        unmingle_version=metadata["unmingle_version"],
        parameters=int(metadata["parameters"]) if metadata.get("parameters", "").isdecimal() else None,
        scores=_read_json(path, metadata, "scores") if "scores" in metadata else {},
        other={key: value for key, value in metadata.items() if key not in known},
        **{key: metadata.get(key, "") for key in _TEXT},
    )


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text metadata in a safetensors header; empty when there is none.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: not a whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    require_file(path)
    try:
        with safe_open(str(path), framework="numpy") as file:
            return cast("dict[str, str]", file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise not_whole(path, error) from error


def require_file(path: str | Path) -> None:
    """Refuse what is no file.

    Raises:
        CheckpointError: it is a folder.
        MissingFileError: it is not there.
    """
    if Path(path).is_dir():
        raise CheckpointError(f"{path} is a folder; one weights file was wanted")
    if not Path(path).exists():
        raise MissingFileError(f"there is no file {path}; check the path")


def not_whole(path: str | Path, error: Exception) -> CheckpointError:
    """The error of a file that safetensors cannot read, to be raised."""
    size = Path(path).stat().st_size
    came = "is empty" if size == 0 else f"({size} bytes) is not a whole safetensors file ({error})"
    return CheckpointError(
        f"{path} {came}; a .safetensors weights file was wanted. Copy or fetch it again; a published checkpoint in "
        "another format comes in with: unmingle import CHECKPOINT -o OUT"
    )


def _read_json(path: str | Path, metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        value: object = json.loads(metadata[key])
    except ValueError as error:
        raise CheckpointError(
            f"{path}: the {key} in its metadata is not JSON ({error}); fetch the file again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path}: the {key} in its metadata is {value!r}, not a JSON object; fetch the file again"
        )
    return cast("dict[str, Any]", value)


def _read_config(path: str | Path, metadata: Mapping[str, str]) -> ModelConfig:
    try:
        return config_from_dict(metadata["family"], _read_json(path, metadata, "config"))
    except ConfigError as error:
        raise CheckpointError(
            f"{path} was written by unmingle {metadata['unmingle_version']} and asks for a model that version "
            f"{__version__} cannot build: {error}"
        ) from error
