"""DPRNN: the numbers of the published settings, without the network (which is `unmingle.models.dprnn`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unmingle.presets.front_end import check_front_end


@dataclass(frozen=True)
class DPRNNConfig:
    """Every number that the paper's tables vary. The paper's letters are in brackets.

    Attributes:
        sample_rate: Hz.
        n_src: speakers separated (C).
        window: length of an encoder filter, in samples, even (L). The hop is half of it.
        n_basis: encoder filters, also the width between blocks (N).
        hidden: units of each direction of a recurrent layer (H).
        chunk: frames in a chunk, even; chunks overlap by half (K).
        n_blocks: blocks, each with its own weights (B).

    Raises:
        ConfigError: a number out of range.
    """

    family: ClassVar[str] = "dprnn"
    sample_rate: int = 8_000
    n_src: int = 2
    window: int = 2
    n_basis: int = 64
    hidden: int = 128
    chunk: int = 250
    n_blocks: int = 6

    def __post_init__(self) -> None:
        check_front_end(self, "DPRNN", even=("window", "chunk"))

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; chunks are heard both ways, so never."""
        return False

    @property
    def hop(self) -> int:
        """Samples from one encoder frame to the next."""
        return self.window // 2


# Table 2: ever shorter windows, and chunks of about the square root of twice the number of frames.
PRESETS: dict[str, DPRNNConfig] = {
    "dprnn": DPRNNConfig(),
    "dprnn-window-4": DPRNNConfig(window=4, chunk=200),
    "dprnn-window-8": DPRNNConfig(window=8, chunk=150),
    "dprnn-window-16": DPRNNConfig(window=16, chunk=100),
}
