"""Write a network as an ONNX graph: `mixture` (batch, time) -> `estimates` (batch, n_src, time), float32.

    network -> torch.export -> ONNX -> names, metadata -> temporary file -> check against torch -> FILE.onnx

Batch and time are dynamic; a network that streams takes one hop at a time, and its state (`form.py`). The metadata is
that of a weights file, so `unmingle.load_model("FILE.onnx")` knows rate, speakers, configuration and licence
(docs/decisions/0014).
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
from unmingle.export.form import Form, Shape, form_of
from unmingle.inference.handle import Model
from unmingle.metrics.cost import count_parameters
from unmingle.presets import config_to_dict


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
        inputs: name and shape of every input of the graph; a word is a length of any size.
        outputs: likewise.
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
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
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
    form = form_of(model)
    graph = _trace(model, form)
    with whole(output) as draft:
        n_bytes = _write(graph, draft)
        agreement = compare(model.network, draft)
        agreement.require(model.name)
    return Exported(
        name=model.name,
        output=str(output),
        n_bytes=n_bytes,
        sample_rate=model.sample_rate,
        n_src=model.n_src,
        parameters=count_parameters(model.network),
        inputs=form.inputs,
        outputs=form.outputs,
        opset=graph.opset_imports[""],
        random_weights=model.card is None,
        agreement=agreement,
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


def _trace(model: Model, form: Form) -> Any:
    """The network as a graph of onnx_ir, named and described."""
    try:
        with _without_chatter():
            program = torch.onnx.export(
                form.module,
                form.example,
                input_names=list(form.inputs),
                output_names=list(form.outputs),
                dynamic_shapes=form.dynamic,
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
    return _described(program.model, model, form)


def _described(graph: Any, model: Model, form: Form) -> Any:
    import onnx_ir

    ends = zip(
        (*graph.graph.inputs, *graph.graph.outputs), (*form.inputs.values(), *form.outputs.values()), strict=True
    )
    for value, shape in ends:
        value.shape = onnx_ir.Shape(shape)
    for node in graph.graph.all_nodes():
        node.metadata_props.clear()  # stack traces with the paths of this machine, a quarter of a small file
    graph.producer_name, graph.producer_version = "unmingle", __version__
    graph.metadata_props.update(_metadata(model) | form.metadata)
    return graph


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
        "parameters": str(count_parameters(model.network)),
        "unmingle_version": __version__,
        **about_weights,
    }


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
