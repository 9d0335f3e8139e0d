"""A recipe: one network, its data, its training. No torch here.

    name: tdanet-libri2mix
    extends: base.yaml
    model: {preset: tdanet, sample_rate: 8000}     # or {family: tdanet, ...}
    data: {manifest: train.jsonl, batch_size: 4}   # unmingle.data.settings.DataSettings
    training: {lr: 1e-3}                           # unmingle.training.settings.TrainingSettings

Paths in `data` and `training` are relative to the folder that the command runs in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from unmingle.config import Values, build, override, plain_values, read_values, to_yaml, unknown_key
from unmingle.data.crops import FRAME_RATE
from unmingle.data.settings import DataSettings, VideoSettings
from unmingle.errors import ConfigError
from unmingle.presets import ModelConfig, config_from_dict, config_to_dict, find_preset, is_audio_visual
from unmingle.presets.iianet import IIANetConfig
from unmingle.training.settings import TrainingSettings


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what weights come out.

    Attributes:
        name: of the run, and of the weights it makes.
        model: the network.
        data: what it hears.
        training: how it learns.
        training_data: the corpora, in words, for the card of the weights.
        licence: terms of the weights, for the card.
    """

    name: str
    model: ModelConfig
    data: DataSettings
    training: TrainingSettings
    training_data: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse a network and data that do not fit each other."""
        seeing = is_audio_visual(self.model)
        if seeing != (self.data.video is not None):
            says = "sees nobody; leave it out" if self.data.video else "wants to see a face; set data.video.crop=88"
            raise ConfigError(f"data.video is {self.data.video}, but a {self.model.family} network {says}")
        for key in ("sample_rate",) if seeing else ("sample_rate", "n_src"):
            wanted, came = getattr(self.model, key), getattr(self.data, key)
            if wanted != came:
                raise ConfigError(f"model.{key} is {wanted} but data.{key} is {came}; set both to the same")
        if self.training.loss.ordered_steps and (self.data.n_src != 2 or not self.data.speech):
            raise ConfigError(
                f"training.loss.ordered_steps is {self.training.loss.ordered_steps}, but an order is known only of the "
                "two voices of dynamic mixing; set it to 0, or data.n_src=2 and data.speech"
            )
        if isinstance(self.model, IIANetConfig) and self.data.video is not None:
            _check_sight(self.model, self.data.video)


def _check_sight(model: IIANetConfig, video: VideoSettings) -> None:
    """Refuse an audio-visual network that cannot be trained on one face per mixture."""
    if model.n_src != 1 or model.frame_rate != FRAME_RATE:
        raise ConfigError(
            f"model.n_src is {model.n_src} and model.frame_rate {model.frame_rate}; training gives one face and wants "
            f"its voice alone, at {FRAME_RATE} frames per second: set n_src=1 and frame_rate={FRAME_RATE}"
        )
    if model.lips is None:
        raise ConfigError("model.lips is null, but training shows mouth crops; give the network a lip reader")
    if model.lips.crop != video.crop:
        raise ConfigError(
            f"model.lips.crop is {model.lips.crop} but data.video.crop is {video.crop}; set both to the same"
        )


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, put overrides on top, and check every key and type.

    Args:
        path: a YAML file, which may extend others.
        overrides: `training.lr=3e-4` words.

    Raises:
        MissingFileError: the file, or one that it extends, is not there.
        ConfigError: an unknown key (suggests the near one), a wrong type, or a value out of range.
        UnknownModelError: no preset of that name.
    """
    values = read_values(path)
    if isinstance(values.get("model"), str):
        values["model"] = {"preset": values["model"]}
    return recipe_from_values({"name": path.stem, **override(values, overrides)})


def recipe_from_values(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe of plain values; the inverse of `recipe_values`.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value out of range.
        UnknownModelError: no preset of that name.
    """
    known = [field.name for field in fields(Recipe)]
    for key in values:
        if key not in known:
            raise unknown_key(key, known, where="")
    if "model" not in values:
        raise ConfigError("the recipe names no model; give one, such as model: {preset: tdanet}")
    words = {key: _word(key, values.get(key, "")) for key in ("name", "training_data", "licence")}
    return Recipe(
        model=_model(values["model"]),
        data=build(DataSettings, values.get("data") or {}, where="data"),
        training=build(TrainingSettings, values.get("training") or {}, where="training"),
        **words,
    )


def _word(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key} is {value!r}, but text was wanted")
    return value


def _model(values: object) -> ModelConfig:
    if not isinstance(values, Mapping):
        raise ConfigError(f"model is {values!r}, but a group of settings was wanted, such as {{preset: tdanet}}")
    chosen = dict(cast("Mapping[str, Any]", values))
    preset, family = chosen.pop("preset", None), chosen.pop("family", None)
    if (preset is None) == (family is None):
        raise ConfigError("model needs either preset (a published row) or family (and all that differs from its base)")
    if preset is None:
        return config_from_dict(str(family), chosen)
    base = find_preset(str(preset))
    return config_from_dict(base.family, {**config_to_dict(base), **chosen})


def recipe_values(recipe: Recipe) -> Values:
    """A recipe as plain values, every default written out; the model by family."""
    return {
        "name": recipe.name,
        "model": {"family": recipe.model.family, **config_to_dict(recipe.model)},
        "data": plain_values(recipe.data),
        "training": plain_values(recipe.training),
        "training_data": recipe.training_data,
        "licence": recipe.licence,
    }


def recipe_text(recipe: Recipe) -> str:
    """A recipe as YAML; loading it gives the same recipe, and so the same run."""
    return to_yaml(recipe_values(recipe))


def public_recipe_text(recipe: Recipe) -> str:
    """The recipe as it travels with weights: paths cut down to file names, so that no machine's folders are told."""
    paths = ("speech", "noise", "manifest", "valid_manifest", "valid_speech")
    names = {key: Path(value).name for key in paths if (value := getattr(recipe.data, key))}
    starts = {key: Path(value).name for key in ("init_from", "lip_reader") if (value := getattr(recipe.training, key))}
    data = replace(recipe.data, cache_dir=None, **names)
    return recipe_text(replace(recipe, data=data, training=replace(recipe.training, **starts)))
