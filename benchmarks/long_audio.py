"""Time and memory of SPMamba and TF-GridNet by the length of the audio, as in the timing figure of SPMamba's paper.

    python benchmarks/long_audio.py                                    1, 4, 16 and 60 s, one thread; minutes to an hour
    python benchmarks/long_audio.py --seconds 1 2 --models spmamba-small tfgridnet-small --plot long.png --json

Every point is a process of its own. `paths` is the same network without its attention across frames, which is the one
part whose work grows with the square of the length: what is left, scans or LSTMs, has to grow in a straight line.
`growth` is the exponent p of length^p between the two longest. The plot needs matplotlib.
"""

import argparse
import json
import sys
from math import log
from pathlib import Path
from typing import Any

from torch import nn

from unmingle.metrics.cost import observe
from unmingle.models import build_model
from unmingle.presets import find_preset

SECONDS = (1.0, 4.0, 16.0, 60.0)
MODELS = ("spmamba-8k", "tfgridnet")


def without_attention(model: nn.Module) -> nn.Module:
    """The same network whose blocks only have their two paths."""
    for block in model.blocks:
        block.attention = nn.Identity()
    return model


def measure(name: str, part: str, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """One point: a forward pass of one mixture."""
    model = build_model(find_preset(name)).eval()
    if part == "paths":
        without_attention(model)
    seen = observe(model, seconds=seconds, threads=options.threads, repeats=options.repeats)
    megabytes = None if seen.forward_memory_bytes is None else seen.forward_memory_bytes / 1e6
    point = {"model": name, "part": part, "audio_seconds": seconds, "seconds": seen.forward_seconds}
    point |= {"megabytes": megabytes, "matmul_gflops": seen.matmul_flops_per_second / 1e9}
    print(f"{name:>16} {part:>7} {seconds:6.1f} s: {seen.forward_seconds:8.2f} s, {megabytes} MB", file=sys.stderr)
    return point


def growth(points: list[dict[str, Any]], value: str) -> float | None:
    """The exponent between the two longest, or None where nothing was measured."""
    (short, long) = sorted(points, key=lambda point: point["audio_seconds"])[-2:]
    if not (short[value] and long[value]):
        return None
    return log(long[value] / short[value]) / log(long["audio_seconds"] / short["audio_seconds"])


def table(points: list[dict[str, Any]]) -> str:
    """Markdown, a row per network and part, with a column for each length."""
    lengths = sorted({point["audio_seconds"] for point in points})
    head = " | ".join(f"{length:g} s" for length in lengths)
    lines = [f"| network | part | {head} | growth of time, memory |", "|---|---|" + "--:|" * (len(lengths) + 1)]
    for name, part in dict.fromkeys((point["model"], point["part"]) for point in points):
        row = [point for point in points if (point["model"], point["part"]) == (name, part)]
        cells = [f"{p['seconds']:.2f} s, {p['megabytes'] or float('nan'):.0f} MB" for p in row]
        grown = [growth(row, value) for value in ("seconds", "megabytes")] if len(row) > 1 else [None, None]
        grown_cell = ", ".join("?" if one is None else f"{one:.2f}" for one in grown)
        lines.append(f"| {name} | {part} | {' | '.join(cells)} | {grown_cell} |")
    return "\n".join(lines)


def plot(points: list[dict[str, Any]], path: Path) -> None:
    """Time on the left, memory on the right, both against the length; dashed without attention."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, value, label in zip(axes, ("seconds", "megabytes"), ("time, s", "memory, MB"), strict=True):
        colours: dict[str, Any] = {}
        for name, part in dict.fromkeys((point["model"], point["part"]) for point in points):
            row = [point for point in points if (point["model"], point["part"]) == (name, part)]
            (line,) = axis.plot(
                [point["audio_seconds"] for point in row],
                [point[value] for point in row],
                marker="o",
                linestyle="-" if part == "whole" else "--",
                color=colours.get(name),
                label=name if part == "whole" else f"{name}, paths alone",
            )
            colours[name] = line.get_color()
        axis.set(xlabel="length of the audio, s", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=SECONDS)
    parser.add_argument("--models", nargs="+", default=MODELS, help="presets of these two families")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=0, help="timed passes after the one that shows memory")
    parser.add_argument("--plot", type=Path, help="write the figure here")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    points = [
        measure(name, part, seconds, options)
        for name in options.models
        for part in ("whole", "paths")
        for seconds in options.seconds
    ]
    if options.plot:
        plot(points, options.plot)
    print(json.dumps(points, indent=2) if options.json else table(points))


if __name__ == "__main__":
    main()
