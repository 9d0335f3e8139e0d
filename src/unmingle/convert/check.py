"""Parity with the published networks: `python -m unmingle.convert.check FILE...`.

A vector file is a safetensors file with weights under `state/<published name>`, `input`, `output`, and the published
configuration as JSON under the metadata key `spec`, or under `config` beside the family's name as `kind`. A network of
several forms has an `output_<form>` for each, and the largest difference counts. Each is rebuilt from that alone and
run; one line per file says `name  max_abs_error  ok|FAIL`. Reasons for a FAIL without a number go to stderr.
Exit code 0: every file is ok. Vectors of audio-visual networks are described in `unmingle.convert.iianet_vectors`,
those of layers in `unmingle.convert.layer_vectors`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unmingle.errors import CheckpointError, ShapeError, UnmingleError

if TYPE_CHECKING:
    from torch import Tensor

    from unmingle.models.base import SeparationModel

STATE = "state/"


@dataclass(frozen=True)
class Verdict:
    """How one vector file came out.

    Attributes:
        name: the file's name.
        max_abs_error: largest difference from the stored output; nan when there was no comparison.
        tolerance: the largest difference allowed.
        reason: why there was no comparison.
    """

    name: str
    max_abs_error: float = float("nan")
    tolerance: float = 0.0
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the difference is a number within the tolerance."""
        return self.max_abs_error <= self.tolerance

    def __str__(self) -> str:
        """The line that is printed."""
        return f"{self.name}  {self.max_abs_error:.3e}  {'ok' if self.ok else 'FAIL'}"


@dataclass(frozen=True)
class Vector:
    """The contents of a vector file: published configuration, weights, and a run of the published network.

    `outputs` has what each form gave, by its name; the name is empty where there is one form only.
    """

    spec: Mapping[str, Any]
    state: Mapping[str, Tensor]
    input: Tensor
    outputs: Mapping[str, Tensor]


def check_file(path: str | Path) -> Verdict:
    """Rebuild the network of one vector file, run it, and compare; any failure is a verdict, not an exception.

    Args:
        path: the vector file.
    """
    name = Path(path).name or str(path)
    try:
        return _compare_audio_visual(name, path) or _compare_layer(name, path) or _compare(name, read_vector(path))
    except UnmingleError as error:
        return Verdict(name, reason=str(error))
    except Exception as error:  # a vector may ask for anything; the other files still get their line
        return Verdict(name, reason=f"{path}: {type(error).__name__}: {error}")


def read_vector(path: str | Path) -> Vector:
    """Read a vector file.

    Raises:
        MissingFileError: nothing is there.
        CheckpointError: damaged, or not a vector file.
    """
    from unmingle.checkpoint import read_metadata, read_tensors
    from unmingle.convert.containers import strip_prefixes

    spec = _read_spec(path, read_metadata(path))
    tensors = read_tensors(path)
    state = {key.removeprefix(STATE): value for key, value in tensors.items() if key.startswith(STATE)}
    outputs = {key[len("output_") :]: tensors[key].float() for key in tensors if re.match(r"output(_|$)", key)}
    absent = [name for name, there in {"input": "input" in tensors, "output": outputs}.items() if not there]
    if absent or not state:
        raise CheckpointError(
            f"{path} is no parity vector: it holds no {' and no '.join(absent) or STATE + ' tensors'}"
        )
    state = {key: value.float() if value.is_floating_point() else value for key, value in strip_prefixes(state).items()}
    return Vector(spec, state, tensors["input"].float(), outputs)


def run(model: SeparationModel, mixture: Tensor) -> Tensor:
    """Run a network on input of any published rank.

    Args:
        model: the network.
        mixture: (time,), (batch, time) or (batch, 1, time).

    Returns:
        (batch, n_src, time), a batch of one for a mixture of rank 1.

    Raises:
        ShapeError: another rank, or more than one channel.
    """
    import torch

    shape = tuple(mixture.shape)
    if mixture.ndim not in (1, 2, 3) or (mixture.ndim == 3 and shape[1] != 1):
        raise ShapeError(f"input has shape {shape}; (time,), (batch, time) or (batch, 1, time) was wanted")
    with torch.inference_mode():
        return model(mixture.reshape(-1, shape[-1]) if mixture.ndim != 2 else mixture)


