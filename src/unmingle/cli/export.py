"""`unmingle export`: a network as an ONNX file, checked against torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import emit, emit_json, example, note

if TYPE_CHECKING:
    from unmingle.export.onnx import Exported

EXAMPLE = example(
    "unmingle export afrcnn-16k -o afrcnn-16k.onnx",
    "unmingle export tfacm-8k -o live.onnx",
    "unmingle export tdanet -o tdanet.onnx --json",
)


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Bundled name, path of a weights file, or preset.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .onnx file to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a network as an ONNX graph from `mixture` (batch, time) to `estimates` (batch, n_src, time).

    Batch and time are dynamic. A network that streams takes one hop at a time, with its state as further inputs and
    outputs; one that watches takes a `video` too. The file is compared with torch and gets its name only when they
    agree. Tracing takes from one to several minutes, by the number of iterations.
    """
    from unmingle.export.onnx import export_onnx, require_target
    from unmingle.inference.handle import load_or_build

    require_target(output, overwrite=overwrite)
    model = load_or_build(name)
    if model.card is None:
        note(f"{name} is a preset without weights: the file gets random ones, which separate nothing.")
    written = export_onnx(model, output, overwrite=overwrite)
    emit_json(written.to_dict()) if as_json else emit(_in_words(written))


def _in_words(written: Exported) -> str:
    agreement = written.agreement
    shapes = ", ".join(f"{batch} x {time}" for batch, time in agreement.shapes)
    first, *state = written.inputs.values()
    ends = (first, next(iter(written.outputs.values())))
    mixture, estimates = (f"({', '.join(map(str, shape))}) float32" for shape in ends)
    return "\n".join(
        [
            f"{written.name}: {written.parameters:,} parameters -> {written.output} ({written.n_bytes / 1e6:.1f} MB)",
            f"  mixture          {mixture} at {written.sample_rate} Hz",
            f"  estimates        {estimates}",
            *([f"  state            {len(state)} tensors in and out, zeros at first"] if state else []),
            f"  operators        ONNX opset {written.opset}",
            f"  max abs error    {agreement.max_abs_error:.2g} against torch, estimates up to {agreement.peak:.2g}",
            f"  compared on      {shapes}",
        ]
    )
