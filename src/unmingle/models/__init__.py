"""The networks, one paper per file, and the table that builds one from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unmingle.errors import ConfigError
from unmingle.models.afrcnn import AFRCNN
from unmingle.models.base import AudioVisualModel, SeparationModel, StreamingModel
from unmingle.models.convtasnet import ConvTasNet
from unmingle.models.dprnn import DPRNN
from unmingle.models.iianet import IIANet
from unmingle.models.spmamba import SPMamba
from unmingle.models.tdanet import TDANet
from unmingle.models.tfacm import TFACM
from unmingle.models.tfgridnet import TFGridNet
from unmingle.presets.afrcnn import AFRCNNConfig
from unmingle.presets.convtasnet import ConvTasNetConfig
from unmingle.presets.dprnn import DPRNNConfig
from unmingle.presets.iianet import IIANetConfig
from unmingle.presets.spmamba import SPMambaConfig
from unmingle.presets.tdanet import TDANetConfig
from unmingle.presets.tfacm import TFACMConfig
from unmingle.presets.tfgridnet import TFGridNetConfig

if TYPE_CHECKING:
    from unmingle.presets import ModelConfig

MODELS: dict[str, tuple[type[ModelConfig], Callable[[Any], SeparationModel]]] = {
    "afrcnn": (AFRCNNConfig, AFRCNN),
    "convtasnet": (ConvTasNetConfig, ConvTasNet),
    "dprnn": (DPRNNConfig, DPRNN),
    "iianet": (IIANetConfig, IIANet),
    "spmamba": (SPMambaConfig, SPMamba),
    "tdanet": (TDANetConfig, TDANet),
    "tfacm": (TFACMConfig, TFACM),
    "tfgridnet": (TFGridNetConfig, TFGridNet),
}


def build_model(config: ModelConfig) -> SeparationModel:
    """A network with fresh weights.

    Raises:
        ConfigError: no model has this configuration.
    """
    for config_type, model_type in MODELS.values():
        if isinstance(config, config_type):
            return model_type(config)
    wanted = ", ".join(config_type.__name__ for config_type, _ in MODELS.values())
    raise ConfigError(f"{type(config).__name__} is no model configuration; wanted one of {wanted}")


__all__ = ["MODELS", "AudioVisualModel", "SeparationModel", "StreamingModel", "build_model"]
