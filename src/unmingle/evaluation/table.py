"""The per-utterance table: one CSV line per mixture, written as it is scored, read back to resume and to report.

Columns: `id`, what the manifest says about the mixture (such as `pair`), `seconds`, `order` (which estimate belongs to
source 1, 2, ...), then per metric the score of every source (`si_snr_1`, ...), of the mixture against every source
(`si_snr_mixture_1`, ...), and the mean improvement (`si_snr_improvement`), which is there for the reader of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from unmingle.errors import ManifestError
from unmingle.evaluation.scoring import SourceScores, finite_mean

DECIMALS = 4


@dataclass(frozen=True)
class UtteranceScores:
    """Everything measured on one mixture.

    Attributes:
        id: of the manifest entry.
        labels: what the manifest says about it, such as `{"pair": "MF"}`.
        seconds: its length.
        order: which estimate, counted from 1, belongs to each source.
        scores: by metric.
    """

    id: str
    labels: Mapping[str, str]
    seconds: float
    order: tuple[int, ...]
    scores: Mapping[str, SourceScores]

    def improvement(self, metric: str) -> float:
        """Mean over the sources whose improvement is a finite number; nan when there is none."""
        return finite_mean(self.scores[metric].improvements)


@dataclass(frozen=True)
class Layout:
    """Which columns a table has.

    Attributes:
        labels: names of the manifest's own keys.
        metrics: keys of `METRICS`.
        n_src: most sources that a mixture has; shorter lines leave cells empty.
    """

    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    n_src: int

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        places = range(1, self.n_src + 1)
        scores = [
            [*(f"{metric}_{k}" for k in places), *(f"{metric}_mixture_{k}" for k in places), f"{metric}_improvement"]
            for metric in self.metrics
        ]
        return ["id", *self.labels, "seconds", "order", *(name for group in scores for name in group)]

    def line(self, utterance: UtteranceScores) -> list[str]:
        """The cells of one mixture."""
        cells = [utterance.id, *(utterance.labels.get(label, "") for label in self.labels), _number(utterance.seconds)]
        cells.append(" ".join(str(place) for place in utterance.order))
        for metric in self.metrics:
            scores = utterance.scores[metric]
            cells += [*self._places(scores.estimates), *self._places(scores.mixture)]
            cells.append(_number(utterance.improvement(metric)))
        return cells

    def utterance(self, cells: Mapping[str, str]) -> UtteranceScores:
        """The inverse of `line`."""
        order = tuple(int(place) for place in cells["order"].split())
        scores = {
            metric: SourceScores(
                tuple(float(cells[f"{metric}_{k}"]) for k in range(1, len(order) + 1)),
                tuple(float(cells[f"{metric}_mixture_{k}"]) for k in range(1, len(order) + 1)),
            )
            for metric in self.metrics
        }
        labels = {label: cells[label] for label in self.labels}
        return UtteranceScores(cells["id"], labels, float(cells["seconds"]), order, scores)

    def _places(self, values: Sequence[float]) -> list[str]:
        return [_number(value) for value in values] + [""] * (self.n_src - len(values))


def read_table(path: Path, layout: Layout) -> list[UtteranceScores]:
    """Read the mixtures that are done.

    Raises:
        ManifestError: the columns are others than `layout` has, or a line cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or []) != layout.header:
            raise ManifestError(f"{path} has other columns than this evaluation; use --overwrite or another folder")
        try:
            return [layout.utterance(cells) for cells in reader]
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestError(f"{path} line {reader.line_num} cannot be read: {error}; use --overwrite") from error


class TableWriter:
    """Appends one line per mixture; each is on disk before the next mixture is scored."""

    def __init__(self, path: Path, layout: Layout) -> None:
        """Open a table; a line that an interruption cut short is taken away first."""
        _drop_unfinished_line(path)
        self._layout = layout
        self._file: TextIO = path.open("a", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        if self._file.tell() == 0:
            self._put(layout.header)

    def append(self, utterance: UtteranceScores) -> None:
        """Write one mixture."""
        self._put(self._layout.line(utterance))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, cells: Sequence[str]) -> None:
        self._writer.writerow(cells)
        self._file.flush()


def _drop_unfinished_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        path.write_bytes(whole)


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}f}"
