"""`unmingle import`: a published checkpoint becomes one of our weights files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from unmingle.cli.console import emit, emit_json, example
from unmingle.errors import OutputExistsError

EXAMPLE = example(
    "unmingle import best_model.pth -o tdanet-lrs2.safetensors",
    "unmingle import best.pt -o afrcnn.safetensors --n-iterations 16",
    "unmingle import best_model.pth sample_rate=8000 hop=64 stride=1 -o spmamba.safetensors",
)


class Storage(StrEnum):
    """How the weights are stored."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


def import_command(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="State dict, trainer, look2hear, Lightning or safetensors file."),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Of the network, where the file does not tell, such as hop=128."),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors file to write.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; the output's name unless given.")] = None,
    form: Annotated[str | None, typer.Option(help="Which variant, where tensors and file do not tell.")] = None,
    n_iterations: Annotated[
        int | None, typer.Option(help="How often the block is repeated; tensors never tell.")
    ] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Hz, where the file does not tell.")] = None,
    lip_reading: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For IIANet: the lip-reading file it was trained with.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Terms of the weights, kept in the file.")] = "",
    training_data: Annotated[str, typer.Option(help="What they were trained on, kept in the file.")] = "",
    source: Annotated[
        str | None, typer.Option(help="Where they come from; the checkpoint's name unless given.")
    ] = None,
    dtype: Annotated[Storage, typer.Option(help="How to store the weights.")] = Storage.float32,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was inferred as JSON.")] = False,
) -> None:
    """Turn a published checkpoint into a weights file.

    Sizes are inferred, the rest is taken from the file or from a conf.yml beside it. No code in the file is run.
    """
    from unmingle.checkpoint import save_checkpoint
    from unmingle.config import override
    from unmingle.convert import read_import
    from unmingle.metrics.cost import count_parameters

    if output.exists() and not overwrite:
        raise OutputExistsError(f"{output} exists already; choose another name, or add --overwrite")
    given = {"form": form, "n_iterations": n_iterations, "sample_rate": sample_rate}
    given = {key: value for key, value in given.items() if value is not None}
    overrides = override(given, settings or [], such_as="stride=1")
    found = read_import(checkpoint, overrides=overrides, lip_reading=lip_reading)
    metadata = {"licence": licence, "training_data": training_data, "source": source or checkpoint.name}
    save_checkpoint(output, found.model, name=name or output.stem, metadata=metadata, dtype=dtype.value)
    report = {
        "name": name or output.stem,
        "output": str(output),
        "container": found.container,
        "published_class": found.model_name,
        "n_tensors": found.n_tensors,
        "family": found.model.config.family,
        "config": _config(found.model.config),
        "parameters": count_parameters(found.model),
        "dtype": dtype.value,
    }
    emit_json(report) if json else emit(_told(report))


def _config(config: Any) -> dict[str, Any]:
    from unmingle.presets import config_to_dict

    return dict(config_to_dict(config))


def _told(report: dict[str, Any]) -> str:
    published = report["published_class"] or "not named in the file"
    size = f"{report['parameters']:,} parameters"
    lines = [
        f"{report['name']}: {report['family']}, {size} -> {report['output']} ({report['dtype']})",
        f"  container        {report['container']}, {report['n_tensors']} tensors",
        f"  published class  {published}",
        *(f"  {key:<16} {value}" for key, value in report["config"].items()),
    ]
    return "\n".join(lines)
