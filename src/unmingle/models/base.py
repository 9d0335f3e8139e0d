"""The interface of every separation network. No state and no constructor: models are leaves, nobody subclasses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from unmingle.errors import ShapeError, SignalError

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

    def unused_parameters(self) -> frozenset[str]:
        """Names of parameters that published files hold although no output depends on them; mostly none."""
        return frozenset()


def check_mixture(mixture: Tensor) -> None:
    """Refuse what is not a batch of waveforms: the first line of every `forward(mixture)`.

    Raises:
        ShapeError: not (batch, time), or no samples.
        SignalError: the samples are not floating point.
    """
    if mixture.ndim != 2 or 0 in mixture.shape:
        raise ShapeError(
            f"mixture has shape {tuple(mixture.shape)} but a network wants (batch, time) with at least one sample; "
            "reshape it, or call unmingle.separate, which takes any number of channels"
        )
    if not mixture.is_floating_point():
        raise SignalError(
            f"mixture holds {mixture.dtype} but a network wants floating point samples between -1 and 1; "
            "divide integers by their full scale, or call unmingle.separate"
        )
