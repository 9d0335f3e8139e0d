"""The interfaces of separation networks. No state and no constructor: models are leaves, nobody subclasses them."""

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


class AudioVisualModel(SeparationModel):
    """A network that watches the speakers it listens for.

    `forward(mixture, video)` takes (batch, time) and the mouth crops of one face per item, (batch, frames, height,
    width) at `config.frame_rate`, or their embedding (batch, channels, frames) where it was made before; it gives
    (batch, n_src, time). For several faces in one mixture, repeat the mixture along the batch.
    """

    def forward(self, mixture: Tensor, video: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Separate a batch of mixtures by the faces in a batch of videos -> (batch, n_src, time)."""
        raise NotImplementedError

    def example_inputs(self, seconds: float) -> tuple[Tensor, Tensor]:
        """Noise that `forward` takes, batch 1, for measuring what it costs."""
        raise NotImplementedError

    def frozen_front_end(self) -> nn.Module | None:
        """The part that was trained elsewhere and stays as it is, if there is one; tables count it apart."""
        return None


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


def check_frames(n_frames: int, *, n_samples: int, sample_rate: int, frame_rate: int) -> None:
    """Refuse a video that is not as long as its mixture, to the frame; a last frame that is begun may be there or not.

    Raises:
        ShapeError: another number of frames.
    """
    full, rest = divmod(n_samples * frame_rate, sample_rate)
    least, most = max(1, full), max(1, full + (rest > 0))
    if not least <= n_frames <= most:
        raise ShapeError(
            f"video has {n_frames} frames but a mixture of {n_samples} samples at {sample_rate} Hz "
            f"({n_samples / sample_rate:.3f} s) goes with {least if least == most else f'{least} or {most}'} at "
            f"{frame_rate} per second; cut the video or repeat its last frame, since lips and voice would drift apart"
        )
