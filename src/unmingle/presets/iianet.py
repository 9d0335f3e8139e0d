"""IIANet and its lip reader: the numbers, without the networks (`unmingle.models.iianet`, `.lipreading`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from unmingle.errors import ConfigError, did_you_mean
from unmingle.units import window_samples

Activation = Literal["prelu", "relu"]
Learns = Literal["nothing", "statistics", "everything"]

_LEAST = {
    "sample_rate": 1,
    "frame_rate": 1,
    "n_src": 1,
    "channels": 1,
    "hidden": 1,
    "visual_channels": 1,
    "video_channels": 1,
    "depth": 1,
    "n_iterations": 1,
    "n_fusion": 1,
}


def _check_choice(name: str, chosen: str, allowed: tuple[str, ...]) -> None:
    if chosen not in allowed:
        raise ConfigError(f"{name} is {chosen!r}; wanted {', '.join(allowed)}{did_you_mean(str(chosen), allowed)}")


@dataclass(frozen=True)
class LipReadingConfig:
    """The network from mouth crops to one embedding per video frame: a 3-D convolution, then a residual trunk.

    Attributes:
        stem: channels of the 3-D convolution.
        widths: channels of each stage of the trunk; the last is the width of the embedding.
        blocks: residual blocks of each stage.
        activation: `prelu` has a slope per channel.
        crop: height and width of a mouth crop, in pixels.
        learns: what changes while a separator is trained behind it. `nothing`: weights and statistics stay as they
            are. `statistics`: weights stay, but batches are normalised by themselves and the running statistics
            follow, as in the public training program. `everything`: it is trained like the rest.

    Raises:
        ConfigError: a number out of range.
    """

    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    activation: Activation = "prelu"
    crop: int = 88
    learns: Learns = "nothing"

    def __post_init__(self) -> None:
        for name, allowed in {"activation": get_args(Activation), "learns": get_args(Learns)}.items():
            _check_choice(name, getattr(self, name), allowed)
        if not self.widths or len(self.widths) != len(self.blocks):
            raise ConfigError(
                f"widths are {self.widths} and blocks {self.blocks}; a lip reader wants one of each per stage"
            )
        if min(self.stem, self.crop, *self.widths, *self.blocks) < 1:
            raise ConfigError(
                f"stem {self.stem}, crop {self.crop}, widths {self.widths} and blocks {self.blocks} must be at least 1"
            )


@dataclass(frozen=True)
class IIANetConfig:
    """Every number that the paper's tables and the published files vary. Derived numbers are properties.

    Attributes:
        sample_rate: Hz.
        frame_rate: video frames per second.
        n_src: voices separated for one face; 1 except in trials.
        window_ms: length of the encoder's filters; a whole multiple of 4 samples, because the hop is a quarter of it.
        channels: width of the audio that passes from one cycle to the next.
        hidden: width of the audio inside a cycle.
        visual_channels: width of the lip reader's embedding.
        video_channels: width of the video, between cycles and inside.
        depth: time resolutions, each half of the one before.
        n_iterations: cycles, all with the same weights.
        n_fusion: how many of them, the first, look at the video.
        dropout: in training, of the audio's feed-forward layer and of residual branches; 0 switches all off.
        lips: the lip reader that the network carries; None takes embeddings that were made elsewhere.

    Raises:
        ConfigError: a number out of range.
    """

    family: ClassVar[str] = "iianet"
    sample_rate: int = 16_000
    frame_rate: int = 25
    n_src: int = 1
    window_ms: float = 1.0
    channels: int = 128
    hidden: int = 512
    visual_channels: int = 512
    video_channels: int = 64
    depth: int = 5
    n_iterations: int = 16
    n_fusion: int = 4
    dropout: float = 0.1
    lips: LipReadingConfig | None = LipReadingConfig()

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; IIANet wants at least {least}")
        if not math.isfinite(self.window_ms) or self.window < 4 or self.window % 4:
            samples = self.window_ms * self.sample_rate / 1000
            raise ConfigError(
                f"window_ms {self.window_ms:g} at {self.sample_rate} Hz is {samples:g} samples; IIANet hops by a "
                "quarter of its window, so choose a duration that is a multiple of 4 samples"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout:g}; it is a probability from 0 to below 1")
        if self.lips is not None and self.lips.widths[-1] != self.visual_channels:
            raise ConfigError(
                f"visual_channels is {self.visual_channels} but the lip reader gives {self.lips.widths[-1]} "
                "(the last of lips.widths); set both to the same"
            )

    @property
    def causal(self) -> bool:
        """Whether no output depends on later input; IIANet normalises over the whole utterance."""
        return False

    @property
    def window(self) -> int:
        """Length of the encoder's filters, in samples."""
        return window_samples(self.window_ms, sample_rate=self.sample_rate)

    @property
    def hop(self) -> int:
        """Samples between two frames of the encoder."""
        return self.window // 4

    @property
    def n_basis(self) -> int:
        """Filters of the encoder."""
        return self.window // 2 + 1

    def n_frames(self, n_samples: int) -> int:
        """Video frames that belong to so many samples: the nearest whole number, at least 1."""
        return max(1, round(n_samples * self.frame_rate / self.sample_rate))


# The published configurations of `iianet` for LRS2-2Mix, LRS3-2Mix and VoxCeleb2-2Mix are one and the same.
PRESETS: dict[str, IIANetConfig] = {
    "iianet": IIANetConfig(),
    "iianet-fast": IIANetConfig(n_iterations=10),
    # Ours: an eighth of the time resolution, and lips of its own that are learned with the rest.
    "iianet-small": IIANetConfig(
        window_ms=8.0,
        channels=64,
        hidden=192,
        visual_channels=64,
        video_channels=32,
        n_iterations=6,
        n_fusion=3,
        dropout=0.0,
        lips=LipReadingConfig(stem=12, widths=(16, 32, 48, 64), blocks=(1, 1, 1, 1), learns="everything"),
    ),
}
