"""Write a network as an ONNX graph: `mixture` (batch, time) -> `estimates` (batch, n_src, time), float32.

    network -> torch.export -> ONNX -> names, metadata -> temporary file -> check against torch -> FILE.onnx

Batch and time are dynamic. The metadata is that of a weights file, so `unmingle.load_model("FILE.onnx")` knows rate,
speakers, configuration and licence (docs/decisions/0014).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from unmingle._version import __version__
from unmingle.audio.temporary import whole
from unmingle.errors import ExportError, MissingExtraError, OutputError, OutputExistsError
from unmingle.export.check import Agreement, compare
from unmingle.inference.handle import Model
from unmingle.inference.onnx_engine import ESTIMATES, MIXTURE
from unmingle.models import AudioVisualModel, SeparationModel, StreamingModel
from unmingle.presets import config_to_dict

_TRACE_BATCH, _TRACE_SECONDS = 2, 0.3871
"""Shape of the mixture that is traced; a prime number of samples more or less, so that nothing divides it by chance."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        name: of the model.
        output: the file.
        n_bytes: its size.
        sample_rate: Hz.
        n_src: speakers.
        parameters: values that training changes.
        opset: version of the ONNX operators.
        random_weights: whether the model is a preset that nobody has trained.
        agreement: how the graph compares with torch.
    """

    name: str
    output: str
    n_bytes: int
    sample_rate: int
    n_src: int
    parameters: int
    opset: int
    random_weights: bool
    agreement: Agreement

    def to_dict(self) -> dict[str, Any]:
        """The fields in order, ready for JSON."""
        return asdict(self)


def export_onnx(model: Model, output: str | Path, *, overwrite: bool = False) -> Exported:
    """Write a model as an ONNX file and check it against torch; the file gets its name only when they agree.

    Args:
        model: with weights, or made from a network.
        output: the `.onnx` file.
        overwrite: replace an existing file.

    Raises:
        ExportError: the network has no such graph, or its graph and torch disagree.
        MissingExtraError: the packages for it are not installed.
        OutputExistsError, OutputError: the file is there already, or cannot be written.
    """
    output = Path(output)
    require_target(output, overwrite=overwrite)
    _require_packages()
    _require_plain(model.name, model.network)
    graph = _trace(model)
    with whole(output) as draft:
        n_bytes = _write(graph, draft)
        agreement = compare(model.network, draft)
        agreement.require(model.name)
    parameters, opset = _count(model.network), graph.opset_imports[""]
    trained = model.card is not None
    return Exported(
        model.name, str(output), n_bytes, model.sample_rate, model.n_src, parameters, opset, not trained, agreement
    )


def require_target(output: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before any work.

    Raises:
        OutputExistsError, OutputError: it is there already, or cannot be written.
    """
    if output.is_dir():
        raise OutputError(f"{output} is a folder; a file name such as {output / 'model.onnx'} was wanted")
    if not output.parent.is_dir():
        raise OutputError(f"there is no folder {output.parent}; make it first")
    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists already; choose another name, or add --overwrite")


def _require_packages() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingExtraError(package, extra="export", purpose="writing ONNX")


def _require_plain(name: str, network: SeparationModel) -> None:
    """Only mixture in, estimates out, for now."""
    if isinstance(network, AudioVisualModel):
        raise ExportError(f"{name} wants a video besides the mixture; only audio models can be exported so far")
    if isinstance(network, StreamingModel) and network.config.causal:
        raise ExportError(
            f"{name} streams, and a graph that takes its state in and gives it out is not there yet; "
            "run it with torch, or export a model that does not stream"
        )


def _trace(model: Model) -> Any:
    """The network as a graph of onnx_ir, named and described."""
    n_samples = round(_TRACE_SECONDS * model.sample_rate) | 1
    mixture = 0.1 * torch.randn(_TRACE_BATCH, n_samples, generator=torch.Generator().manual_seed(0))
    try:
        with _without_chatter():
            program = torch.onnx.export(
                model.network,
                (mixture,),
                input_names=[MIXTURE],
                output_names=[ESTIMATES],
                dynamic_shapes={"mixture": {0: "batch", 1: "time"}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # whatever torch stumbles over, in whichever of its layers
        reason = str(error.__cause__ or error).strip().splitlines()
        raise ExportError(
            f"{model.name} ({model.config.family}) cannot be written as a graph of any length: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error
    assert program is not None  # it is only for the older exporter
    return _described(program.model, model)


def _described(graph: Any, model: Model) -> Any:
    import onnx_ir

    for value, shape in ((graph.graph.inputs[0], ["batch", "time"]), (graph.graph.outputs[0], _output_shape(model))):
        value.shape = onnx_ir.Shape(shape)
    for node in graph.graph.all_nodes():
        node.metadata_props.clear()  # stack traces with the paths of this machine, a quarter of a small file
    graph.producer_name, graph.producer_version = "unmingle", __version__
    graph.metadata_props.update(_metadata(model))
    return graph


def _output_shape(model: Model) -> list[str | int]:
    return ["batch", model.n_src, "time"]


def _metadata(model: Model) -> dict[str, str]:
    """What a weights file has in its header, and rate and speakers in plain sight."""
    card = model.card
    about_weights = {
        "licence": card.licence if card else "",
        "recipe": card.recipe if card else "",
        "training_data": card.training_data if card else "",
        "source": card.source if card else "",
        "scores": json.dumps(dict(card.scores)) if card else "{}",
        "weights": "trained" if card else "random",
    }
    return {
        "name": model.name,
        "family": model.config.family,
        "sample_rate": str(model.sample_rate),
        "n_src": str(model.n_src),
        "config": json.dumps(config_to_dict(model.config)),
        "parameters": str(_count(model.network)),
        "unmingle_version": __version__,
        **about_weights,
    }


def _count(network: SeparationModel) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _write(graph: Any, path: Path) -> int:
    import onnx_ir

    onnx_ir.save(graph, str(path))
    return path.stat().st_size


@contextmanager
def _without_chatter() -> Generator[None]:
    """The exporter mentions packages that nobody needs here, and torch warns of its own use of itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
