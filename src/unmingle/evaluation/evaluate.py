"""Score estimates over a manifest, mixture by mixture, so that an interrupted evaluation can go on where it stopped.

manifest -> entries -> estimator -> scores -> FOLDER/scores.csv      (one line per mixture, as it is done)
                                    report  -> FOLDER/report.json, report.md, *.png
FOLDER/protocol.json says, before the first mixture, what is being measured and how; resuming compares it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unmingle._version import __version__
from unmingle.audio.temporary import whole
from unmingle.data.files import fingerprint_of_files
from unmingle.errors import (
    ConfigError,
    ManifestError,
    MissingExtraError,
    OutputError,
    OutputExistsError,
    ShapeError,
    did_you_mean,
)
from unmingle.evaluation.estimators import Estimator
from unmingle.evaluation.scoring import METRICS, best_order, score_sources
from unmingle.evaluation.table import Layout, TableWriter, UtteranceScores, read_table
from unmingle.evaluation.utterance import Utterance, read_utterance
from unmingle.metrics.scores import PESQ_MODES

if TYPE_CHECKING:
    from unmingle.data.manifest import Entry

DEFAULT_METRICS = ("si_snr", "sdr", "pesq", "stoi")
SCORES, PROTOCOL = "scores.csv", "protocol.json"
REPORT, MARKDOWN = "report.json", "report.md"
HISTOGRAM, SCATTER = "improvement.png", "input_output.png"
_BESIDE = (PROTOCOL, REPORT, MARKDOWN, HISTOGRAM, SCATTER)  # the table
PACKAGES = {"sdr": "fast_bss_eval", "sdr_legacy": "fast_bss_eval", "pesq": "pesq", "stoi": "pystoi", "estoi": "pystoi"}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        utterances: one item per mixture, in the order of the manifest.
        protocol: what was measured and how, as in `protocol.json`.
    """

    utterances: list[UtteranceScores]
    protocol: dict[str, Any]


