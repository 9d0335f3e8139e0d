"""Draw the log of a training, or of several that followed one another: SI-SNRi on validation against hours of mixtures.

    python benchmarks/learning_curve.py docs/curves/afrcnn-16k.csv --plot docs/images/afrcnn-16k-curve.png

The log is `log.csv` of a run folder. Several logs in one file have a column `run`, and go on counting hours.
"""

from __future__ import annotations

import argparse
import csv
from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = {
    "mixed_gender_db": ("women and men", "#0072b2"),
    "si_snr_improvement_db": ("all", "#444444"),
    "same_gender_db": ("one gender", "#d55e00"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path, help="CSV of a training")
    parser.add_argument("--plot", type=Path, required=True, help="picture to write")
    options = parser.parse_args()
    with options.log.open(newline="") as file:
        runs = [list(run) for _, run in groupby(csv.DictReader(file), key=lambda line: line.get("run"))]
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for column, (label, colour) in CURVES.items():
        for number, run in enumerate(runs):
            points = [(float(line["audio_hours"]), float(line[column])) for line in run if line[column]]
            axes.plot(*zip(*points, strict=True), color=colour, label=None if number else label)
    for run in runs[1:]:
        axes.axvline(float(run[0]["audio_hours"]), color="#999999", linewidth=1, linestyle=":")
    axes.set_xlabel("hours of mixtures seen (dotted: the next run begins)" if runs[1:] else "hours of mixtures seen")
    axes.set_ylabel("SI-SNRi on validation, dB")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(options.plot, dpi=110)


if __name__ == "__main__":
    main()
