"""Parity vectors of layers instead of networks: `mamba_block` and `selective_scan`.

mamba_block       `state/<published name>` of a BMamba, `input`, `output`, and `mixer0_output`, its first forward mixer
                  applied to the input. Metadata: in_channels, n_layer, bidirectional, mamba (JSON).
selective_scan    `<case>/<argument>` for any number of cases, `<case>/output`, `<case>/last_state`. Metadata:
                  delta_softplus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unmingle.errors import CheckpointError, ShapeError
from unmingle.layers.selective_scan import selective_scan
from unmingle.layers.state_space import BMamba

BLOCK_TOLERANCE = 1e-5
SCAN_TOLERANCE = 1e-4  # absolute, and as much again of the size of each number
KINDS = ("mamba_block", "selective_scan")


class Comparison(NamedTuple):
    """What was compared, the difference that is worst for its tolerance, and that tolerance."""

    what: str
    max_abs_error: float
    tolerance: float


def compare(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Comparison:
    """Run the layer of a vector file and give the worst of its comparisons.

    Raises:
        CheckpointError: tensors are missing or surplus, or the metadata do not say what a block is.
        ShapeError: an output of another shape than the stored one.
    """
    found = _compare_block(metadata, tensors) if metadata["kind"] == "mamba_block" else _compare_scan(metadata, tensors)
    return max(found, key=lambda one: _badness(one.max_abs_error / one.tolerance))


def _compare_block(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Iterator[Comparison]:
    absent = [key for key in ("in_channels", "n_layer", "bidirectional", "mamba") if key not in metadata]
    if absent or "input" not in tensors or "output" not in tensors:
        raise CheckpointError(f"this is no mamba_block vector: without {', '.join(absent) or 'input or output'}")
    block = BMamba(
        int(metadata["in_channels"]),
        n_units=int(metadata["n_layer"]),
        bidirectional=_is_true(metadata["bidirectional"]),
        **json.loads(metadata["mamba"]),
    )
    state = {key.removeprefix("state/"): value.float() for key, value in tensors.items() if key.startswith("state/")}
    ours = {key.replace("_blocks.", "_units."): value for key, value in state.items()}
    try:
        block.load_state_dict(ours)
    except RuntimeError as error:
        raise CheckpointError(f"the weights fit no BMamba of these sizes: {error}") from error
    with torch.inference_mode():
        x = tensors["input"].float()
        yield _difference("output", block(x), tensors["output"].float())
        if "mixer0_output" in tensors:
            mixed = block.forward_units[0].mixer(x)  # pyright: ignore[reportCallIssue]
            yield _difference("mixer0_output", mixed, tensors["mixer0_output"].float())


def _compare_scan(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Iterator[Comparison]:
    cases: dict[str, dict[str, Any]] = {}
    for key, value in tensors.items():
        case, _, name = key.rpartition("/")
        cases.setdefault(case, {})[name] = value.float()
    softplus = _is_true(metadata.get("delta_softplus", "true"))
    for case, arguments in cases.items():
        stored = {name: arguments.pop(name) for name in ("output", "last_state") if name in arguments}
        result = selective_scan(**arguments, delta_softplus=softplus)
        for name, expected in stored.items():
            yield _difference(f"{case}/{name}", getattr(result, name), expected, relative=True)


def _difference(what: str, found: Tensor, stored: Tensor, *, relative: bool = False) -> Comparison:
    if found.shape != stored.shape:
        raise ShapeError(f"{what} is {tuple(found.shape)} where {tuple(stored.shape)} is stored")
    error = (found - stored).abs().flatten()
    allowed = SCAN_TOLERANCE * (1 + stored.abs().flatten()) if relative else torch.full_like(error, BLOCK_TOLERANCE)
    worst = int((error / allowed).nan_to_num(nan=float("inf")).argmax())
    return Comparison(what, float(error[worst]), float(allowed[worst]))


def _badness(ratio: float) -> float:
    return ratio if ratio == ratio else float("inf")  # NaN is the worst there is


def _is_true(text: str) -> bool:
    return text.lower() == "true"
