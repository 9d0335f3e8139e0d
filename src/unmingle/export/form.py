"""What a model's graph takes and gives: names, shapes, and the module and the example that are traced."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unmingle.export.live import LiveNetwork, has_bounded_state
from unmingle.inference.handle import Model
from unmingle.inference.onnx_engine import ESTIMATES, LIVE, MIXTURE, VIDEO
from unmingle.inference.onnx_live import NEXT, STATE, LiveShape
from unmingle.models.base import FrameStreamingModel
from unmingle.models.iianet import IIANet
from unmingle.presets import IIANetConfig

Shape = list[str | int]
_TRACE_BATCH, _TRACE_SECONDS = 2, 0.3871
"""Shape of the mixture that is traced; a prime number of samples more or less, so that nothing divides it by chance."""


@dataclass(frozen=True)
class Form:
    """How a model is written.

    Attributes:
        module: what is traced.
        example: its arguments.
        dynamic: which axes of them may have any length, by the names of the arguments, as torch wants it.
        inputs: name and shape of each input of the graph, in order; a word is a length of its own.
        outputs: likewise.
        metadata: for the file.
    """

    module: nn.Module
    example: tuple[Any, ...]
    dynamic: dict[str, Any]
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    metadata: dict[str, str] = field(default_factory=dict[str, str])


def form_of(model: Model) -> Form:
    """The form of a model's graph: of whole mixtures, with a video if it watches; of one hop if it streams.

    A network that streams with a memory that grows is written for whole mixtures.

    Raises:
        ExportError: no graph can hold the state of its streams.
        ConfigError: it is causal, but its frames overlap by less than half.
    """
    network = model.network
    if isinstance(network, IIANet):
        return _of_a_video(network)
    if isinstance(network, FrameStreamingModel) and has_bounded_state(network):
        return _of_a_hop(LiveNetwork(network, name=model.name))
    return Form(
        network,
        (_noise(_n_samples(model.sample_rate)),),
        {"mixture": {0: "batch", 1: "time"}},
        {MIXTURE: ["batch", "time"]},
        {ESTIMATES: ["batch", model.n_src, "time"]},
    )


class _Watching(nn.Module):
    """An audio-visual network without its questions about shapes: (B, time) and a video -> (B, n_src, time)."""

    def __init__(self, network: IIANet) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor, video: Tensor) -> Tensor:
        """Separate."""
        lips = self.network.lips
        return self.network.separate(mixture, video if lips is None else lips.embed(video))


def _of_a_video(network: IIANet) -> Form:
    config = network.config
    n_samples, lips = _n_samples(config.sample_rate), config.lips
    pictures: Shape = ["frames", lips.crop, lips.crop] if lips else [config.visual_channels, "frames"]
    return Form(
        _Watching(network),
        (_noise(n_samples), example_video(config, batch=_TRACE_BATCH, n_samples=n_samples)),
        {"mixture": {0: "batch", 1: "time"}, "video": {0: "batch", 1 + pictures.index("frames"): "frames"}},
        {MIXTURE: ["batch", "time"], VIDEO: ["batch", *pictures]},
        {ESTIMATES: ["batch", config.n_src, "time"]},
    )


def example_video(config: IIANetConfig, *, batch: int, n_samples: int) -> Tensor:
    """Noise in place of a video: mouth crops (batch, frames, height, width), or the embedding if that is wanted."""
    frames, lips = config.n_frames(n_samples), config.lips
    shape = (frames, lips.crop, lips.crop) if lips else (config.visual_channels, frames)
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))


def _of_a_hop(live: LiveNetwork) -> Form:
    network = live.network
    state = live.tensors(_TRACE_BATCH)
    shapes: dict[str, Shape] = {name: ["batch", *tensor.shape[1:]] for name, tensor in state.items()}
    frames = network.live
    about = LiveShape(hop=frames.hop, window=frames.window, delay=frames.delay, least=frames.least)
    return Form(
        live,
        (_noise(frames.hop), list(state.values())),
        {"mixture": {0: "batch"}, "state": [{0: "batch"} for _ in state]},
        {MIXTURE: ["batch", frames.hop]} | {STATE + name: shape for name, shape in shapes.items()},
        {ESTIMATES: ["batch", network.config.n_src, frames.hop]}
        | {NEXT + name: shape for name, shape in shapes.items()},
        {LIVE: json.dumps(about.to_dict())},
    )


def _n_samples(sample_rate: int) -> int:
    return round(_TRACE_SECONDS * sample_rate) | 1


def _noise(n_samples: int) -> Tensor:
    return 0.1 * torch.randn(_TRACE_BATCH, n_samples, generator=torch.Generator().manual_seed(0))
