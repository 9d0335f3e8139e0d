"""TFACM: the numbers of its settings, without the network (which is `unmingle.models.tfacm`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from unmingle.errors import ConfigError, did_you_mean
from unmingle.units import stream_delay

Form = Literal["strict", "published"]
Gate = Literal["prelu", "sigmoid"]
DC = Literal["keep", "remove"]
Output = Literal["spectrum", "mask"]

_CHOICES = {
    "form": get_args(Form),
    "gate": get_args(Gate),
    "dc": get_args(DC),
    "output": get_args(Output),
    "deconv_lookahead": (0, 1),
}
_AT_LEAST_ONE = (
    "sample_rate",
    "n_src",
    "hop",
    "channels",
    "n_blocks",
    "kernel",
    "stride",
    "n_heads",
    "query_width",
    "segment_size",
)
# What the published form has no choice about.
_STRICT_ONLY = {"overlap": True, "deconv_lookahead": 0, "attn_context": None, "output": "spectrum"}


@dataclass(frozen=True)
class TFACMConfig:
    """Every number of the published settings, and the choices that a network which really streams leaves open.

    Attributes:
        sample_rate: Hz.
        n_src: speakers separated.
        window: length of a frame, in samples, even; also the latency, but for `deconv_lookahead`.
        hop: samples between two frames, at most half the window.
        channels: width of the features; the recurrent layers have it too, because the memory passes between them.
        n_blocks: blocks, each with its own weights.
        kernel: neighbouring bins in one vector of the frequency path, and frames that the time path folds together.
        stride: bins between two vectors of the frequency path.
        n_heads: attention heads, a divisor of `channels`.
        query_width: least width of a query over all bins.
        segment_size: frames in a segment of the time path; even where segments overlap.
        form: `strict` is causal and streams; `published` computes as the published code, which hears the whole
            utterance before it answers (docs/decisions/0011).
        overlap: segments overlap by half. Without overlap a frame is in one segment, at half the cost.
        gate: activation of the gate's right arm.
        deconv_lookahead: frames of the future that the last layer sees, 0 or 1.
        attn_context: frames that a frame attends to at most, its own included; None is all before it, and then the
            memory of a stream grows without end.
        dc: `remove` takes the constant part out of every frame of the estimates. A loss that ignores the means of
            signals leaves an offset free, and the networks fill it.
        output: what the last layer gives of each source: its `spectrum`, as published, or a complex `mask` for the
            spectrum of the mixture. The blocks hear shapes and not levels, so that a spectrum's level is learned late.
        dropout: in training, on the product of the gate's arms.
        eps: added to the variance in the norms, those of the segments and the memory excepted (1e-8).

    Raises:
        ConfigError: a number out of range, or an option of the strict form in the published one.
    """

    family: ClassVar[str] = "tfacm"
    sample_rate: int = 8_000
    n_src: int = 2
    window: int = 64
    hop: int = 8
    channels: int = 64
    n_blocks: int = 3
    kernel: int = 8
    stride: int = 1
    n_heads: int = 2
    query_width: int = 128
    segment_size: int = 70
    form: Form = "strict"
    overlap: bool = True
    gate: Gate = "prelu"
    deconv_lookahead: Literal[0, 1] = 0
    attn_context: int | None = None
    dc: DC = "keep"
    output: Output = "spectrum"
    dropout: float = 0.1
    eps: float = 1e-5

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            chosen = getattr(self, name)
            if chosen not in allowed:
                near = did_you_mean(str(chosen), map(str, allowed))
                raise ConfigError(f"{name} is {chosen!r}; TFACM has {', '.join(map(str, allowed))}{near}")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; TFACM wants at least 1")
        if self.attn_context is not None and self.attn_context < 1:
            raise ConfigError(f"attn_context is {self.attn_context}; wanted at least 1 frame, or None for all")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout:g}; it is a probability from 0 to below 1")
        if not self.eps > 0:
            raise ConfigError(f"eps is {self.eps:g}; wanted a number above 0")
        self._check_frames()
        self._check_sizes()
        self._check_form()

    def _check_frames(self) -> None:
        if self.window % 2 or self.hop > self.window // 2:
            raise ConfigError(
                f"window {self.window} and hop {self.hop}; TFACM wants an even window and a hop of at most half of it"
            )
        if self.overlap and self.segment_size % 2:
            raise ConfigError(
                f"segment_size is {self.segment_size}; segments that overlap by half have an even number of frames"
            )

    def _check_sizes(self) -> None:
        if self.channels % self.n_heads:
            raise ConfigError(f"channels is {self.channels}, which {self.n_heads} heads (n_heads) do not divide")
        if self.kernel > self.n_bins or self.stride > self.kernel:
            raise ConfigError(
                f"kernel {self.kernel} and stride {self.stride}; wanted a stride of at most the kernel, and a kernel "
                f"of at most the {self.n_bins} bins of a window of {self.window}"
            )

    def _check_form(self) -> None:
        changed = [name for name, value in _STRICT_ONLY.items() if getattr(self, name) != value]
        if self.form == "published" and changed:
            raise ConfigError(f"form 'published' with {', '.join(changed)}; only form 'strict' has that choice")
        if self.output == "mask" and self.deconv_lookahead:
            raise ConfigError("output 'mask' with deconv_lookahead 1; a mask is for the frame at hand, so take 0")

    @property
    def causal(self) -> bool:
        """Whether it streams: nothing it emits depends on input that comes later."""
        return self.form == "strict"

    @property
    def latency(self) -> int | None:
        """Samples from an input sample to its estimate, fed hop by hop; None for the published form."""
        return self.delay + self.hop if self.causal else None

    @property
    def delay(self) -> int:
        """Samples by which the output of a stream lags behind what it has taken."""
        return stream_delay(self.window, self.hop, lookahead=self.deconv_lookahead)

    @property
    def n_bins(self) -> int:
        """Bins of a frame."""
        return self.window // 2 + 1

    @property
    def query_channels(self) -> int:
        """Channels of a query or key at each bin."""
        return -(-self.query_width // self.n_bins)

    @property
    def segment_hop(self) -> int:
        """Frames between the beginnings of two segments."""
        return self.segment_size // 2 if self.overlap else self.segment_size

    @property
    def n_live(self) -> int:
        """Segments that a frame belongs to."""
        return 2 if self.overlap else 1

    @property
    def memory_shift(self) -> int:
        """How many segments later the next block uses what the memory made of a segment."""
        return self.n_live if self.form == "strict" else 1


_LIVE = TFACMConfig(
    window=160,
    hop=80,
    channels=32,
    stride=4,
    segment_size=50,
    overlap=False,
    attn_context=100,
    dc="remove",
    output="mask",
)

# "tfacm" is the published size, alike in the three published settings. "tfacm-stream" is the same network, hearing one
# second back, so that its memory is bounded. "tfacm-live" is the size for one core of an ordinary machine, 20 ms late,
# and "tfacm-live-16k" the same for 16 kHz (docs/decisions/0011).
PRESETS: dict[str, TFACMConfig] = {
    "tfacm": TFACMConfig(),
    "tfacm-published": TFACMConfig(form="published"),
    "tfacm-stream": TFACMConfig(attn_context=1000, dc="remove"),
    "tfacm-live": _LIVE,
    "tfacm-live-16k": replace(_LIVE, sample_rate=16_000, window=320, hop=160),
}