def evaluate(
    entries: Sequence[Entry],
    estimator: Estimator,
    out_dir: str | Path,
    *,
    metrics: Sequence[str] = DEFAULT_METRICS,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score every mixture of a manifest and keep the table in a folder.

    Args:
        entries: what `read_manifest` gives.
        estimator: where the estimates come from.
        out_dir: folder of `scores.csv` and `protocol.json`; made when it is not there.
        metrics: keys of `METRICS`.
        resume: keep the mixtures that are scored already, if they were scored in the same way.
        overwrite: throw away what is there.
        progress: called with (mixtures done, mixtures in all), those that were scored before left out.

    Raises:
        OutputExistsError: scores are there and neither `resume` nor `overwrite` was asked for, or they were made in
            another way.
        OutputError: the folder cannot be written.
        ConfigError: an unknown metric.
        ManifestError: no entries, or two of the same id.
        SampleRateError, ShapeError, MissingFileError, AudioReadError: an entry cannot be scored.
        MissingExtraError: a metric needs a package that is not installed.
    """
    metrics = check_metrics(metrics)
    _check_entries(entries, estimator, metrics)
    out_dir = Path(out_dir)
    layout = Layout(label_names(entries), metrics, max(len(entry.sources) for entry in entries))
    statement = describe_protocol(entries, estimator, metrics)
    _prepare_folder(out_dir, statement, resume=resume, overwrite=overwrite)
    table = out_dir / SCORES
    writer = TableWriter(table, layout)  # which first mends what an interruption left
    try:
        done = {scored.id for scored in read_table(table, layout)}
        _score_all([entry for entry in entries if entry.id not in done], estimator, layout, writer, progress)
    finally:
        writer.close()
    scored = {utterance.id: utterance for utterance in read_table(table, layout)}
    return Evaluation([scored[entry.id] for entry in entries], statement)


def check_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetition, all of them known and computable here.

    Raises:
        ConfigError: none, or an unknown one.
        MissingExtraError: its package is not installed.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in METRICS:
            raise ConfigError(f"there is no metric {name!r}, only {', '.join(METRICS)}{did_you_mean(name, METRICS)}")
        if name in PACKAGES and find_spec(PACKAGES[name]) is None:
            raise MissingExtraError(PACKAGES[name], extra="eval", purpose=f"the metric {name} (si_snr alone does not)")
    if not chosen:
        raise ConfigError(f"no metric was chosen; known are: {', '.join(METRICS)}")
    return chosen


def describe_protocol(entries: Sequence[Entry], estimator: Estimator, metrics: Sequence[str]) -> dict[str, Any]:
    """What is measured and how: everything that must be equal for two tables to be compared line by line."""
    packages = sorted({PACKAGES[metric] for metric in metrics if metric in PACKAGES})
    return {
        "unmingle_version": __version__,
        **estimator.describe(),
        "utterances": "whole, one at a time",
        "n_mixtures": len(entries),
        "mixtures_sha256": _digest(entries),
        "sample_rates": sorted({entry.sample_rate for entry in entries}),
        "improvement": "score of the estimate minus score of the unprocessed mixture, both against the same source",
        "mean": "over the sources of a mixture, then over mixtures; infinite and undefined scores are only counted",
        "metrics": {metric: METRICS[metric].convention for metric in metrics},
        "packages": {name: _installed(name) for name in ["torch", *packages]},
    }


def _digest(entries: Iterable[Entry]) -> str:
    """16 hex digits that tell manifests apart, by what they say and by the files that they name."""
    said = [[entry.id, entry.sample_rate, dict(entry.extra)] for entry in entries]
    files = (path for entry in entries for path in (entry.mixture, *entry.sources, *entry.video))
    content = json.dumps([said, fingerprint_of_files(files)], default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def label_names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Names of the manifest's own keys, in order of appearance."""
    names = dict.fromkeys(name for entry in entries for name in labels_of(entry))
    return tuple(names)


def labels_of(entry: Entry) -> dict[str, str]:
    """What the manifest says about a mixture beyond its files: the extra keys with a plain value."""
    taken = {"id", "seconds", "order"}
    scores = tuple(f"{metric}_" for metric in METRICS)
    return {
        name: str(value)
        for name, value in entry.extra.items()
        if isinstance(value, str | int | float) and name not in taken and not name.startswith(scores)
    }


def score_utterance(
    utterance: Utterance, estimates: torch.Tensor, metrics: Sequence[str], *, in_order: bool = False
) -> UtteranceScores:
    """Score the estimates of one mixture, (n_src, time) in any order, or in that of the sources."""
    if estimates.shape != utterance.sources.shape:
        raise ShapeError(
            f"the estimates of mixture {utterance.id!r} are {tuple(estimates.shape)} but its sources are "
            f"{tuple(utterance.sources.shape)}; both must be (n_src, time)"
        )
    signals = {"estimates": estimates, "sources": utterance.sources}
    mixture, rate = utterance.mixture, utterance.sample_rate
    scores = {
        metric: score_sources(metric, **signals, mixture=mixture, sample_rate=rate, in_order=in_order)
        for metric in metrics
    }
    places = range(len(estimates)) if in_order else best_order(**signals)
    order = tuple(place + 1 for place in places)
    return UtteranceScores(utterance.id, utterance.labels, utterance.seconds, order, scores)


def _score_all(
    entries: Sequence[Entry], estimator: Estimator, layout: Layout, writer: TableWriter, progress: Progress | None
) -> None:
    for count, entry in enumerate(entries):
        if progress is not None:
            progress(count, len(entries))
        utterance = read_utterance(entry, labels_of(entry))
        estimates = estimator(utterance)
        writer.append(score_utterance(utterance, estimates, layout.metrics, in_order=estimator.in_order))
    if progress is not None:
        progress(len(entries), len(entries))


def _check_entries(entries: Sequence[Entry], estimator: Estimator, metrics: Sequence[str]) -> None:
    if not entries:
        raise ManifestError("the manifest has no entries; there is nothing to score")
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ManifestError(f"the manifest has two entries called {entry.id!r}; scores need distinct ids")
        if "pesq" in metrics and entry.sample_rate not in PESQ_MODES:
            raise ConfigError(
                f"PESQ is defined at 8000 and 16000 Hz, but mixture {entry.id!r} is at {entry.sample_rate} Hz; "
                "choose the metrics without pesq"
            )
        seen.add(entry.id)
        estimator.check(entry)


def _prepare_folder(out_dir: Path, wanted: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the folder, refuse scores of another run, and write down the protocol."""
    if out_dir.exists() and not out_dir.is_dir():
        raise OutputError(f"{out_dir} is a file, not a folder; choose another one for the scores")
    table, statement = out_dir / SCORES, out_dir / PROTOCOL
    if overwrite:
        for name in (SCORES, *_BESIDE):
            (out_dir / name).unlink(missing_ok=True)
    if resume and statement.exists():
        _require_same(statement, wanted)
    elif table.exists():
        raise OutputExistsError(f"{table} is already there; use --resume to go on, --overwrite to start again")
    elif not overwrite:
        _refuse_other_files(out_dir)
    with whole(statement, make_folder=True) as draft:
        draft.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _refuse_other_files(out_dir: Path) -> None:
    for path in (out_dir / name for name in _BESIDE):
        if path.exists():
            raise OutputExistsError(
                f"{path} is already there, but no {SCORES} beside it; use --overwrite, or choose another folder"
            )


def _require_same(statement: Path, wanted: dict[str, Any]) -> None:
    try:
        found = json.loads(statement.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    wanted = json.loads(json.dumps(wanted))  # as a statement says it: no tuples
    other = [
        f"{name}: {found.get(name)!r} there, {wanted[name]!r} now" for name in wanted if found.get(name) != wanted[name]
    ]
    if other:
        raise OutputExistsError(
            f"{statement.parent} holds scores of another evaluation ({'; '.join(other)}); "
            "use --overwrite, or another folder"
        )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
