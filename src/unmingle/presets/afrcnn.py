"""A-FRCNN family: the numbers of the published settings, without the network (which is `unmingle.models.afrcnn`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from unmingle.errors import ConfigError, did_you_mean

Scheme = Literal[
    "asynchronous",
    "asynchronous-sum",
    "synchronous",
    "synchronous-no-skip",
    "control-1",
    "control-2",
    "unet",
    "unet-delay",
    "sfrcnn-code",
    "unet-code",
    "unet-delay-code",
]
SYNCHRONOUS: tuple[Scheme, ...] = ("synchronous", "synchronous-no-skip")  # these unfold the exchange alone
Method = Literal["A", "B"]
Lateral = Literal["copy", "depthwise"]
Unfolding = Literal["DC", "CC", "SC"]
PhiKind = Literal["depthwise", "dense", "none"]


@dataclass(frozen=True)
class AFRCNNConfig:
    """Every number and choice that the paper's tables and the public files vary. The paper's letters are in brackets.

    Attributes:
        sample_rate: in Hz.
        n_src: speakers (M).
        window: length of an encoder filter, in samples (L; K in the public files). The hop is half of it.
        n_basis: encoder filters (N).
        channels: width carried from one unfolding step to the next (C0).
        hidden: width of every stage inside the block (C).
        depth: stages (S), each at half the rate of the one before.
        n_iterations: times the one weight-tied block is unfolded (U).
        scheme: which stages talk to each other, and when. `asynchronous` is A-FRCNN, `asynchronous-sum` its sum form,
            `synchronous` S-FRCNN. The three `-code` schemes are what the public files of that name compute, where it
            is not what the paper describes.
        method: how a coarse map becomes finer: pixel shuffle behind a convolution (A) or nearest neighbour (B).
        lateral: how a map reaches its own stage: as it is, or through a depth-wise 1x1 convolution and gLN (the
            paper's text for method A; neither its printed sizes nor the public files have it).
        unfolding: what phi reads: the last output (DC), it beside the initial map (CC), or their sum (SC).
        phi: matrix of the joining 1x1 convolution: per channel, full, or none at all. With CC, `depthwise` is the
            public files' grouped matrix: output channel c reads concatenated channels 2c and 2c + 1.
        fuse_early: multiply the coarse maps by the joining matrices before they are made longer, which gives the same
            network up to rounding for a third fewer multiplications; off, so that counts are the published ones.
        tied: one block serves every unfolding step, as published; otherwise each step has its own, which costs
            weights but no time. Not for the synchronous schemes.
    """

    family: ClassVar[str] = "afrcnn"
    sample_rate: int = 8_000
    n_src: int = 2
    window: int = 21
    n_basis: int = 512
    channels: int = 512
    hidden: int = 512
    depth: int = 5
    n_iterations: int = 16
    scheme: Scheme = "asynchronous"
    method: Method = "B"
    lateral: Lateral = "copy"
    unfolding: Unfolding = "SC"
    phi: PhiKind = "depthwise"
    fuse_early: bool = False
    tied: bool = True

    def __post_init__(self) -> None:
        """Refuse what no network can be built from."""
        for field, least in _LEAST.items():
            if getattr(self, field) < least:
                raise ConfigError(f"{field} is {getattr(self, field)}, but an A-FRCNN needs at least {least}")
        for field, allowed in _CHOICES.items():
            chosen = getattr(self, field)
            if chosen not in allowed:
                near = did_you_mean(str(chosen), allowed)
                raise ConfigError(f"{field} is {chosen!r}, but an A-FRCNN knows {', '.join(allowed)}{near}")
        if self.unfolding == "CC" and self.phi == "none":
            raise ConfigError("unfolding 'CC' doubles the width, so phi cannot be 'none'; use 'depthwise' or 'dense'")
        if self.scheme in SYNCHRONOUS and not self.tied:
            raise ConfigError(f"scheme {self.scheme!r} unfolds the exchange of one block, so tied cannot be false")

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; gLN reads the whole utterance, so never."""
        return False

    @property
    def hop(self) -> int:
        """Samples from one encoder frame to the next."""
        return self.window // 2


_LEAST = {
    "sample_rate": 1,
    "n_src": 1,
    "window": 2,
    "n_basis": 1,
    "channels": 1,
    "hidden": 1,
    "depth": 2,
    "n_iterations": 1,
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "scheme": get_args(Scheme),
    "method": get_args(Method),
    "lateral": get_args(Lateral),
    "unfolding": get_args(Unfolding),
    "phi": get_args(PhiKind),
}

_AFRCNN = AFRCNNConfig(n_iterations=8)
_SUM = replace(_AFRCNN, scheme="asynchronous-sum", channels=128)
_SFRCNN = replace(_AFRCNN, scheme="synchronous", phi="dense")
_UNET = replace(_AFRCNN, scheme="unet", phi="dense")
_DELAY = replace(_AFRCNN, scheme="unet-delay", phi="dense")
_CONTROL_1 = replace(_AFRCNN, scheme="control-1")
_CONTROL_2 = replace(_AFRCNN, scheme="control-2")
_AT_16K = replace(_AFRCNN, sample_rate=16_000, window=41, depth=4)

PRESETS: dict[str, AFRCNNConfig] = {
    # Tables 3 and 4: how often the block is unfolded, concatenation and sum
    "afrcnn-4": replace(_AFRCNN, n_iterations=4),
    "afrcnn-8": _AFRCNN,
    "afrcnn-16": replace(_AFRCNN, n_iterations=16),
    "afrcnn-4-sum": replace(_SUM, n_iterations=4),
    "afrcnn-8-sum": _SUM,
    "afrcnn-16-sum": replace(_SUM, n_iterations=16),
    # Table 1: connection schemes; method B where the name does not say A
    "sfrcnn": _SFRCNN,
    "sfrcnn-light": replace(_SFRCNN, channels=412, hidden=412),
    "sfrcnn-no-skip": replace(_SFRCNN, scheme="synchronous-no-skip"),
    "control-1": _CONTROL_1,
    "control-2": _CONTROL_2,
    "sfrcnn-a": replace(_SFRCNN, method="A"),
    "control-1-a": replace(_CONTROL_1, method="A"),
    "control-2-a": replace(_CONTROL_2, method="A"),
    "afrcnn-8-a": replace(_AFRCNN, method="A"),
    # Table 2: U-Nets
    "unet": _UNET,
    "unet-large": replace(_UNET, hidden=684),
    "unet-delay": _DELAY,
    "unet-delay-large": replace(_DELAY, channels=580, hidden=580),
    # Table 5: stages (five are afrcnn-8)
    "afrcnn-8-s3": replace(_AFRCNN, depth=3),
    "afrcnn-8-s4": replace(_AFRCNN, depth=4),
    "afrcnn-8-s6": replace(_AFRCNN, depth=6),
    # Table 6: unfolding (SC is afrcnn-8)
    "afrcnn-8-dc": replace(_AFRCNN, unfolding="DC"),
    "afrcnn-8-cc": replace(_AFRCNN, unfolding="CC", phi="dense"),
    # 16 kHz settings that others have trained
    "afrcnn-12-16k": replace(_AT_16K, n_iterations=12),
    "afrcnn-16-16k": replace(_AT_16K, n_iterations=16),
    # What the public files compute, where that is not the paper's row
    "sfrcnn-code": replace(_AFRCNN, scheme="sfrcnn-code"),
    "unet-code": replace(_AFRCNN, scheme="unet-code"),
    "unet-delay-code": replace(_AFRCNN, scheme="unet-delay-code"),
    "control-1-code": replace(_CONTROL_1, method="A"),
    "control-2-code": replace(_CONTROL_2, method="A"),
    "afrcnn-cc-code": replace(_AFRCNN, unfolding="CC"),
    "afrcnn-dc-code": replace(_AFRCNN, unfolding="DC", phi="none", n_iterations=1),
    # SuDoRM-RF 1.0x (Tzinis, Wang and Smaragdis, MLSP 2020), from whose code the public files descend: summing U-Nets
    # in a row, each with its own weights
    "sudormrf": AFRCNNConfig(
        scheme="sfrcnn-code", channels=128, n_iterations=16, unfolding="DC", phi="none", tied=False
    ),
}
