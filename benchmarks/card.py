"""The scores of a model card: clean, in noise, in rooms, by level, and where the model fails.

    python benchmarks/card.py afrcnn-16k --speech speech/test.jsonl --noise noise/test.jsonl --folder work
    python benchmarks/card.py tfacm-8k --speech speech/test.jsonl --noise noise/test.jsonl --folder work \
        --set sample_rate=8000

Each table is of 200 mixtures that `recipes/data/test-200.yaml` (`--recipe`) makes of the speech with one thing changed,
the same voices otherwise; the last two are the first set at other levels. Sets and scores are kept in `--folder`: what
was measured is not measured again, unless the weights are others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from unmingle.cli.console import progress
from unmingle.data.manifest import Entry, read_manifest
from unmingle.data.simulate import simulate
from unmingle.evaluation.estimators import Estimator, NetworkEstimator, PipelineEstimator
from unmingle.evaluation.evaluate import DEFAULT_METRICS, Evaluation, evaluate
from unmingle.evaluation.report import Report, summarise
from unmingle.evaluation.scoring import finite_mean
from unmingle.evaluation.table import UtteranceScores
from unmingle.inference.handle import Model, load_model
from unmingle.inference.report import SeparationOptions
from unmingle.simulation.recipe import SimulationRecipe, load_simulation_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "data" / "test-200.yaml"
CLEAN = "clean"
LOUDER = "one voice up to 15 dB louder"
SETS = {
    CLEAN: [],
    "noise at 0-10 dB": ["noise={noise}"],
    "rooms": ["room_share=1"],
    "rooms and noise at 0-10 dB": ["room_share=1", "noise={noise}"],
    LOUDER: ["level_db=[-15, 15]"],
    "mixtures of -50 dBFS": ["mixture_dbfs=-50"],
    "mixtures of -10 dBFS": ["mixture_dbfs=-10"],
}
BANDS_DB = (0, 3, 6, 9, 12, 15, 30)
WORST = 5


@dataclass(frozen=True)
class Scored:
    """One set of mixtures, scored: the bare network, or what `unmingle separate` makes of it."""

    evaluation: Evaluation
    report: Report
    levels: dict[str, float]  # by mixture, how much louder the loudest voice is than the softest, dB


def main() -> None:
    options = read_options()
    model = load_model(options.model)
    scored = {name: score(name, model, options) for name in SETS}
    pipelines = {
        "unmingle separate": score(CLEAN, model, options, separation=SeparationOptions()),
        "unmingle separate --twice": score(CLEAN, model, options, separation=SeparationOptions(twice=True)),
    }
    if options.json:
        reports = {name: one.report.to_dict()["groups"] for name, one in scored.items()}
        further = {name: one.report.to_dict()["groups"] for name, one in pipelines.items()}
        print(json.dumps({**reports, **further}, indent=2))
        return
    print("\n\n".join([by_pair(scored, pipelines), by_set(scored), by_level(scored), failures(scored[CLEAN])]))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="bundled name or weights file")
    parser.add_argument("--speech", required=True, help="manifest of speech, or folder speaker/*.wav")
    parser.add_argument("--noise", required=True, help="manifest or folder of noise")
    parser.add_argument("--folder", type=Path, required=True, help="where sets and scores are kept")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="what the mixtures are [test-200]")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings on top of the recipe")
    parser.add_argument("--json", action="store_true", help="every summary instead of the tables")
    return parser.parse_args()


def score(
    name: str, model: Model, options: argparse.Namespace, *, separation: SeparationOptions | None = None
) -> Scored:
    """Make the mixtures of a set, or find them, and score them; the full metrics on the clean ones."""
    words = [word.format(noise=options.noise) for word in [*SETS[name], *options.set]]
    recipe = load_simulation_recipe(options.recipe, [f"speech={options.speech}", *words])
    bare = separation is None
    estimator = NetworkEstimator(model.network, name=model.name) if bare else PipelineEstimator(model, separation)
    metrics = DEFAULT_METRICS if name == CLEAN and bare else ["si_snr"]
    entries, evaluation = measure(recipe, estimator, options.folder, metrics, name=name)
    levels = {entry.id: max(entry.extra["level_db"]) - min(entry.extra["level_db"]) for entry in entries}
    return Scored(evaluation, summarise(evaluation), levels)


def measure(
    recipe: SimulationRecipe, estimator: Estimator, folder: Path, metrics: Sequence[str], *, name: str
) -> tuple[list[Entry], Evaluation]:
    """Score an estimator on the mixtures of a recipe; what a folder already holds of both is taken from there."""
    mixtures, who = digest(recipe), digest(sorted(estimator.describe().items()))
    with progress(f"making: {name}", unit="mixtures/s") as advance:
        entries = read_manifest(simulate(recipe, folder / "sets" / mixtures, progress=advance))
    scores = folder / "scores" / f"{who}-{mixtures}"
    with progress(f"scoring: {name}", unit="mixtures/s") as advance:
        return entries, evaluate(entries, estimator, scores, metrics=metrics, resume=True, progress=advance)


def digest(value: object) -> str:
    """A name for a folder."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def by_pair(scored: dict[str, Scored], pipelines: dict[str, Scored]) -> str:
    """All metrics on the clean set, by the genders of the voices."""
    head = ["voices", "mixtures", "SI-SNRi, dB (± 95 %)", "SDRi, dB", "PESQ", "STOI"]
    head += [f"SI-SNRi of `{name}`" for name in pipelines]
    rows = []
    for group, clean in scored[CLEAN].report.groups.items():
        si_snr, sdr, pesq, stoi = (clean[name] for name in DEFAULT_METRICS)
        rows.append(
            [
                group,
                str(si_snr.n_mixtures),
                f"{si_snr.improvement:.2f} ± {si_snr.improvement_ci95:.2f}",
                f"{sdr.improvement:.2f}",
                f"{pesq.mixture:.2f} -> {pesq.estimates:.2f}",
                f"{stoi.mixture:.3f} -> {stoi.estimates:.3f}",
                *(f"{one.report.groups[group]['si_snr'].improvement:.2f}" for one in pipelines.values()),
            ]
        )
    return table(head, rows)


