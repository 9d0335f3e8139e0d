"""SPMamba: the numbers of its settings, without the network (which is `unmingle.models.spmamba`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unmingle.presets.grid import check_grid


@dataclass(frozen=True)
class SPMambaConfig:
    """Every number of the published settings and of the published network's constructor.

    Attributes:
        sample_rate: Hz.
        n_src: speakers separated.
        window: length of a frame, in samples, even. Weights fit one window only.
        hop: samples between two frames, at most the window.
        channels: width of the features; a multiple of `n_heads`.
        kernel: neighbouring bins, or frames, in one vector of a path.
        stride: bins, or frames, between two vectors, at most the kernel.
        n_blocks: blocks, each with its own weights.
        n_heads: attention heads.
        query_width: least width of a query over all bins.
        n_units: Mamba units in a direction of a path.
        d_state: states of every channel of a scan.
        d_conv: steps that the convolution before a scan sees.
        expand: channels of a scan, in multiples of the vectors' features.
        activation: in the attention; a word of `unmingle.layers.activation`.
        eps: added to the variance in the norms.

    Raises:
        ConfigError: a number out of range.
    """

    family: ClassVar[str] = "spmamba"
    sample_rate: int = 8_000
    n_src: int = 2
    window: int = 256
    hop: int = 64
    channels: int = 16
    kernel: int = 8
    stride: int = 1
    n_blocks: int = 6
    n_heads: int = 4
    query_width: int = 512
    n_units: int = 1
    d_state: int = 16
    d_conv: int = 4
    expand: int = 4
    activation: str = "prelu"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_grid(self, "SPMamba", counts=("n_units", "d_state", "d_conv", "expand"))

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; SPMamba scans both ways."""
        return False

    @property
    def n_bins(self) -> int:
        """Frequencies of a frame."""
        return self.window // 2 + 1

    @property
    def query_channels(self) -> int:
        """Channels of a query at each bin."""
        return -(-self.query_width // self.n_bins)


_8K = SPMambaConfig()
_16K = SPMambaConfig(sample_rate=16_000, window=512, hop=128)

# One setting for every data set, at the data set's rate; then one that two processor cores can train.
PRESETS: dict[str, SPMambaConfig] = {
    "spmamba-8k": _8K,
    "spmamba-16k": _16K,
    "spmamba-wsj0": _8K,
    "spmamba-wham": _8K,
    "spmamba-libri2mix": _8K,
    "spmamba-echo2mix": _16K,
    "spmamba-small": SPMambaConfig(
        hop=128, channels=24, kernel=4, stride=4, n_blocks=4, query_width=128, d_state=8, expand=1
    ),
}
