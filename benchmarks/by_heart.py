"""Whether a network knows its training recordings by heart: the same mixtures as they are and with their sign turned.

    python benchmarks/by_heart.py afrcnn-16k --seen speech/train.jsonl --unseen speech/valid.jsonl --folder work \
        --set "exclude_corpora=[asterisk-core-sounds]"

Nobody hears the sign of a waveform, and unseen voices are separated as well either way. What a network gains on the
recordings that it was trained on over the same recordings turned upside down is memory. The mixtures are those of
`recipes/data/test-200.yaml`, made of the speech given; they and their scores are kept in `--folder`. What the training
left out, as the bundled recipes do the demo's voices, is left out here by `--set`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from card import RECIPE, measure, table
from torch import Tensor

from unmingle.evaluation.estimators import Estimator, NetworkEstimator
from unmingle.evaluation.report import summarise
from unmingle.inference.handle import load_model
from unmingle.simulation.recipe import load_simulation_recipe

if TYPE_CHECKING:
    from unmingle.data.manifest import Entry
    from unmingle.evaluation.utterance import Utterance
    from unmingle.simulation.recipe import SimulationRecipe


@dataclass(frozen=True)
class Turned:
    """An estimator that is given every mixture upside down; its estimates are turned back."""

    inner: Estimator
    in_order: bool = False

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "sign": "turned"}

    def check(self, entry: Entry) -> None:
        self.inner.check(entry)

    def __call__(self, utterance: Utterance) -> Tensor:
        return -self.inner(replace(utterance, mixture=-utterance.mixture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="bundled name or weights file")
    parser.add_argument("--seen", required=True, help="manifest of the speech it was trained on")
    parser.add_argument("--unseen", required=True, help="manifest of other speech")
    parser.add_argument("--folder", type=Path, required=True, help="where mixtures and scores are kept")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings on top of the recipe")
    options = parser.parse_args()
    model = load_model(options.model)
    plain = NetworkEstimator(model.network, name=model.name)
    rows: list[list[str]] = []
    for name in ("seen", "unseen"):
        recipe = load_simulation_recipe(RECIPE, [f"speech={getattr(options, name)}", *options.set])
        gains = [gain(recipe, estimator, options.folder, name) for estimator in (plain, Turned(plain))]
        rows.append([name, *(f"{value:.2f}" for value in gains)])
    print(table(["voices", "as they are", "turned"], rows))


def gain(recipe: SimulationRecipe, estimator: Estimator, folder: Path, name: str) -> float:
    """Mean SI-SNRi over the mixtures of a recipe, dB."""
    _, evaluation = measure(recipe, estimator, folder, ["si_snr"], name=name)
    return summarise(evaluation).groups["all"]["si_snr"].improvement


if __name__ == "__main__":
    main()
