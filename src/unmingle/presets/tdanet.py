"""TDANet: the numbers of the published settings, without the network (which is `unmingle.models.tdanet`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from unmingle.errors import ConfigError, did_you_mean
from unmingle.units import window_samples

Form = Literal["paper", "released", "code", "sonicsim"]
AttentionAxis = Literal["time", "item", "batch"]

N_HEADS = 8
_LEAST = {"sample_rate": 1, "n_src": 1, "channels": 1, "hidden": 1, "depth": 2, "n_iterations": 1}


@dataclass(frozen=True)
class TDANetConfig:
    """Every number that the paper's tables and the published files vary. Derived numbers are properties.

    Attributes:
        sample_rate: Hz.
        n_src: speakers separated.
        window_ms: length of the encoder's filters; a whole multiple of 4 samples, because the hop is a quarter of it.
        channels: width of the features that pass from one iteration to the next.
        hidden: width inside the block; a multiple of 8, the number of attention heads.
        depth: time resolutions in the block, each half of the one before.
        n_iterations: times the one block is applied.
        form: `paper` as in the paper's figure, `released` as the published weights, `code` as the public training
            code, `sonicsim` as used with that data set (docs/decisions/0004).
        attention_axis: what the global attention runs over: the positions in `time`, each `item` alone (the published
            weights at batch size 1), or the items of the `batch` (the published weights to the letter).
            None is `time` for the paper form and `item` for the others.
        dropout: in training, of attention, feed-forward layers and residual branches; 0 switches all off.

    Raises:
        ConfigError: a number out of range.
    """

    family: ClassVar[str] = "tdanet"
    sample_rate: int = 16_000
    n_src: int = 2
    window_ms: float = 4.0
    channels: int = 128
    hidden: int = 512
    depth: int = 5
    n_iterations: int = 16
    form: Form = "paper"
    attention_axis: AttentionAxis | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        self._check_choices()
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; TDANet wants at least {least}")
        if not math.isfinite(self.window_ms) or self.window < 4 or self.window % 4:
            samples = self.window_ms * self.sample_rate / 1000
            raise ConfigError(
                f"window_ms {self.window_ms:g} at {self.sample_rate} Hz is {samples:g} samples; TDANet hops by a "
                "quarter of its window, so choose a duration that is a multiple of 4 samples"
            )
        if self.hidden % N_HEADS:
            raise ConfigError(f"hidden is {self.hidden}; TDANet wants a multiple of {N_HEADS}, its attention heads")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout:g}; it is a probability from 0 to below 1")

    def _check_choices(self) -> None:
        choices = {"form": get_args(Form), "attention_axis": get_args(AttentionAxis)}
        for name, allowed in choices.items():
            chosen = getattr(self, name)
            if chosen not in allowed and not (name == "attention_axis" and chosen is None):
                near = did_you_mean(str(chosen), allowed)
                raise ConfigError(f"{name} is {chosen!r}; TDANet has {', '.join(allowed)}{near}")

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; TDANet normalises over the whole utterance."""
        return False

    @property
    def window(self) -> int:
        """Length of the encoder's filters, in samples."""
        return window_samples(self.window_ms, sample_rate=self.sample_rate)

    @property
    def hop(self) -> int:
        """Samples between two frames."""
        return self.window // 4

    @property
    def n_basis(self) -> int:
        """Filters of the encoder."""
        return self.window // 2 + 1

    @property
    def resolved_axis(self) -> AttentionAxis:
        """`attention_axis`, or what the form means by None."""
        return self.attention_axis or ("time" if self.form == "paper" else "item")


# Settings of the papers' tables and of the published files. "large" is the same network on a window of half the length.
# LRS2-2Mix is at 16 kHz; Libri2Mix, WHAM! and WSJ0-2Mix are at 8 kHz.
PRESETS: dict[str, TDANetConfig] = {
    "tdanet": TDANetConfig(),
    "tdanet-large": TDANetConfig(window_ms=2.0),
    "tdanet-8k": TDANetConfig(sample_rate=8_000),
    "tdanet-large-8k": TDANetConfig(sample_rate=8_000, window_ms=2.0),
    "tdanet-libri2mix": TDANetConfig(sample_rate=8_000),
    "tdanet-large-libri2mix": TDANetConfig(sample_rate=8_000, window_ms=2.0),
    "tdanet-large-wsj0": TDANetConfig(sample_rate=8_000, window_ms=2.0),
    "tdanet-released": TDANetConfig(form="released"),
    "tdanet-large-released": TDANetConfig(form="released", window_ms=2.0),
    "tdanet-released-8k": TDANetConfig(form="released", sample_rate=8_000),
    "tdanet-large-released-8k": TDANetConfig(form="released", sample_rate=8_000, window_ms=2.0),
    "tdanet-code": TDANetConfig(form="code"),
    "tdanet-large-code": TDANetConfig(form="code", window_ms=2.0),
    "tdanet-code-8k": TDANetConfig(form="code", sample_rate=8_000),
    "tdanet-large-code-8k": TDANetConfig(form="code", sample_rate=8_000, window_ms=2.0),
    "tdanet-sonicsim": TDANetConfig(form="sonicsim", window_ms=2.0),
}
