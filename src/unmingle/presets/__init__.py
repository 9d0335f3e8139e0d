"""Model configurations and the named presets, readable without torch.

A configuration says which network to build; a preset is a configuration with the name of a row of a paper's table.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from unmingle.presets import tdanet
from unmingle.presets.tdanet import TDANetConfig


class ModelConfig(Protocol):
    """What every model configuration has, whatever its family."""

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


CONFIGS: dict[str, type[ModelConfig]] = {"tdanet": TDANetConfig}
PRESETS: dict[str, ModelConfig] = {**tdanet.PRESETS}

__all__ = ["CONFIGS", "PRESETS", "ModelConfig", "TDANetConfig"]
