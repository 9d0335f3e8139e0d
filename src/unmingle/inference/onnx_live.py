"""A graph of one hop, which takes the state of a stream in and gives it out, run by onnxruntime without torch.

    mixture (B, hop), state.NAME ...  ->  estimates (B, S, hop), next.NAME ...

A state of zeros is the state before the first sample. Of the state two parts are looked at here, for the end of a
stream: the latest samples, which are mirrored, and the sums of the inverse transform, of which the last are owed.

Letters: B items, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.units import hops_to_first_frame

STATE, NEXT = "state.", "next."
"""What stands before the name of a part of the state, at the graph's inputs and at its outputs."""

_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
_COVERED = 1e-11  # of the squared windows: less than that is no window, see `layers.stft.divide`


@dataclass(frozen=True)
class LiveShape:
    """Numbers of a graph that streams, as its metadata has them, in samples.

    Attributes:
        hop: taken and given at once.
        window: length of a frame.
        delay: by which the output lags behind.
        least: that a whole stream may have.
    """

    hop: int
    window: int
    delay: int
    least: int

    def to_dict(self) -> dict[str, int]:
        """The fields in order, ready for JSON."""
        return asdict(self)


class OnnxLive:
    """A graph of one hop at work; see `unmingle.inference.steps.Steps`. Its state is a dictionary of arrays."""

    def __init__(self, session: Any, shape: LiveShape) -> None:
        self._session = session
        self._window = shape.window
        self.hop, self.delay, self.least = shape.hop, shape.delay, shape.least
        self._inputs = {one.name.removeprefix(STATE): one for one in session.get_inputs()[1:]}
        self._n_src: int = session.get_outputs()[0].shape[1]

    def init_state(self, batch: int) -> dict[str, Any]:
        """Zeros."""
        return {name: np.zeros((batch, *one.shape[1:]), _TYPES[one.type]) for name, one in self._inputs.items()}

    def step(self, block: Samples, state: dict[str, Any]) -> tuple[Samples, dict[str, Any]]:
        """The next hops, (B, n * hop) -> (B, S, n * hop); and the state after them."""
        parts: list[Samples] = [np.zeros((len(block), self._n_src, 0), np.float32)]
        for start in range(0, block.shape[1], self.hop):
            hop = np.ascontiguousarray(block[:, start : start + self.hop], np.float32)
            given = {f"{STATE}{name}": array for name, array in state.items()}
            estimates, *after = self._session.run(None, {"mixture": hop, **given})
            parts.append(estimates)
            state = dict(zip(self._inputs, after, strict=True))
        return np.concatenate(parts, axis=2), state

    def finish(self, rest: Samples, state: dict[str, Any]) -> Samples:
        """(B, time) -> (B, S, time + delay)."""
        whole = rest.shape[1] // self.hop * self.hop
        first, state = self.step(rest[:, :whole], state)
        last = rest[:, whole:]
        heard = np.concatenate([state["frames.signal"], last], axis=1)
        mirrored = heard[:, -self._window // 2 - 1 : -1][:, ::-1]
        lead = hops_to_first_frame(self._window, self.hop)
        tail = np.concatenate([last, mirrored, np.zeros((len(rest), lead * self.hop), np.float32)], axis=1)
        second, state = self.step(tail[:, : lead * self.hop], state)
        summed, envelope = (state[f"frames.overlap.{name}"] for name in ("signal", "envelope"))
        third = np.where(envelope > _COVERED, summed / np.maximum(envelope, _COVERED), 0.0)
        return np.concatenate([first, second, third], axis=2)[..., : rest.shape[1] + self.delay].astype(np.float32)

    def whole(self, mixture: Samples) -> Samples:
        """A whole signal, (B, time) -> (B, S, time)."""
        padded = np.pad(mixture, [(0, 0), (0, max(0, self.least - mixture.shape[1]))])
        estimates = self.finish(padded, self.init_state(len(mixture)))
        return estimates[..., self.delay : self.delay + mixture.shape[1]]

    def to_arrays(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state itself."""
        return state

    def from_arrays(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The state of these arrays."""
        state = self.init_state(1)
        for name, empty in state.items():
            if arrays[name].shape != empty.shape or arrays[name].dtype != empty.dtype:
                raise KeyError(name)
            state[name] = arrays[name]
        return state
