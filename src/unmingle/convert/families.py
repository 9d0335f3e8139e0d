"""Which module understands which published network: one table, one row per family."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from unmingle.convert import afrcnn, iianet, spmamba, tdanet, tfacm, tfgridnet
from unmingle.errors import CheckpointError
from unmingle.presets import ModelConfig


class Family(Protocol):
    """What a file of this room offers about the published weights of one family."""

    @property
    def families(self) -> tuple[str, ...]:
        """How the kinds of its parity vectors begin."""
        ...

    @staticmethod
    def config_from_published(spec: Mapping[str, Any]) -> ModelConfig:
        """Our configuration from the published one, as a parity vector states it."""
        ...

    @staticmethod
    def recognises(keys: Collection[str], model_name: str | None) -> bool:
        """Whether tensors of these names, said to be of that class, are of this family."""
        ...

    @staticmethod
    def infer_config(
        state: Mapping[str, Tensor],
        *,
        model_name: str | None,
        model_args: Mapping[str, Any],
        overrides: Mapping[str, Any],
    ) -> ModelConfig:
        """Our configuration from the tensors, from what the file says, and from what the caller says."""
        ...

    @staticmethod
    def convert_state(state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        """The tensors under our names; missing and surplus ones are listed in one CheckpointError."""
        ...


class Row(NamedTuple):
    """A family and the largest difference from the published network that its specification allows."""

    module: Family
    tolerance: float


FAMILIES = (
    Row(afrcnn, tolerance=2e-5),
    Row(tdanet, tolerance=2e-5),
    Row(iianet, tolerance=2e-5),
    Row(tfacm, tolerance=1e-5),
    Row(spmamba, tolerance=1e-5),
    Row(tfgridnet, tolerance=1e-5),
)


def row_of_kind(kind: str) -> Row:
    """The row for the family that a parity vector names, such as `tdanet/best`.

    Raises:
        CheckpointError: no row knows it.
    """
    for row in FAMILIES:
        if kind.startswith(row.module.families):
            return row
    known = ", ".join(prefix for row in FAMILIES for prefix in row.module.families)
    raise CheckpointError(f"the kind {kind!r} is not known; known are {known}")


def row_of_keys(keys: Collection[str], model_name: str | None, *, where: str) -> Row:
    """The row for the family that tensors of these names belong to.

    Raises:
        CheckpointError: no row recognises them.
    """
    for row in FAMILIES:
        if row.module.recognises(keys, model_name):
            return row
    said = f", said to be of class {model_name}" if model_name else ""
    sample = ", ".join(sorted(keys)[:4])
    raise CheckpointError(
        f"{where} holds {len(keys)} tensors{said} (such as {sample}) that fit no published network known here; weights "
        "of the A-FRCNN family, of TDANet, IIANet, TFACM, SPMamba or TF-GridNet were wanted"
    )
