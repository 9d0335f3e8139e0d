"""What carries a stream from hop to hop: a torch network, or an exported graph (`onnx_live.py`). Arrays in and out.

Letters: B items, S sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.errors import ConfigError
from unmingle.inference.handle import Model
from unmingle.inference.running import running

if TYPE_CHECKING:
    from unmingle.models.base import StreamingModel


class Steps(Protocol):
    """Separates hop by hop; see `unmingle.models.base.StreamingModel`. A step never changes the state it is given."""

    @property
    def hop(self) -> int:
        """Samples that `step` takes, or a multiple of them."""
        ...

    @property
    def delay(self) -> int:
        """Samples by which the output of `step` lags behind its input."""
        ...

    @property
    def least(self) -> int:
        """The fewest samples that a whole stream may have."""
        ...

    def init_state(self, batch: int) -> Any:
        """The state before the first sample."""
        ...

    def step(self, block: Samples, state: Any) -> tuple[Samples, Any]:
        """The next hops, (B, n * hop) -> (B, S, n * hop), float32; and the state after them."""
        ...

    def finish(self, rest: Samples, state: Any) -> Samples:
        """The end of a stream: (B, time), any number of samples -> what is owed, (B, S, time + delay)."""
        ...

    def to_arrays(self, state: Any) -> dict[str, Any]:
        """The arrays of a state by name; the same names, whatever carries the stream."""
        ...

    def from_arrays(self, arrays: Mapping[str, Any]) -> Any:
        """The state of these arrays, a batch of 1.

        Raises:
            KeyError, ValueError, RuntimeError: an array is missing or has another type or shape.
        """
        ...


class TorchSteps:
    """A network on its device."""

    def __init__(self, network: StreamingModel, *, device: str) -> None:
        self._network = network
        self._device = device
        self.hop, self.delay, self.least = network.hop, network.delay, network.least

    def init_state(self, batch: int) -> Any:
        """The state before the first sample, a named tuple of tensors."""
        import torch

        with torch.inference_mode():
            return self._network.init_state(batch)

    def step(self, block: Samples, state: Any) -> tuple[Samples, Any]:
        """The next hops, (B, n * hop) -> (B, S, n * hop); and the state after them."""
        with running():
            separated, state = self._network.step(self._tensor(block), state)
            return separated.float().cpu().numpy(), state

    def finish(self, rest: Samples, state: Any) -> Samples:
        """(B, time) -> (B, S, time + delay)."""
        with running():
            return self._network.finish(self._tensor(rest), state).float().cpu().numpy()

    def to_arrays(self, state: Any) -> dict[str, Any]:
        """Every tensor under its dotted name, such as `network.blocks.0.attention.past_keys`."""
        from unmingle.layers.state import named_tensors

        return {name: tensor.cpu().numpy() for name, tensor in named_tensors(state)}

    def from_arrays(self, arrays: Mapping[str, Any]) -> Any:
        """The state of these arrays."""
        import torch

        from unmingle.layers.state import with_tensors

        with torch.inference_mode():
            return with_tensors(
                self._network.init_state(1), {name: torch.from_numpy(array) for name, array in arrays.items()}
            )

    def _tensor(self, samples: Samples) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(samples)).to(self._device)


def steps_of(model: Model) -> Steps:
    """What carries a stream through a model.

    Raises:
        ConfigError: the model does not stream.
    """
    live = getattr(model.engine, "live", None)
    if live is not None:
        return cast(Steps, live)
    if model.engine is None and model.causal:
        from unmingle.models.base import StreamingModel

        if isinstance(model.network, StreamingModel):
            return TorchSteps(model.network, device=model.device)
    raise ConfigError(
        f"{model.name} does not stream: it listens to whole windows before it answers; "
        "take a causal model, or unmingle.separate for what is recorded already"
    )
