"""From scores of mixtures to what a paper prints: means by group, as JSON, as a Markdown table, as plots.

Infinite and undefined scores never enter a mean, and never disappear either: each is counted under `left_out`.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unmingle.audio.temporary import whole
from unmingle.evaluation.evaluate import MARKDOWN, REPORT, Evaluation
from unmingle.evaluation.scoring import METRICS, SourceScores, finite_mean

ALL = "all"


@dataclass(frozen=True)
class LeftOut:
    """Sources that are in no mean.

    Attributes:
        perfect: the estimate equals the source (+inf).
        silent: the estimate is silent although the source is not (-inf): a failure that no mean can hold.
        undefined: the source is silent or too short, or the mixture already equals the source.
    """

    perfect: int = 0
    silent: int = 0
    undefined: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.perfect + self.silent + self.undefined


@dataclass(frozen=True)
class Summary:
    """One metric over one group of mixtures; means are over sources, then over mixtures, None when nothing is left.

    Attributes:
        n_mixtures: mixtures in the mean.
        n_sources: sources in the mean.
        estimates: mean score of the estimates.
        mixture: mean score of the unprocessed mixtures.
        improvement: mean of the difference.
        improvement_median: median over mixtures.
        improvement_std: standard deviation over mixtures.
        improvement_ci95: half the width of the 95 % interval of the mean, by the normal approximation.
        left_out: what is not in these numbers.
    """

    n_mixtures: int
    n_sources: int
    estimates: float | None
    mixture: float | None
    improvement: float | None
    improvement_median: float | None
    improvement_std: float | None
    improvement_ci95: float | None
    left_out: LeftOut


@dataclass(frozen=True)
class Report:
    """An evaluation in numbers.

    Attributes:
        protocol: what was measured and how.
        by: the manifest key that groups; empty when no mixture has it.
        groups: per group, `all` first, a summary by metric.
    """

    protocol: dict[str, Any]
    by: str
    groups: dict[str, dict[str, Summary]]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        groups = {
            group: {metric: asdict(summary) for metric, summary in summaries.items()}
            for group, summaries in self.groups.items()
        }
        return {"protocol": self.protocol, "by": self.by, "groups": groups}


def summarise(evaluation: Evaluation, *, by: str = "pair") -> Report:
    """Means over all mixtures and over each group of them.

    Args:
        evaluation: what `evaluate` gives.
        by: manifest key to group by; mixtures without it are only in `all`.
    """
    scored, metrics = evaluation.utterances, tuple(evaluation.protocol["metrics"])
    names = sorted({utterance.labels[by] for utterance in scored if utterance.labels.get(by)})
    members = {ALL: list(scored)}
    for name in names:  # of which one may be called as the whole is
        members[f"{by} {ALL}" if name == ALL else name] = [one for one in scored if one.labels.get(by) == name]
    groups = {
        name: {metric: summarise_metric([one.scores[metric] for one in group]) for metric in metrics}
        for name, group in members.items()
    }
    return Report(evaluation.protocol, by if names else "", groups)


def summarise_metric(scores: Sequence[SourceScores]) -> Summary:
    """Means of one metric over mixtures."""
    kept = [pairs for one in scores if (pairs := _finite_pairs(one))]
    improvements = [finite_mean(after - before for after, before in pairs) for pairs in kept]
    spread = statistics.stdev(improvements) if len(improvements) > 1 else None
    return Summary(
        n_mixtures=len(kept),
        n_sources=sum(len(pairs) for pairs in kept),
        estimates=_mean(finite_mean(after for after, _ in pairs) for pairs in kept),
        mixture=_mean(finite_mean(before for _, before in pairs) for pairs in kept),
        improvement=_mean(improvements),
        improvement_median=statistics.median(improvements) if improvements else None,
        improvement_std=spread,
        improvement_ci95=None if spread is None else 1.96 * spread / math.sqrt(len(improvements)),
        left_out=_left_out(scores),
    )


def markdown(report: Report) -> str:
    """The table and what must be said beside it."""
    lines = [
        "| "
        + " | ".join([report.by or "mixtures", "metric", "n", "mixture", "estimate", "improvement", "± 95 %"])
        + " |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for group, summaries in report.groups.items():
        for metric, one in summaries.items():
            figures = (one.mixture, one.estimates, one.improvement, one.improvement_ci95)
            cells = [group, METRICS[metric].title, str(one.n_mixtures), *(_figure(value) for value in figures)]
            lines.append("| " + " | ".join(cells) + " |")
    said = warnings(report)
    return "\n".join([*lines, *([""] if said else []), *said, *_statement(report.protocol)]) + "\n"


def warnings(report: Report) -> list[str]:
    """One sentence per metric that could not use every source; empty when all is well."""
    found: list[str] = []
    for metric, one in report.groups[ALL].items():
        if one.left_out.total:
            found.append(
                f"{METRICS[metric].title}: {one.left_out.total} of {one.left_out.total + one.n_sources} sources are in "
                f"no mean ({one.left_out.perfect} perfect estimates, {one.left_out.silent} silent estimates, "
                f"{one.left_out.undefined} undefined)."
            )
    return found


def write_report(report: Report, out_dir: str | Path) -> None:
    """Write `report.json` and `report.md`.

    Raises:
        OutputError: they cannot be written.
    """
    folder = Path(out_dir)
    values = json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)
    for name, content in ((REPORT, values + "\n"), (MARKDOWN, markdown(report))):
        with whole(folder / name) as draft:
            draft.write_text(content, encoding="utf-8")


def _statement(protocol: dict[str, Any]) -> list[str]:
    metrics = [f"- {METRICS[name].title}: {convention}." for name, convention in protocol["metrics"].items()]
    packages = ", ".join(f"{name} {number}" for name, number in protocol["packages"].items())
    return [
        "",
        f"Estimates from {protocol['estimates_from']} ({protocol['model']}). Utterances: {protocol['utterances']}; "
        f"{protocol['n_mixtures']} mixtures. Improvement: {protocol['improvement']}. Mean: {protocol['mean']}.",
        "",
        *metrics,
        "",
        f"unmingle {protocol['unmingle_version']}, {packages}.",
    ]


def _finite_pairs(scores: SourceScores) -> list[tuple[float, float]]:
    pairs = zip(scores.estimates, scores.mixture, strict=True)
    return [(after, before) for after, before in pairs if math.isfinite(after) and math.isfinite(before)]


def _left_out(scores: Iterable[SourceScores]) -> LeftOut:
    perfect = silent = undefined = 0
    for one in scores:
        for after, before in zip(one.estimates, one.mixture, strict=True):
            if math.isnan(after) or not math.isfinite(before):
                undefined += 1
            elif math.isinf(after):
                perfect, silent = (perfect + 1, silent) if after > 0 else (perfect, silent + 1)
    return LeftOut(perfect, silent, undefined)


def _mean(values: Iterable[float]) -> float | None:
    mean = finite_mean(values)
    return None if math.isnan(mean) else mean


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
