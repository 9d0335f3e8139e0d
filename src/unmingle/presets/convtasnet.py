"""Conv-TasNet: the numbers of the published settings, without the network (which is `unmingle.models.convtasnet`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unmingle.errors import ConfigError
from unmingle.presets.front_end import check_front_end


@dataclass(frozen=True)
class ConvTasNetConfig:
    """Every number of the paper's Table II. The paper's letters are in brackets.

    Attributes:
        sample_rate: Hz.
        n_src: speakers separated (C).
        window: length of an encoder filter, in samples, even (L). The hop is half of it.
        n_basis: encoder filters (N).
        channels: width of the bottleneck and of the residual path (B).
        skip: width of the skip connections (Sc).
        hidden: width inside a block (H).
        kernel: taps of the depth-wise convolutions, odd (P).
        depth: blocks in a repeat, each with twice the dilation of the one before (X).
        n_repeats: repeats (R).

    Raises:
        ConfigError: a number out of range.
    """

    family: ClassVar[str] = "convtasnet"
    sample_rate: int = 8_000
    n_src: int = 2
    window: int = 16
    n_basis: int = 512
    channels: int = 128
    skip: int = 128
    hidden: int = 512
    kernel: int = 3
    depth: int = 8
    n_repeats: int = 3

    def __post_init__(self) -> None:
        check_front_end(self, "Conv-TasNet", even=("window",))
        if not self.kernel % 2:
            raise ConfigError(f"kernel is {self.kernel}; Conv-TasNet's convolutions are centred, so take an odd number")

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; gLN reads the whole utterance, so never."""
        return False

    @property
    def hop(self) -> int:
        """Samples from one encoder frame to the next."""
        return self.window // 2


# The best row of Table II with gLN; the causal one, with cumulative norms, is not here.
PRESETS: dict[str, ConvTasNetConfig] = {"conv-tasnet": ConvTasNetConfig()}
