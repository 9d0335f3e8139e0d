"""Model configurations and the named presets, readable without torch.

A configuration says which network to build; a preset is a configuration with the name of a row of a paper's table.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from unmingle.errors import ConfigError, UnknownModelError, did_you_mean
from unmingle.presets import afrcnn, convtasnet, dprnn, iianet, spmamba, tdanet, tfacm, tfgridnet
from unmingle.presets.afrcnn import AFRCNNConfig
from unmingle.presets.convtasnet import ConvTasNetConfig
from unmingle.presets.dprnn import DPRNNConfig
from unmingle.presets.iianet import IIANetConfig
from unmingle.presets.spmamba import SPMambaConfig
from unmingle.presets.tdanet import TDANetConfig
from unmingle.presets.tfacm import TFACMConfig
from unmingle.presets.tfgridnet import TFGridNetConfig


class ModelConfig(Protocol):
    """What every model configuration has, whatever its family: a frozen dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    family: ClassVar[str]

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def n_src(self) -> int:
        """Speakers separated."""
        ...

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input."""
        ...


CONFIGS: dict[str, type[ModelConfig]] = {
    "afrcnn": AFRCNNConfig,
    "convtasnet": ConvTasNetConfig,
    "dprnn": DPRNNConfig,
    "iianet": IIANetConfig,
    "spmamba": SPMambaConfig,
    "tdanet": TDANetConfig,
    "tfacm": TFACMConfig,
    "tfgridnet": TFGridNetConfig,
}
PRESETS: dict[str, ModelConfig] = {
    **afrcnn.PRESETS,
    **iianet.PRESETS,
    **spmamba.PRESETS,
    **tdanet.PRESETS,
    **tfacm.PRESETS,
    **tfgridnet.PRESETS,
    **convtasnet.PRESETS,
    **dprnn.PRESETS,
}

_AUDIO_VISUAL = (IIANetConfig,)
_Settings = TypeVar("_Settings")


def is_audio_visual(config: ModelConfig) -> bool:
    """Whether a network wants to see the speakers, `forward(mixture, video)`, and not only to hear them."""
    return isinstance(config, _AUDIO_VISUAL)


def find_preset(name: str) -> ModelConfig:
    """The configuration of a named preset.

    Raises:
        UnknownModelError: no preset has that name; the message has the near ones.
    """
    if name not in PRESETS:
        raise UnknownModelError(f"no preset is called {name!r}{did_you_mean(name, PRESETS)}")
    return PRESETS[name]


def config_from_dict(family: str, values: Mapping[str, Any]) -> ModelConfig:
    """Build the configuration of a family from plain values, as read from JSON or YAML.

    Args:
        family: a key of `CONFIGS`.
        values: fields; those left out have their defaults.
    Raises:
        ConfigError: no such family or field (the message has the near name), a value of the wrong type or out of range.
    """
    if family not in CONFIGS:
        raise ConfigError(
            f"no model family is called {family!r}, only {', '.join(CONFIGS)}{did_you_mean(family, CONFIGS)}"
        )
    return _build(CONFIGS[family], values)


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Every field as a plain value; `config_from_dict` of the same family makes an equal configuration from it."""
    return asdict(config)


def _build(config_type: type[_Settings], values: Mapping[str, Any], *, where: str = "") -> _Settings:
    hints = get_type_hints(config_type)
    names = [field.name for field in fields(cast("Any", config_type))]
    for name in values:
        if name not in names:
            raise ConfigError(
                f"{config_type.__name__} has no field {name!r}, only {', '.join(names)}{did_you_mean(name, names)}"
            )
    return config_type(**{name: _checked(where + name, value, hints[name]) for name, value in values.items()})


def _checked(name: str, value: Any, wanted: Any) -> Any:
    group = next((choice for choice in (wanted, *get_args(wanted)) if is_dataclass(choice)), None)
    if group is not None and isinstance(value, Mapping):
        return _build(cast("type[Any]", group), cast("Mapping[str, Any]", value), where=f"{name}.")
    if not _fits(value, wanted):
        raise ConfigError(f"{name} is {value!r} ({type(value).__name__}); wanted {_describe(wanted)}")
    if get_origin(wanted) is tuple:
        return tuple(value)  # JSON and YAML know only lists
    return float(value) if wanted is float else value


def _fits(value: Any, wanted: Any) -> bool:
    if get_origin(wanted) is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, get_args(wanted)[0]) for item in value)
    if get_origin(wanted) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(wanted))
    if get_origin(wanted) in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in get_args(wanted))
    if wanted is float:
        return type(value) in (int, float)
    return type(value) is wanted  # exact: True is no number


def _describe(wanted: Any) -> str:
    if get_origin(wanted) is tuple:
        return f"a list of {_describe(get_args(wanted)[0])}"
    if get_origin(wanted) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(wanted))
    if get_origin(wanted) in (Union, types.UnionType):
        return " or ".join(_describe(choice) for choice in get_args(wanted))
    return "nothing" if wanted is type(None) else wanted.__name__


__all__ = [
    "CONFIGS",
    "PRESETS",
    "AFRCNNConfig",
    "ConvTasNetConfig",
    "DPRNNConfig",
    "IIANetConfig",
    "ModelConfig",
    "SPMambaConfig",
    "TDANetConfig",
    "TFACMConfig",
    "TFGridNetConfig",
    "config_from_dict",
    "config_to_dict",
    "find_preset",
    "is_audio_visual",
]
