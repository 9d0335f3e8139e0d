"""The interfaces of separation networks. No constructors here, and models are leaves: nobody subclasses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from unmingle.errors import ShapeError, SignalError
from unmingle.layers.live_stft import LiveFrames, LiveState

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

    def unfolded_blocks(self) -> list[nn.Module]:
        """The block that a forward pass runs again and again on one shape, so that a compiler need see it only once.

        Several, where they are alike but for their weights; none, where nothing is repeated.
        """
        return []

    def name_when_tied(self, key: str) -> str:
        """What a tensor is called in the network with one block for all unfolding steps; mostly the same."""
        return key


class StreamingModel(SeparationModel):
    """A causal network that also separates hop by hop; over a whole signal that gives what `forward` gives.

    Its state is a named tuple of tensors, batch first. `step` never changes the state it is given, so that one network
    serves any number of streams, from any threads.

        out, state = network.step(hops, state)          again and again, each time any number of whole hops
        rest = network.finish(the last samples, state)
        estimates = concatenation of all outputs, without the first `delay` samples

    A configuration may rule streaming out: ask `config.causal`.
    """

    @property
    def hop(self) -> int:
        """Samples that `step` takes, or a multiple of them."""
        raise NotImplementedError

    @property
    def delay(self) -> int:
        """Samples by which the output of `step` lags behind its input."""
        raise NotImplementedError

    @property
    def least(self) -> int:
        """The fewest samples that a whole stream may have."""
        raise NotImplementedError

    @property
    def latency(self) -> int:
        """Samples from an input sample to its estimate at worst, when `step` is given one hop at a time."""
        return self.delay + self.hop

    def init_state(self, batch: int) -> Any:
        """The state before the first sample.

        Raises:
            ConfigError: a network of this configuration does not stream.
        """
        raise NotImplementedError

    def step(self, block: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next hops, (batch, n * hop) -> (batch, n_src, n * hop), `delay` samples late; and the state after them.

        The first `delay` samples of all are zero.

        Raises:
            ShapeError: not (batch, n * hop).
        """
        raise NotImplementedError

    def finish(self, rest: Tensor, state: Any) -> Tensor:
        """The end of a stream: the samples after the last whole hop, and what was under way.

        Args:
            rest: (batch, time), any number of samples, also none.
            state: it is of no use afterwards.
        Returns:
            (batch, n_src, time + delay).
        Raises:
            ShapeError: not (batch, time), or the whole stream has fewer than `least` samples.
        """
        raise NotImplementedError


class FrameStreamingModel(StreamingModel):
    """A causal network between an STFT and its inverse, which streams frame by frame.

    `live` cuts the samples into frames and joins those that come out; `separate_frames` is what lies between.
    """

    live: LiveFrames

    def separate_frames(self, planes: Tensor, state: Any, *, before: Tensor, last: bool) -> tuple[Tensor, Any]:
        """The next frames through the network; see `unmingle.layers.live_stft.FrameNetwork`."""
        raise NotImplementedError

    def separate_frame(self, planes: Tensor, state: Any, *, before: Tensor) -> tuple[Tensor, Any]:
        """One frame of streams that stand anywhere in the network's cycle, without a question about any value.

        That is what a graph can hold. `separate_frames` is faster, for streams of one phase.

        Args:
            planes: (B, 2, 1, F).
            state: of the network.
            before: (B,) how many frames came before.
        Returns:
            (B, S, 2, 1, F), late by the frames that the network looks ahead; the state.
        """
        raise NotImplementedError

    @property
    def hop(self) -> int:
        """Samples that `step` takes, or a multiple of them."""
        return self.live.hop

    @property
    def delay(self) -> int:
        """Samples by which the output of `step` lags behind its input."""
        return self.live.delay

    @property
    def least(self) -> int:
        """The fewest samples that a whole stream may have: both its ends are mirrored."""
        return self.live.least

    def step(self, block: Tensor, state: LiveState) -> tuple[Tensor, LiveState]:
        """The next hops, (B, n * hop) -> (B, S, n * hop), `delay` samples late; and the state after them.

        Raises:
            ShapeError: not (B, n * hop).
            SignalError: not floating point.
        """
        check_mixture(block)
        check_block(block, hop=self.hop, batch=len(state.frames.hops))
        return self.live.step(block, state, self.separate_frames)

    def finish(self, rest: Tensor, state: LiveState) -> Tensor:
        """The end of a stream: (B, time) -> (B, S, time + delay).

        Raises:
            ShapeError: not (B, time), or the whole stream has fewer than `least` samples.
            SignalError: not floating point.
        """
        check_rest(rest, batch=len(state.frames.hops))
        return self.live.finish(rest, state, self.separate_frames)


def check_block(block: Tensor, *, hop: int, batch: int) -> None:
    """Refuse what is not a batch of whole hops, or not the batch that a state belongs to.

    Raises:
        ShapeError: not (batch, n * hop) with n at least 1.
    """
    if block.ndim != 2 or block.shape[0] != batch or block.shape[1] % hop or block.shape[1] == 0:
        raise ShapeError(
            f"a block has shape {tuple(block.shape)} but `step` wants ({batch}, a multiple of {hop}), as its state has "
            f"{batch} streams and a hop is {hop} samples; unmingle.Stream takes blocks of any length"
        )


def check_rest(rest: Tensor, *, batch: int) -> None:
    """Refuse what cannot be the end of a batch of streams.

    Raises:
        ShapeError: not (batch, time), with the batch that the state belongs to.
        SignalError: the samples are not floating point.
    """
    if rest.ndim != 2 or rest.shape[0] != batch:
        raise ShapeError(
            f"the last samples have shape {tuple(rest.shape)} but `finish` wants ({batch}, time), as its state has "
            f"{batch} streams; any number of samples will do, also none"
        )
    _check_type(rest)


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
    _check_type(mixture)


def _check_type(samples: Tensor) -> None:
    if not samples.is_floating_point():
        raise SignalError(
            f"mixture holds {samples.dtype} but a network wants floating point samples between -1 and 1; "
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