def main(arguments: Sequence[str]) -> int:
    """Check every file, print a line for each, and give the exit code: 0 all ok, 1 some FAIL (2, misuse, is raised)."""
    parser = argparse.ArgumentParser(
        prog="python -m unmingle.convert.check", description="Parity with published networks."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a parity vector (.safetensors)")
    verdicts: list[Verdict] = []
    for path in parser.parse_args(arguments).files:
        verdict = check_file(path)
        if verdict.reason:
            sys.stderr.write(f"{verdict.name}: {verdict.reason}\n")
        sys.stdout.write(f"{verdict}\n")
        sys.stdout.flush()
        verdicts.append(verdict)
    return 0 if all(verdict.ok for verdict in verdicts) else 1


def _compare(name: str, vector: Vector) -> Verdict:
    from unmingle.checkpoint import fit
    from unmingle.convert.families import row_of_kind

    row = row_of_kind(str(vector.spec["family"]))
    errors: list[float] = []
    for form, output in vector.outputs.items():
        config = row.module.config_from_published({**vector.spec, "output": form} if form else vector.spec)
        model = fit(config, row.module.convert_state(vector.state, config), where=name)
        estimates = run(model, vector.input)
        if vector.input.ndim == 1 and output.ndim == 2:  # A-FRCNN and TDANet drop the batch axis; SPMamba keeps it
            estimates = estimates[0]
        if estimates.shape != output.shape:
            raise ShapeError(f"the network gives {tuple(estimates.shape)} where {tuple(output.shape)} is stored")
        errors.append(float((estimates - output).abs().max()))
    worst = math.nan if any(map(math.isnan, errors)) else max(errors)
    return Verdict(name, worst, row.tolerance)


def _compare_audio_visual(name: str, path: str | Path) -> Verdict | None:
    """The verdict on a vector of IIANet or its lip reader: its output, or what differs first; None for other files."""
    from unmingle.checkpoint import read_metadata, read_tensors
    from unmingle.convert import iianet_vectors

    config = iianet_vectors.described(read_metadata(path))
    if config is None:
        return None
    compared = iianet_vectors.compare(config, read_tensors(path))
    differing = next((one for one in compared if not one.ok), None)
    shown = differing or compared[0]
    reason = "" if differing is None else f"{differing.what} differs"
    return Verdict(name, shown.max_abs_error, 0.0 if differing else shown.tolerance, reason)


def _compare_layer(name: str, path: str | Path) -> Verdict | None:
    """The verdict on a vector of a layer; None for other files."""
    from unmingle.checkpoint import read_metadata, read_tensors
    from unmingle.convert import layer_vectors

    metadata = read_metadata(path)
    if metadata.get("kind") not in layer_vectors.KINDS:
        return None
    worst = layer_vectors.compare(metadata, read_tensors(path))
    reason = "" if worst.max_abs_error <= worst.tolerance else f"{worst.what} differs"
    return Verdict(name, worst.max_abs_error, worst.tolerance, reason)


def _read_spec(path: str | Path, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    if "spec" not in metadata and {"kind", "config"} <= metadata.keys():
        own = {key: _parsed(path, metadata, key) for key in ("config", "mamba") if key in metadata}
        return {"family": metadata["kind"], **own}
    if "spec" not in metadata:
        raise CheckpointError(
            f"{path} is of kind {_kind(metadata)}, which is not known here; a metadata key `spec` was wanted"
        )
    spec = _parsed(path, metadata, "spec")
    if "family" not in spec:
        raise CheckpointError(f"{path}: the metadata key `spec` names no family")
    return spec


def _parsed(path: str | Path, metadata: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        value: object = json.loads(metadata[key])
    except ValueError as error:
        raise CheckpointError(f"{path}: the metadata key `{key}` is not JSON ({error})") from error
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _kind(metadata: Mapping[str, str]) -> str:
    stated = metadata.get("kind") or re.search(r'"kind": *"([^"]*)"', metadata.get("config", ""))
    return repr(stated if isinstance(stated, str) else stated[1]) if stated else "'' (it does not say)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
