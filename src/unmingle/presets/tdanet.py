"""TDANet: the numbers of the published settings, without the network (which is `unmingle.models.tdanet`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class TDANetConfig:
    """Every number that the paper's tables and the published files vary. Derived numbers are properties."""

    family: ClassVar[str] = "tdanet"
    sample_rate: int = 16_000
    n_src: int = 2
    window_ms: float = 4.0
    channels: int = 128
    hidden: int = 512
    depth: int = 5
    n_iterations: int = 16
    form: Literal["paper", "released", "code", "sonicsim"] = "paper"

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; TDANet normalises over the whole utterance."""
        return False


PRESETS: dict[str, TDANetConfig] = {
    "tdanet": TDANetConfig(),
    "tdanet-large": TDANetConfig(window_ms=2.0),
}
