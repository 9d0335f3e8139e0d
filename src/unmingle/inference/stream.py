"""Separation while the sound comes in: blocks of any length, at any rate, out as soon as they can be.

    push -> input's rate to the model's -> whole hops through the network -> back to the input's rate -> returned
                                 |_ what is less than a step waits

Everything that a stream remembers is one value, `StreamState`, which every push replaces. So a push that fails changes
nothing, a state can be saved and taken up elsewhere, and any number of streams share a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.audio.levels import LOUDEST, unusable
from unmingle.audio.live import LiveResampler, ResamplerState
from unmingle.audio.resample import check_sample_rate
from unmingle.errors import ConfigError, ShapeError, SignalError
from unmingle.inference.handle import Model, load_model
from unmingle.inference.steps import steps_of
from unmingle.units import Seconds

Signal = TypeVar("Signal")
LARGEST_STEP_SECONDS = 0.5
"""How much goes through the network at once; a longer push is cut, so that its memory is bounded."""


class StreamState(NamedTuple):
    """All that a stream remembers.

    Attributes:
        network: state of the network, as what carries the stream has it (`inference.steps`).
        arriving: state of the change to the model's rate.
        waiting: (1, time) samples at the model's rate, less than a step.
        leaving: state of the change back.
        taken: samples pushed so far.
        heard: samples at the model's rate so far.
        late: samples of the network's output that lie before the beginning and are still to be dropped.
        given: samples returned so far.
    """

    network: Any
    arriving: ResamplerState
    waiting: Samples
    leaving: ResamplerState
    taken: int
    heard: int
    late: int
    given: int


class Stream:
    """One stream through a model. Estimate k lies where sample k of the mixture lay, only later.

    A stream is for one thread at a time; streams in several threads may share a model.
    """

    def __init__(self, model: Model | str | Path, *, sample_rate: int, hops: int = 1) -> None:
        """Prepare a stream.

        Args:
            model: one that streams: of `Model.from_network`, its name, or the path of its weights.
            sample_rate: Hz of what is pushed and of what comes back, the model's or any other.
            hops: how many hops of the network are taken at once. More cost less each, but a hop more latency each.

        Raises:
            ConfigError: the model does not stream, or `hops` is no whole number from 1 up.
            UnknownModelError, CheckpointError: the model is not to be had.
            SampleRateError: a rate at which nobody records.
        """
        check_sample_rate(sample_rate, name="the stream")
        if hops < 1 or hops != int(hops):
            raise ConfigError(f"hops is {hops!r}; a step of the network takes a whole number of them, at least 1")
        self.model = model = model if isinstance(model, Model) else load_model(model)
        self.sample_rate = int(sample_rate)
        self.n_src = model.n_src
        self._steps = steps_of(model)
        self._step = int(hops) * self._steps.hop
        self._arriving = LiveResampler(self.sample_rate, model.sample_rate)
        self._leaving = LiveResampler(model.sample_rate, self.sample_rate)
        self._ended = False
        self._pushed: Any = np.zeros(0, np.float32)  # none, of the kind that was pushed last
        self._state = self._init_state()

    @property
    def latency_seconds(self) -> Seconds:
        """Algorithmic latency: a sample's estimate is out when this much has been pushed since the sample.

        The network's delay and the filling of a step, and the resampling both ways where the rates differ. What
        computing takes comes on top.
        """
        network = (self._steps.delay + self._step) / self.model.sample_rate
        if self.sample_rate == self.model.sample_rate:
            return Seconds(network)
        grid = 1 / self.model.sample_rate + 1 / self.sample_rate  # the two rates' samples do not coincide
        return Seconds(network + self._arriving.delay_seconds + self._leaving.delay_seconds + grid)

    @property
    def block_samples(self) -> int:
        """How many samples to push at once, at the least, to get the same number back on average."""
        return -(-self._step * self.sample_rate // self.model.sample_rate)

    @property
    def state(self) -> StreamState:
        """All that the stream remembers; a value, which later pushes do not change."""
        return self._state

    def push(self, samples: Signal) -> Signal:
        """Take samples, of any number, and return what is ready.

        Args:
            samples: (time,) floating-point array or tensor.

        Returns:
            (n_src, time') float32, of the same kind; time' may be 0.

        Raises:
            ShapeError: not (time,), or not floating-point; the stream goes on as if nothing had been pushed.
            SignalError: NaN, infinite or impossibly loud samples, likewise; or the stream has been flushed.
        """
        block = self._checked(samples)
        self._pushed = _like(samples, np.zeros(0, np.float32))
        state, parts = self._state, list[Samples]()
        largest = max(1, round(LARGEST_STEP_SECONDS * self.sample_rate))
        for start in range(0, block.shape[1], largest):
            part, state = self._advance(block[:, start : start + largest], state)
            parts.append(part)
        self._state = state
        return _like(samples, np.concatenate(parts, axis=1) if parts else np.zeros((self.n_src, 0), np.float32))

    def flush(self) -> Any:
        """End the stream: (n_src, time) float32, so that as many samples have come back as were pushed.

        Of the kind that was pushed last, an array when nothing was.

        Raises:
            SignalError: it has been flushed already.
        """
        self._refuse_if_ended()
        state = self._state
        rest = self._finish(state) if state.taken else np.zeros((self.n_src, 0), np.float32)
        self._ended = True
        return _like(self._pushed, rest)

    def reset(self) -> None:
        """Begin anew, as if nothing had been pushed."""
        self._ended = False
        self._state = self._init_state()

    def save(self) -> bytes:
        """The stream as bytes, for `restore`; safetensors inside.

        Raises:
            SignalError: it has been flushed.
        """
        from unmingle.inference.stream_file import pack

        self._refuse_if_ended()
        return pack(self._state, self._steps, config=self.model.config, sample_rate=self.sample_rate)

    def restore(self, data: bytes) -> None:
        """Go on where the stream that was saved stood.

        Args:
            data: what `save` gave, for the same model at the same sample rate.

        Raises:
            CheckpointError: damaged, or of another model or rate; this stream is then as it was.
        """
        from unmingle.inference.stream_file import unpack

        template = self._init_state()
        self._state = unpack(data, template, self._steps, config=self.model.config, sample_rate=self.sample_rate)
        self._ended = False

    def _init_state(self) -> StreamState:
        return StreamState(
            network=self._steps.init_state(1),
            arriving=self._arriving.init_state(1),
            waiting=np.zeros((1, 0), np.float32),
            leaving=self._leaving.init_state(self.n_src),
            taken=0,
            heard=0,
            late=self._steps.delay,
            given=0,
        )

    def _advance(self, block: Samples, state: StreamState) -> tuple[Samples, StreamState]:
        """(1, time) at the stream's rate -> (n_src, time')."""
        heard, arriving = self._arriving.step(block, state.arriving)
        joined = np.concatenate([state.waiting, heard], axis=1)
        whole = joined.shape[1] // self._step * self._step
        separated, network = np.zeros((1, self.n_src, 0), np.float32), state.network
        if whole:
            separated, network = self._steps.step(joined[:, :whole], network)
        dropped = min(state.late, whole)
        out, leaving = self._leaving.step(separated[0, :, dropped:], state.leaving)
        return out, StreamState(
            network=network,
            arriving=arriving,
            waiting=joined[:, whole:],
            leaving=leaving,
            taken=state.taken + block.shape[1],
            heard=state.heard + heard.shape[1],
            late=state.late - dropped,
            given=state.given + out.shape[1],
        )

    def _finish(self, state: StreamState) -> Samples:
        """What is owed when nothing further comes; silence is appended to a stream too short for the network."""
        rest = np.concatenate([state.waiting, self._arriving.finish(state.arriving)], axis=1)
        length = state.heard - state.waiting.shape[1] + rest.shape[1]
        padded = np.pad(rest, [(0, 0), (0, max(0, self._steps.least - length))])
        end = self._steps.finish(padded, state.network)
        separated = end[0, :, state.late : self._steps.delay + rest.shape[1]]
        out, leaving = self._leaving.step(separated, state.leaving)
        owed = state.taken - state.given
        return np.concatenate([out, self._leaving.finish(leaving)], axis=1)[:, :owed]

    def _checked(self, samples: object) -> Samples:
        self._refuse_if_ended()
        block = np.asarray(_as_array(samples))
        if block.ndim != 1 or not np.issubdtype(block.dtype, np.floating):
            raise ShapeError(
                f"pushed were {block.dtype} samples of shape {block.shape}; a stream takes floats of shape (time,), of "
                "which 1.0 is full scale: one channel, such as the average of several"
            )
        if (bad := unusable(block)).any():
            raise SignalError(
                f"{int(bad.sum())} of the {block.size} samples pushed are NaN, infinite or beyond {LOUDEST:g} times "
                "full scale; they were not taken, since they would stay in the stream for good: push 0 in their place"
            )
        return block.astype(np.float32, copy=False)[np.newaxis]

    def _refuse_if_ended(self) -> None:
        if self._ended:
            raise SignalError("the stream has ended with flush; begin anew with reset, or make another Stream")


def _as_array(samples: object) -> object:
    tensor: Any = samples
    return tensor.detach().float().cpu().numpy() if _is_floating_tensor(samples) else samples


def _like(samples: Signal, out: Samples) -> Signal:
    """The output as the kind of thing that the input was."""
    if not _is_floating_tensor(samples):
        return out  # pyright: ignore[reportReturnType]
    import torch

    tensor: Any = samples
    return torch.from_numpy(out).to(tensor.device)  # pyright: ignore[reportReturnType]


def _is_floating_tensor(samples: object) -> bool:
    tensor: Any = samples
    return type(samples).__module__.startswith("torch") and tensor.is_floating_point()
