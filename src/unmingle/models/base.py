"""The interface of every separation network. No state and no constructor: models are leaves, nobody subclasses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from unmingle.presets import ModelConfig


class SeparationModel(nn.Module):
    """A network from mixture to estimates.

    `forward(mixture)` takes (batch, time) at `config.sample_rate` and gives (batch, n_src, time).
    """

    config: ModelConfig

    def forward(self, mixture: Tensor) -> Tensor:
        """Separate a batch of mixtures, (batch, time) -> (batch, n_src, time)."""
        raise NotImplementedError
