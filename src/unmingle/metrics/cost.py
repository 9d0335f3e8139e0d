"""What a network costs: parameters, multiply-accumulates, real-time factor, memory.

Convention of the counts. A MAC is half of what torch's FLOP counter finds (a multiplication and an addition are two
operations there): convolutions and matrix products, nothing else - no normalisation, activation or interpolation. The
counter does not look into the fused kernels of attention, of recurrent layers and of selective scans either; their MACs
are a separate figure, by our own formulas, so that the first stays comparable with what others count. A scan counts as
9 MACs per step, channel and state, and 2 per step and channel for the way around it and the gate: every operation as
one, which is how Mamba's users count, although 3 multiplications per state would do.

Times and memory are taken in a fresh process per thread count (`unmingle.metrics.probe`), after a warm-up.

A network takes a mixture, unless it says otherwise: `example_inputs(seconds)` gives what it takes instead. A part that
was trained elsewhere and stays as it is (`frozen_front_end()`, such as a lip reader) is counted apart, as tables do.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unmingle.errors import MeasurementError
from unmingle.layers.selective_scan.operator import SCAN
from unmingle.metrics.probe import Observation

Shape = Sequence[int]
WARM_UP_SAMPLES = 2_000


def count_parameters(model: nn.Module) -> int:
    """Numbers that training changes, shared ones once; neither buffers nor a frozen front end count."""
    front_end = frozen_front_end(model)
    inside = sum(parameter.numel() for parameter in front_end.parameters()) if front_end is not None else 0
    return sum(parameter.numel() for parameter in model.parameters()) - inside


def frozen_front_end(model: nn.Module) -> nn.Module | None:
    """The part of a network that was trained elsewhere and stays as it is; None for most."""
    tell = getattr(model, "frozen_front_end", None)
    return None if tell is None else cast("nn.Module | None", tell())


def example_inputs(model: nn.Module, *, seconds: float, sample_rate: int) -> tuple[Tensor, ...]:
    """Noise for one forward pass, batch 1: what the network says that it takes, else a mixture (1, time)."""
    make = getattr(model, "example_inputs", None)
    if make is not None:
        return cast("tuple[Tensor, ...]", make(seconds))
    n_samples = round(seconds * sample_rate)
    return (0.1 * torch.randn(1, n_samples, generator=torch.Generator().manual_seed(0)),)


def count_macs(
    model: nn.Module, seconds: float = 1.0, *, sample_rate: int | None = None, include_fused: bool = False
) -> int:
    """Multiply-accumulates of one forward pass, batch 1, by torch's FLOP counter halved.

    Args:
        model: a network, which takes (1, time) unless it says otherwise.
        seconds: length of the mixture; tables usually mean one second.
        sample_rate: Hz; without it, that of `model.config`.
        include_fused: add the fused attention and recurrent kernels, which torch's counter leaves out.
    """
    counted, fused = _macs(model, seconds=seconds, sample_rate=_sample_rate(model, sample_rate))
    return counted + fused if include_fused else counted


def count_fused_macs(model: nn.Module, seconds: float = 1.0, *, sample_rate: int | None = None) -> int:
    """Multiply-accumulates inside fused attention and recurrent kernels alone; arguments as for `count_macs`."""
    return _macs(model, seconds=seconds, sample_rate=_sample_rate(model, sample_rate))[1]


def observe(
    model: nn.Module, *, seconds: float = 4.0, threads: int = 1, repeats: int = 5, sample_rate: int | None = None
) -> Observation:
    """Time one forward pass and its memory in a fresh process, beside this machine's rate of matrix products.

    Args:
        model: a network; it must be picklable by name, so not one defined in a script.
        seconds: length of the mixture.
        threads: threads that torch may use.
        repeats: timed passes after a warm-up; the median counts. 0: one pass shows time and memory, for long mixtures.
        sample_rate: Hz; without it, that of `model.config`.

    Raises:
        MeasurementError: the process died; its last words are in the message.
    """
    rate = _sample_rate(model, sample_rate)
    inputs = example_inputs(model, seconds=seconds, sample_rate=rate)
    warm_up = example_inputs(model, seconds=min(seconds, WARM_UP_SAMPLES / rate), sample_rate=rate)
    was_training = model.training
    work = pickle.dumps((model.eval(), inputs, warm_up, threads, repeats))
    model.train(was_training)
    command = [sys.executable, "-m", "unmingle.metrics.probe"]
    done = subprocess.run(command, input=work, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing; out of memory?"]
        raise MeasurementError(f"measuring failed with exit code {done.returncode}: {words[0]}")
    return Observation.from_json(done.stdout.decode())


def real_time_factor(
    model: nn.Module, *, seconds: float = 4.0, threads: int = 1, repeats: int = 5, sample_rate: int | None = None
) -> float:
    """Processing time over signal time: below 1 is faster than real time. Arguments as for `observe`."""
    seen = observe(model, seconds=seconds, threads=threads, repeats=repeats, sample_rate=sample_rate)
    return seen.forward_seconds / seconds


def peak_memory(model: nn.Module, *, seconds: float = 4.0, sample_rate: int | None = None) -> int | None:
    """Bytes that one forward pass needs on top of the loaded network, batch 1; None where the system does not tell."""
    return observe(model, seconds=seconds, repeats=1, sample_rate=sample_rate).forward_memory_bytes


@dataclass(frozen=True)
class Profile:
    """Cost of one network on this machine. Dictionaries are by number of threads.

    Attributes:
        parameters: see `count_parameters`.
        macs_per_second: see `count_macs`, for one second of signal; where there is attention along time, each second of
            a longer signal costs more.
        fused_macs_per_second: see `count_fused_macs`, for one second of signal.
        seconds: length of the mixture that was timed.
        real_time_factor: processing time over signal time, median.
        gflops_per_second: achieved rate, both kinds of MACs counted, two operations each.
        matmul_gflops_per_second: this machine's rate of float32 matrix products, measured between the forward passes.
        peak_memory_bytes: what one forward pass of `seconds` needs on top of the loaded network.
        process_memory_bytes: the most the whole process held, Python and torch included.
        front_end: the same figures for a frozen front end, which are in none of those above; None without one.
    """

    parameters: int
    macs_per_second: int
    fused_macs_per_second: int
    seconds: float
    real_time_factor: dict[str, float]
    gflops_per_second: dict[str, float]
    matmul_gflops_per_second: dict[str, float]
    peak_memory_bytes: int | None
    process_memory_bytes: int | None
    front_end: Profile | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields in order, ready for JSON."""
        return asdict(self)


