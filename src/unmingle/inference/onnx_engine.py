"""Models that `unmingle export` wrote, run by onnxruntime: no torch is needed.

What a weights file says in its header, an exported graph says in its metadata, so `load_model("model.onnx")` gives the
same handle as a weights file does.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples
from unmingle.checkpoint.card import NEEDED, Card, card_from, require_file
from unmingle.errors import CheckpointError, ConfigError, MissingExtraError
from unmingle.inference.onnx_live import NEXT, STATE, LiveShape, OnnxLive

MIXTURE, ESTIMATES = "mixture", "estimates"
"""The graph's input, (batch, time), and its output, (batch, n_src, time), float32."""

VIDEO = "video"
"""The second input of a network that watches, as its `forward` takes it: mouth crops or their embedding."""

LIVE = "stream"
"""The metadata key that a graph of one hop has: a `LiveShape` in JSON."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_QUIET = 3  # onnxruntime's severity "error"; its warnings are about its own optimisations


class OnnxEngine:
    """An exported graph at work: (batch, time) -> (batch, n_src, time), float32 numpy arrays.

    Attributes:
        path: the `.onnx` file.
        card: what its metadata says about the model.
        device: `cpu` or `cuda`.
        live: carries streams hop by hop, if the graph has a state.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None, device: str = "cpu") -> None:
        """Open a graph.

        Args:
            path: a file that `unmingle export` wrote.
            threads: how many one pass may use; None leaves that to onnxruntime, which takes every core of the machine.
            device: `cpu`, or `cuda` where onnxruntime was built for it.

        Raises:
            MissingFileError: nothing is there.
            CheckpointError: the file is damaged or was not written by `unmingle export`.
            ConfigError: there is no such device.
            MissingExtraError: onnxruntime is not installed.
        """
        self.path, self.device = Path(path), device
        self._session = _open(self.path, threads=threads, device=device)
        self.card = _read_card(self.path, self._session)
        shape = self.card.other.get(LIVE)
        self.live = None if shape is None else OnnxLive(self._session, _read_shape(self.path, shape))

    def with_threads(self, threads: int) -> OnnxEngine:
        """The same graph with another number of threads."""
        return OnnxEngine(self.path, threads=threads, device=self.device)

    def __call__(self, mixture: Samples, video: NDArray[np.float32] | None = None) -> Samples:
        """(batch, time) at the model's rate, and a video if it watches -> (batch, n_src, time), float32."""
        if video is not None:
            return self._session.run([ESTIMATES], {MIXTURE: mixture, VIDEO: video})[0]
        if self.live is not None:
            return self.live.whole(mixture)
        return self._session.run([ESTIMATES], {MIXTURE: np.ascontiguousarray(mixture, np.float32)})[0]


def _open(path: Path, *, threads: int | None, device: str) -> Any:
    require_file(path)
    runtime = _runtime()
    provider = _PROVIDERS.get(device)
    if provider is None or provider not in runtime.get_available_providers():
        raise ConfigError(f"onnxruntime cannot use the device {device!r} here; `cpu` always works")
    options = runtime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads or 0
    try:
        return runtime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # its exceptions have no common root but this one
        raise CheckpointError(
            f"{path} is not a graph that onnxruntime can run ({str(error).splitlines()[0]}); export it again"
        ) from error


def _runtime() -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError("onnxruntime", extra="export", purpose="running an ONNX file") from error


def _read_shape(path: Path, text: str) -> LiveShape:
    try:
        return LiveShape(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} has {text[:60]!r} as {LIVE!r} in its metadata; export it again") from error


def _read_card(path: Path, session: Any) -> Card:
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    names = [one.name for one in (*session.get_inputs(), *session.get_outputs())]
    ends = [name for name in names if not (LIVE in metadata and name.startswith((STATE, NEXT)))]
    missing = [key for key in NEEDED if key not in metadata]
    if missing or ends not in ([MIXTURE, ESTIMATES], [MIXTURE, VIDEO, ESTIMATES]):
        without = f" and without {', '.join(missing)} in its metadata" if missing else ""
        raise CheckpointError(
            f"{path} is an ONNX graph of {', '.join(names)}{without}; wanted was one of {MIXTURE}, {ESTIMATES} that "
            "`unmingle export` wrote"
        )
    return card_from(path, metadata)
