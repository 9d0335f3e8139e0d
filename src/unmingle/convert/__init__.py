"""Published checkpoints into our models: `import_checkpoint` from Python, `unmingle import` from the shell.

containers.py takes a file out of its wrapping, families.py finds the file of this room that knows the network, and
that file (afrcnn.py, tdanet.py, ...) infers the sizes and renames the tensors. lip_reading.py puts the two files of an
audio-visual network together. check.py measures it all against parity vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmingle.errors import ConfigError, UnmingleError

if TYPE_CHECKING:
    from unmingle.convert.containers import Published
    from unmingle.convert.families import Family
    from unmingle.models.base import SeparationModel
    from unmingle.presets import ModelConfig


@dataclass(frozen=True)
class Import:
    """A published checkpoint, imported.

    Attributes:
        model: the network with its weights, float32, in evaluation mode.
        container: what the file was wrapped in (see `unmingle.convert.containers`).
        model_name: the published class that the file, or the caller, named; None when nobody did.
        n_tensors: how many tensors the file held.
    """

    model: SeparationModel
    container: str
    model_name: str | None
    n_tensors: int


def import_checkpoint(
    path: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    lip_reading: str | Path | None = None,
) -> SeparationModel:
    """Read a published checkpoint and rebuild its network; no code in the file is ever run.

    Args:
        path: a state dict, trainer file, look2hear file, Lightning file, or safetensors state dict.
        overrides: configuration values that the file does not hold or states wrongly, under our names, such as
            `{"n_iterations": 16}`.
        name: the published class, such as `"TDANetOld"`, where the file does not name it.
        lip_reading: for an audio-visual network, the published file of the lip reader it was trained with; without it
            the network takes embeddings of a video only.

    Returns:
        The network in float32 and evaluation mode; `.config` says what was inferred.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: damaged, unknown, wants to run code, or does not fit the network it claims to be.
        ConfigError: an override that the network does not have, or a value that nobody gave.
    """
    return read_import(path, overrides=overrides, name=name, lip_reading=lip_reading).model


def read_import(
    path: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    lip_reading: str | Path | None = None,
) -> Import:
    """As `import_checkpoint`, with what was found on the way."""
    from unmingle.checkpoint import fit
    from unmingle.convert.containers import read_published
    from unmingle.convert.families import row_of_keys
    from unmingle.convert.lip_reading import add_lip_reading, require_sight

    published = read_published(path)
    n_tensors = len(published.state)
    if lip_reading is not None:
        published = add_lip_reading(published, lip_reading, where=str(path))
    model_name = name or published.model_name
    family = row_of_keys(published.state.keys(), model_name, where=str(path)).module
    config = _infer(family, published, model_name, overrides or {}, where=str(path))
    model = fit(config, family.convert_state(published.state, config), where=str(path))
    require_sight(model)
    return Import(model, published.container, model_name, n_tensors)


def _infer(
    family: Family, published: Published, model_name: str | None, overrides: Mapping[str, Any], *, where: str
) -> ModelConfig:
    from unmingle.presets import config_from_dict, config_to_dict

    try:
        config = family.infer_config(
            published.state, model_name=model_name, model_args=published.model_args, overrides=overrides
        )
        return config_from_dict(config.family, config_to_dict(config))  # once more by the door that checks types
    except ConfigError as error:
        if published.settings is None:
            raise
        raise ConfigError(f"{error} (settings were read from {published.settings}, too)") from error
    except UnmingleError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        given = f" and what was given beside it, {dict(overrides)}," if overrides else ""
        raise ConfigError(
            f"what {where} states, {dict(published.model_args)},{given} makes no network ({error}); "
            "correct what was given, or save the state dict alone and give what is missing as options"
        ) from error


__all__ = ["Import", "import_checkpoint", "read_import"]
