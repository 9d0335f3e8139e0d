"""What every preset costs, as a Markdown table.

    python benchmarks/models.py                       all presets: counts, speed, memory
    python benchmarks/models.py tdanet afrcnn-16      some presets; "time" is relative to the first
    python benchmarks/models.py --counts              counts only: the same on every machine
    python benchmarks/models.py --counts --write docs/models.md      into the page, between its markers

Speeds belong to the machine they were taken on. What can be carried elsewhere are the ratios within one run: "time",
and "of matmul", the achieved rate over the rate of matrix products measured between the passes. Let nothing else run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unmingle.metrics.cost import Profile, count_fused_macs, count_macs, count_parameters, profile
from unmingle.models import build_model
from unmingle.presets import PRESETS

BEGIN, END = "<!-- costs: made by benchmarks/models.py -->", "<!-- end of costs -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[], help="presets; all of them without a name")
    parser.add_argument("--counts", action="store_true", help="no speed, no memory")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the mixture that is timed")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", type=Path, help="page whose table is replaced")
    options = parser.parse_args()
    names = options.names or list(PRESETS)
    if unknown := [name for name in names if name not in PRESETS]:
        parser.error(f"no preset {', '.join(unknown)}; there are {', '.join(PRESETS)}")
    lines = count_table(names) if options.counts else cost_table(names, options)
    if options.write is None:
        print("\n".join(lines))
    else:
        replace_table(options.write, lines)


def count_table(names: list[str]) -> list[str]:
    lines = ["| preset | Hz | speakers | parameters | MACs, G/s | fused, G/s |", "|---|--:|--:|--:|--:|--:|"]
    for name in names:
        print(name, file=sys.stderr)
        network = build_model(PRESETS[name]).eval()
        macs, fused = count_macs(network) / 1e9, count_fused_macs(network) / 1e9
        lines.append(f"{head(name)} {count_parameters(network):,} | {macs:.2f} | {fused:.2f} |")
    return lines


def cost_table(names: list[str], options: argparse.Namespace) -> list[str]:
    threads = [str(n) for n in options.threads]
    columns = [f"RTF, {n} thr. | of matmul" for n in threads]
    lines = [f"| preset | Hz | speakers | parameters | MACs, G/s | {' | '.join(columns)} | time | memory, MB |"]
    lines.append("|---" + "|--:" * (6 + 2 * len(threads)) + "|")
    first: Profile | None = None
    for name in names:
        print(name, file=sys.stderr)
        network = build_model(PRESETS[name]).eval()
        cost = profile(network, seconds=options.seconds, threads=options.threads, repeats=options.repeats)
        first = first or cost
        lines.append(f"{head(name)} {cost_cells(cost, first, threads)} |")
    return lines


def head(name: str) -> str:
    config = PRESETS[name]
    return f"| `{name}` | {config.sample_rate} | {config.n_src} |"


def cost_cells(cost: Profile, first: Profile, threads: list[str]) -> str:
    speeds = [
        f"{cost.real_time_factor[n]:.3f} | {cost.gflops_per_second[n] / cost.matmul_gflops_per_second[n]:.0%}"
        for n in threads
    ]
    relative = cost.real_time_factor[threads[0]] / first.real_time_factor[threads[0]]
    memory = "-" if cost.peak_memory_bytes is None else f"{cost.peak_memory_bytes / 1e6:.0f}"
    macs = (cost.macs_per_second + cost.fused_macs_per_second) / 1e9
    return f"{cost.parameters:,} | {macs:.2f} | {' | '.join(speeds)} | {relative:.2f} | {memory}"


def replace_table(page: Path, lines: list[str]) -> None:
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or END not in text:
        sys.exit(f"{page} lacks the lines {BEGIN} and {END}")
    page.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


if __name__ == "__main__":
    main()
