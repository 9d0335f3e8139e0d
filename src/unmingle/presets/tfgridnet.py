"""TF-GridNet: the numbers of its settings, without the network (which is `unmingle.models.tfgridnet`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from unmingle.errors import ConfigError
from unmingle.presets.grid import check_grid
from unmingle.units import stream_delay


@dataclass(frozen=True)
class TFGridNetConfig:
    """Every number of the published settings, and whether the network is causal.

    Attributes:
        sample_rate: Hz.
        n_src: speakers separated.
        window: length of a frame, in samples, even. Weights fit one window only.
        hop: samples between two frames, at most the window.
        channels: width of the features; a multiple of `n_heads`.
        kernel: neighbouring bins, or frames, in one vector of a path.
        stride: bins, or frames, between two vectors, at most the kernel.
        hidden: features of an LSTM, per direction.
        n_blocks: blocks, each with its own weights.
        n_heads: attention heads.
        query_width: least width of a query over all bins.
        activation: in the attention; a word of `unmingle.layers.activation`.
        causal: nothing looks ahead, and nothing is scaled by the whole mixture (docs/decisions/0010).
        attn_context: if causal, frames that a frame attends to at most, its own included; None is all before it.
        eps: added to the variance in the norms.

    Raises:
        ConfigError: a number out of range.
    """

    family: ClassVar[str] = "tfgridnet"
    sample_rate: int = 8_000
    n_src: int = 2
    window: int = 256
    hop: int = 64
    channels: int = 64
    kernel: int = 4
    stride: int = 1
    hidden: int = 256
    n_blocks: int = 6
    n_heads: int = 4
    query_width: int = 512
    activation: str = "prelu"
    causal: bool = False
    attn_context: int | None = None
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_grid(self, "TF-GridNet", counts=("hidden",))
        if self.causal and self.stride != 1:
            raise ConfigError(f"stride is {self.stride}; a causal TF-GridNet has a vector at every frame, so take 1")
        if self.attn_context is not None and not (self.causal and self.attn_context >= 1):
            raise ConfigError(
                f"attn_context is {self.attn_context}, causal is {self.causal}; a number of frames from 1 up is for "
                "causal networks, others attend to all frames (None)"
            )

    @property
    def latency(self) -> int | None:
        """Samples from an input sample to its estimate, fed hop by hop; None unless it streams."""
        streams = self.causal and 2 * self.hop <= self.window
        return stream_delay(self.window, self.hop) + self.hop if streams else None

    @property
    def n_bins(self) -> int:
        """Frequencies of a frame."""
        return self.window // 2 + 1

    @property
    def query_channels(self) -> int:
        """Channels of a query at each bin."""
        return -(-self.query_width // self.n_bins)


_8K = TFGridNetConfig()
_16K = replace(_8K, sample_rate=16_000, window=512, hop=128)
_NARROW = replace(_8K, channels=48, hidden=192)

PRESETS: dict[str, TFGridNetConfig] = {
    "tfgridnet": _8K,
    "tfgridnet-16k": _16K,
    "tfgridnet-wsj0": _8K,
    "tfgridnet-wham": _8K,
    "tfgridnet-libri2mix": _8K,
    "tfgridnet-echo2mix": _16K,
    # The one of 65 bins, with the number of parameters that SPMamba's paper prints; its frames meet without overlap.
    "tfgridnet-65-bins": replace(_16K, window=128, hop=128),
    "tfgridnet-48": _NARROW,
    "tfgridnet-48-short": replace(_NARROW, window=128),  # ESPnet's defaults
    "tfgridnet-fast": replace(_8K, channels=128, kernel=1, hidden=200),
    "tfgridnet-causal": TFGridNetConfig(
        window=64, hop=16, kernel=8, hidden=64, n_blocks=3, n_heads=2, query_width=128, causal=True
    ),
    # One that two processor cores can train.
    "tfgridnet-small": replace(_8K, hop=128, channels=24, stride=4, hidden=96, n_blocks=4, query_width=128),
}
