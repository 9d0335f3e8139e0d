"""Two pictures of an evaluation: how improvements are spread, and how they depend on the mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unmingle.audio.temporary import whole
from unmingle.errors import MissingExtraError
from unmingle.evaluation.evaluate import HISTOGRAM, SCATTER, Evaluation
from unmingle.evaluation.scoring import METRICS
from unmingle.evaluation.table import UtteranceScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_BINS = 30


def write_plots(evaluation: Evaluation, out_dir: str | Path, *, by: str = "pair") -> list[Path]:
    """Draw the first metric: histogram of improvements, scatter of estimate over mixture, coloured by group.

    Args:
        evaluation: what `evaluate` gives.
        out_dir: folder that is there.
        by: manifest key that colours.

    Returns:
        The files; none when no score is finite.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra="plot", purpose="plotting scores") from error
    metric = next(iter(evaluation.protocol["metrics"]))
    groups = _points(evaluation.utterances, metric, by)
    if not groups:
        return []
    drawn: list[Path] = []
    for name, draw in ((HISTOGRAM, _histogram), (SCATTER, _scatter)):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")  # no pyplot: no window system, no global state
        FigureCanvasAgg(figure)
        draw(figure.add_subplot(), groups, METRICS[metric].title)
        drawn.append(Path(out_dir) / name)
        with whole(drawn[-1]) as draft:
            figure.savefig(draft, format="png", dpi=120)
    return drawn


Points = dict[str, list[tuple[float, float]]]


def _points(scored: Sequence[UtteranceScores], metric: str, by: str) -> Points:
    """Per group, (mixture, estimate) of every source where both are finite."""
    groups: Points = {}
    for utterance in scored:
        one = utterance.scores[metric]
        pairs = [pair for pair in zip(one.mixture, one.estimates, strict=True) if all(map(math.isfinite, pair))]
        if pairs:
            groups.setdefault(utterance.labels.get(by) or "all", []).extend(pairs)
    return dict(sorted(groups.items()))


def _histogram(axes: Axes, groups: Points, title: str) -> None:
    values = [[after - before for before, after in pairs] for pairs in groups.values()]
    labels = [f"{name}: mean {sum(one) / len(one):.2f}, n {len(one)}" for name, one in zip(groups, values, strict=True)]
    cast(Any, axes).hist(values, bins=N_BINS, stacked=True, label=labels)
    axes.set_xlabel(f"improvement of {title}")
    axes.set_ylabel("sources")
    axes.legend()


def _scatter(axes: Axes, groups: Points, title: str) -> None:
    for name, pairs in groups.items():
        before, after = zip(*pairs, strict=True)
        axes.scatter(before, after, s=9, alpha=0.7, label=name)
    low = min(min(pair) for pairs in groups.values() for pair in pairs)
    high = max(max(pair) for pairs in groups.values() for pair in pairs)
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, label="no change")
    axes.set_xlabel(f"{title} of the mixture")
    axes.set_ylabel(f"{title} of the estimate")
    axes.legend()
