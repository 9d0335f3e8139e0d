"""Dynamic mixing: mixtures made while training, each a pure function of (seed, number of the mixture)."""

from __future__ import annotations

from unmingle.data.batch import Batch
from unmingle.data.settings import DataSettings


class DynamicMixing:
    """An endless source of batches made from single voices; see `MixingSettings` for what is drawn."""

    def __init__(self, settings: DataSettings, *, rank: int = 0, world_size: int = 1) -> None:
        """Decode the speech and noise that the settings name, or find them decoded."""
        self.settings = settings
        self.rank = rank
        self.world_size = world_size

    def batch(self, step: int) -> Batch:
        """Batch of one step; the same for the same settings, rank and step, whatever was asked before."""
        raise NotImplementedError
