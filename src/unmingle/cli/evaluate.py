"""`unmingle evaluate`: scores of a model, or of estimates on disk, over a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import emit, emit_json, example, interruptible, misuse, progress, warn
from unmingle.errors import MissingExtraError, did_you_mean

if TYPE_CHECKING:
    from unmingle.evaluation.estimators import Estimator
    from unmingle.evaluation.evaluate import Evaluation

EXAMPLE = example(
    "unmingle evaluate afrcnn-16k test/manifest.jsonl -o scores",
    "unmingle evaluate test/manifest.jsonl --estimates separated -o scores --metrics si_snr,sdr",
)


def evaluate(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="[MODEL] MANIFEST", help="Model name or weights file [default model], and mixtures."),
    ],
    *,
    out_dir: Annotated[Path, typer.Option("--output-dir", "-o", help="Folder for table, report and plots.")],
    metrics: Annotated[
        str, typer.Option("--metrics", help="Of si_snr, sdr, pesq, stoi, estoi, sdr_legacy.")
    ] = "si_snr,sdr,pesq,stoi",
    estimates: Annotated[
        Path | None, typer.Option("--estimates", help="Score the files in this folder instead of a model.")
    ] = None,
    pipeline: Annotated[
        bool, typer.Option("--pipeline", help="Score what `unmingle separate` gives, not the bare network.")
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Manifest key to group by.")] = "pair",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first mixtures.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where the network runs: cpu, cuda, cuda:1 ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Keep the mixtures that are scored already.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Throw away scores that are already there.")] = False,
    plot: Annotated[
        bool, typer.Option("--plot/--no-plot", help="Draw histogram and scatter (needs matplotlib).")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Score a model or separated files over a manifest.

    Each mixture is separated whole, by one pass of the network, and scored in the best order of its estimates. The
    folder gets scores.csv (one line per mixture), report.json, report.md, protocol.json and two plots. An interrupted
    evaluation goes on with --resume.
    """
    from unmingle.data.manifest import read_manifest
    from unmingle.evaluation.evaluate import check_metrics, labels_of
    from unmingle.evaluation.evaluate import evaluate as score
    from unmingle.evaluation.report import markdown, summarise, warnings, write_report

    model, manifest = _model_and_manifest(arguments, estimates)
    if estimates is not None and pipeline:
        raise typer.BadParameter("--pipeline is for a model; files on disk are scored as they are")
    chosen = [name.strip() for name in metrics.split(",") if name.strip()]
    with misuse():
        check_metrics(chosen)
    entries = read_manifest(manifest)[:limit]
    if by != "pair":
        known = {name for entry in entries for name in labels_of(entry)}
        if by not in known:
            said = f"no mixture of {manifest} has {by!r} to group by{did_you_mean(by, sorted(known))}"
            raise typer.BadParameter(said, param_hint="--by")
    estimator = _estimator(model, estimates, pipeline=pipeline, device=device)
    advice = f"the same command with --resume goes on; what is scored lies in {out_dir}"
    with interruptible(advice), progress("Scoring", unit="mixtures/s") as advance:
        evaluation = score(
            entries, estimator, out_dir, metrics=chosen, resume=resume, overwrite=overwrite, progress=advance
        )
    report = summarise(evaluation, by=by)
    write_report(report, out_dir)
    emit_json(report.to_dict()) if as_json else emit(markdown(report))
    for sentence in warnings(report):
        warn(sentence)
    if plot:
        _draw(evaluation, out_dir, by=by)


def _model_and_manifest(arguments: list[str], estimates: Path | None) -> tuple[str | None, str]:
    if len(arguments) == 1:
        return None, arguments[0]
    if len(arguments) == 2 and estimates is None:
        return arguments[0], arguments[1]
    wanted = "MANIFEST alone with --estimates" if estimates else "MODEL MANIFEST, or MANIFEST for the default model"
    raise typer.BadParameter(f"got {' '.join(arguments)}; wanted {wanted}")


def _estimator(model: str | None, estimates: Path | None, *, pipeline: bool, device: str) -> Estimator:
    from unmingle.evaluation.estimators import FaceEstimator, FileEstimator, NetworkEstimator, PipelineEstimator
    from unmingle.inference.handle import load_model
    from unmingle.models.base import AudioVisualModel

    if estimates is not None:
        return FileEstimator(estimates)
    handle = load_model(model, device=device)
    if pipeline:
        return PipelineEstimator(handle)
    network = handle.network
    seeing = isinstance(network, AudioVisualModel)
    return FaceEstimator(network, name=handle.name) if seeing else NetworkEstimator(network, name=handle.name)


def _draw(evaluation: Evaluation, out_dir: Path, *, by: str) -> None:
    from unmingle.evaluation.plots import write_plots

    try:
        write_plots(evaluation, out_dir, by=by)
    except MissingExtraError as error:
        warn(f"no plots: {error}")