def by_set(scored: dict[str, Scored]) -> str:
    """SI-SNRi on every set."""
    groups = list(scored[CLEAN].report.groups)
    rows = [
        [name, *(f"{one.report.groups[group]['si_snr'].improvement:.2f}" for group in groups)]
        for name, one in scored.items()
    ]
    return table(["SI-SNRi, dB", *groups], rows)


def by_level(scored: dict[str, Scored]) -> str:
    """SI-SNRi of the loudest and the softest voice, by how far apart they are."""
    one = scored[LOUDER]
    rows = []
    for low, high in pairwise(BANDS_DB):
        members = [item for item in one.evaluation.utterances if low <= one.levels[item.id] < high]
        if not members:
            continue
        pairs = [improvements(item) for item in members]
        cells = [finite_mean(values[place] for values in pairs) for place in (0, -1)]
        rows.append([f"{low}-{high} dB", str(len(members)), *(f"{value:.2f}" for value in cells)])
    return table(["voices apart by", "mixtures", "SI-SNRi of the louder, dB", "of the softer"], rows)


def improvements(item: UtteranceScores) -> list[float]:
    """SI-SNRi of each voice of a mixture, the loudest first, that is the one that was best before."""
    scores = item.scores["si_snr"]
    return [gain for _, gain in sorted(zip(scores.mixture, scores.improvements, strict=True), reverse=True)]


def failures(clean: Scored) -> str:
    """The worst of the clean mixtures."""
    items = sorted(clean.evaluation.utterances, key=lambda item: item.improvement("si_snr"))
    lost = sum(item.improvement("si_snr") < 0 for item in items)
    rows = [
        [
            item.id,
            item.labels.get("pair", "-"),
            f"{clean.levels[item.id]:.1f}",
            ", ".join(f"{value:.1f}" for value in improvements(item)),
        ]
        for item in items[:WORST]
    ]
    head = ["clean mixture", "voices", "apart by, dB", "SI-SNRi of each voice, dB, the loudest first"]
    return f"Worse than the mixture itself: {lost} of {len(items)}.\n\n" + table(head, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
