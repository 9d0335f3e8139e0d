"""Where the decibels stay that a model does not win: tracks that swap, or voices that it does not know how to part.

    python benchmarks/limits.py afrcnn-16k --speech speech/test.jsonl --folder work

Every mixture of `recipes/data/test-200.yaml` is separated as it is, and then as if an oracle had put the voices in
order anew every half second; the difference is what swaps cost. Rows are by the corpora that the voices are from: the
`subset` of the speech manifest, or its `corpus`. Mixtures and scores are kept in `--folder`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from card import RECIPE, measure, table
from torch import Tensor

from unmingle.data.speech import read_rows
from unmingle.evaluation.estimators import Estimator, NetworkEstimator
from unmingle.evaluation.report import summarise
from unmingle.inference.handle import load_model
from unmingle.metrics.permutation import best_permutation, pairwise, permute
from unmingle.simulation.recipe import load_simulation_recipe

if TYPE_CHECKING:
    from unmingle.data.manifest import Entry
    from unmingle.evaluation.evaluate import Evaluation
    from unmingle.evaluation.report import Summary
    from unmingle.evaluation.utterance import Utterance

SECONDS = 0.5  # for which the oracle keeps an order


@dataclass(frozen=True)
class PutInOrder:
    """An estimator whose estimates an oracle orders anew in every piece of the mixture."""

    inner: Estimator
    in_order: bool = False

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "order": f"by an oracle, every {SECONDS} s"}

    def check(self, entry: Entry) -> None:
        self.inner.check(entry)

    def __call__(self, utterance: Utterance) -> Tensor:
        samples = round(SECONDS * utterance.sample_rate)
        pieces = zip(self.inner(utterance).split(samples, -1), utterance.sources.split(samples, -1), strict=True)
        return torch.cat([ordered(*piece) for piece in pieces], dim=-1)


def ordered(estimates: Tensor, sources: Tensor) -> Tensor:
    """Estimates in the order of the sources, both (n_src, time)."""
    batch, true = estimates.unsqueeze(0), sources.unsqueeze(0)
    return permute(batch, best_permutation(pairwise(minus_error, estimates=batch, sources=true)))[0]


def minus_error(*, estimate: Tensor, reference: Tensor) -> Tensor:
    """What the oracle wants least of; unlike SNR it has an answer where a voice is silent."""
    return -(estimate - reference).square().sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="bundled name or weights file")
    parser.add_argument("--speech", required=True, type=Path, help="manifest of speech")
    parser.add_argument("--folder", type=Path, required=True, help="where mixtures and scores are kept")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="what the mixtures are [test-200]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings on top of the recipe")
    options = parser.parse_args()
    model = load_model(options.model)
    recipe = load_simulation_recipe(options.recipe, [f"speech={options.speech}", *options.set])
    plain = NetworkEstimator(model.network, name=model.name)
    origins = {row["speaker"]: row.get("subset") or row.get("corpus", "-") for row in read_rows(options.speech)}
    gains: list[dict[str, Summary]] = []
    for estimator, name in ((plain, "as it is"), (PutInOrder(plain), "in order")):
        entries, evaluation = measure(recipe, estimator, options.folder, ["si_snr"], name=name)
        gains.append(by_origin(evaluation, entries, origins))
    rows = [
        [origin, str(one.n_mixtures), f"{one.improvement:.2f}", f"{gains[1][origin].improvement:.2f}"]
        for origin, one in gains[0].items()
    ]
    print(table(["voices", "mixtures", "SI-SNRi, dB", "in order every half second"], rows))


def by_origin(evaluation: Evaluation, entries: Sequence[Entry], origins: Mapping[str, str]) -> dict[str, Summary]:
    """SI-SNR over all mixtures, and over those of each set of origins."""
    of = {entry.id: " and ".join(sorted({origins[speaker] for speaker in entry.speakers})) for entry in entries}
    labelled = [replace(one, labels={"origin": of[one.id]}) for one in evaluation.utterances]
    groups = summarise(replace(evaluation, utterances=labelled), by="origin").groups
    return {origin: metrics["si_snr"] for origin, metrics in groups.items()}


if __name__ == "__main__":
    main()
