"""`unmingle profile`: what a network costs on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from unmingle.cli.console import emit, emit_json, example, progress

if TYPE_CHECKING:
    from unmingle.inference.handle import Model
    from unmingle.metrics.cost import Profile

EXAMPLE = example("unmingle profile tdanet", "unmingle profile afrcnn-16 --json --seconds 4 --threads 1,2")


def profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Preset, bundled name, or path of a weights file.")],
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Length of the mixture that is timed.")] = 4.0,
    threads: Annotated[str, typer.Option("--threads", help="Numbers of threads to time with.")] = "1,2",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed passes; the median counts.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the size, speed and memory of a network.

    Counts parameters and multiply-accumulates for one second of signal; attention along time costs more per second in a
    longer one. A preset is timed with random weights: they cost the same. Times are medians after a warm-up, in a fresh
    process per number of threads, beside the rate of matrix products that this machine reached in between.
    """
    from unmingle.inference.handle import load_or_build
    from unmingle.metrics import cost

    counts = _thread_counts(threads)
    model = load_or_build(name)
    with progress(model.name, unit="steps/s") as report:
        measured = cost.profile(model.network, seconds=seconds, threads=counts, repeats=repeats, progress=report)
    described = {
        "name": model.name,
        "sample_rate": model.sample_rate,
        "n_src": model.n_src,
        "causal": model.causal,
        "latency_seconds": model.latency_seconds,
        **measured.to_dict(),
    }
    emit_json(described) if as_json else emit(_in_words(model, measured))


def _thread_counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise typer.BadParameter(f"got {text!r}; wanted numbers of threads such as 1,2", param_hint="--threads")
    return list(dict.fromkeys(counts))


def _in_words(model: Model, cost: Profile) -> str:
    fused = f" (and {cost.fused_macs_per_second / 1e9:.2f} G in fused kernels)" if cost.fused_macs_per_second else ""
    delay = model.latency_seconds
    latency = "a whole window: it does not stream" if delay is None else f"{1e3 * delay:.0f} ms"
    lines = [
        f"name             {model.name}",
        f"parameters       {cost.parameters:,}",
        f"MACs per second  {cost.macs_per_second / 1e9:.2f} G{fused}",
        f"latency          {latency}",
        f"memory           {_megabytes(cost.peak_memory_bytes)} for {cost.seconds:g} s, on top of the loaded network",
        f"                 {_megabytes(cost.process_memory_bytes)} for the whole process",
    ]
    for n, factor in cost.real_time_factor.items():
        achieved, limit = cost.gflops_per_second[n], cost.matmul_gflops_per_second[n]
        lines.append(
            f"{n + ' thread' + ('s' if n != '1' else ''):<17}real-time factor {factor:.3f}; {achieved:.1f} GFLOP/s, "
            f"{achieved / limit:.0%} of this machine's matrix products ({limit:.1f})"
        )
    if cost.front_end is not None:
        factor = next(iter(cost.front_end.real_time_factor.values()))
        lines.append(
            f"front end        {cost.front_end.parameters:,} parameters, {cost.front_end.macs_per_second / 1e9:.2f} G "
            f"MACs per second, real-time factor {factor:.3f}; counted apart"
        )
    return "\n".join(lines)


def _megabytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.0f} MB"