def profile(
    model: nn.Module,
    *,
    seconds: float = 4.0,
    threads: Sequence[int] = (1, 2),
    repeats: int = 5,
    sample_rate: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Everything above at once; arguments as for `observe`, with `threads` one process each.

    `progress` is called with (steps done, steps in all).
    """
    tell = progress or (lambda done, total: None)  # noqa: ARG005
    front_end, n_steps = frozen_front_end(model), 1 + len(threads)
    n_in_all = n_steps if front_end is None else 2 * n_steps
    rate = _sample_rate(model, sample_rate)
    counted, fused = _macs(model, seconds=1.0, sample_rate=rate)
    operations = 2 * sum(_macs(model, seconds=seconds, sample_rate=rate))
    seen: dict[str, Observation] = {}
    for done, n in enumerate(threads, start=1):
        tell(done, n_in_all)
        seen[str(n)] = observe(model, seconds=seconds, threads=n, repeats=repeats, sample_rate=rate)
    tell(n_steps, n_in_all)
    first = next(iter(seen.values()))
    return Profile(
        parameters=count_parameters(model),
        macs_per_second=counted,
        fused_macs_per_second=fused,
        seconds=seconds,
        real_time_factor={n: one.forward_seconds / seconds for n, one in seen.items()},
        gflops_per_second={n: operations / one.forward_seconds / 1e9 for n, one in seen.items()},
        matmul_gflops_per_second={n: one.matmul_flops_per_second / 1e9 for n, one in seen.items()},
        peak_memory_bytes=first.forward_memory_bytes,
        process_memory_bytes=first.process_memory_bytes,
        front_end=None
        if front_end is None
        else profile(
            front_end,
            seconds=seconds,
            threads=threads,
            repeats=repeats,
            sample_rate=rate,
            progress=lambda done, _: tell(n_steps + done, n_in_all),
        ),
    )


def _sample_rate(model: nn.Module, sample_rate: int | None) -> int:
    return sample_rate if sample_rate is not None else int(cast(Any, model).config.sample_rate)


def _macs(model: nn.Module, *, seconds: float, sample_rate: int) -> tuple[int, int]:
    """MACs that torch counts, and MACs inside fused kernels."""
    where = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    inputs = [one.to(where) for one in example_inputs(model, seconds=seconds, sample_rate=sample_rate)]
    was_training = model.training
    counter = FlopCounterMode(display=False, custom_mapping=cast(Any, FUSED))
    with torch.no_grad(), counter:
        model.eval()(*inputs)
    model.train(was_training)
    by_operator = counter.get_flop_counts().get("Global", {})
    fused = sum(flops for operator, flops in by_operator.items() if operator in FUSED)
    return (counter.get_total_flops() - fused) // 2, fused // 2


def _attention_flops(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[-2] * (width + value[-1])


def _self_attention_flops(query: Shape, *_: object, **__: object) -> int:
    """Multi-head attention of a sequence with itself: four projections, scores, weighted sum."""
    batch, time, width = query
    return 2 * batch * time * width * (4 * width + 2 * time)


def _transformer_layer_flops(source: Shape, *others: object, **__: object) -> int:
    batch, time, width = source
    hidden = cast(Shape, others[14])[0]  # first feed-forward weight, (hidden, width)
    return _self_attention_flops(source) + 2 * batch * time * 2 * width * hidden


def _recurrent_flops(source: Shape, input_weight: Shape, state_weight: Shape, *_: object, **__: object) -> int:
    """One direction of one recurrent layer: (time, batch, features) against (gates, features) and (gates, hidden)."""
    time, batch, _features = source
    return 2 * time * batch * input_weight[0] * (input_weight[1] + state_weight[1])


def _scan_flops(source: Shape, _steps: Shape, decays: Shape, *_: object, **__: object) -> int:
    """Selective scan: (batch, time, channels), with (channels, states) decays."""
    batch, time, _channels = source
    return 2 * batch * time * decays[0] * (9 * decays[1] + 2)


_aten = torch.ops.aten
FUSED: Mapping[Any, Callable[..., int]] = {
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    _aten._native_multi_head_attention: _self_attention_flops,
    _aten._transformer_encoder_layer_fwd: _transformer_layer_flops,
    _aten.mkldnn_rnn_layer: _recurrent_flops,
    SCAN: _scan_flops,
}
