"""Matrices in eight bits: whole numbers from -127 to 127, and for each row the number that they are multiples of.

A row is everything of one index of the first dimension: of a convolution, what one of its outputs reads. In a file the
multiples are an int8 tensor under the name of the matrix, and the steps, (rows,) in float32, are beside it under that
name and `STEPS`. Tensors with short rows, biases and gains among them, are worth no steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unmingle.errors import CheckpointError

STEPS = ".int8_steps"
LARGEST = 127
SHORT = 32  # values in a row; below that the steps would outweigh what is saved


def has_long_rows(value: Tensor) -> bool:
    """Whether a tensor of floating-point numbers is stored in eight bits at all."""
    return value.dim() > 1 and value[0].numel() >= SHORT


def rounded(value: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, ...) of finite numbers -> its multiples, int8 of the same shape, and the steps, (rows,).

    No number moves by more than half a step, which is 1/254 of the largest in its row.
    """
    rows = value.float().flatten(1)
    steps = rows.abs().amax(1) / LARGEST
    multiples = (rows / steps.clamp(min=torch.finfo(torch.float32).tiny).unsqueeze(1)).round()
    return multiples.to(torch.int8).view(value.shape), steps


def spelt_out(tensors: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """The tensors of a file with every matrix as float32 and without steps; others as they are.

    Raises:
        CheckpointError: steps without their multiples, or not one for each row.
    """
    whole = {key: value for key, value in tensors.items() if not key.endswith(STEPS)}
    for name in tensors.keys() - whole.keys():
        key, steps = name.removesuffix(STEPS), tensors[name]
        multiples = whole.get(key)
        if multiples is None or multiples.dtype != torch.int8 or steps.shape != multiples.shape[:1]:
            raise CheckpointError(
                f"{where} has {name} but not the int8 matrix {key} with as many rows; copy or fetch the file again"
            )
        whole[key] = (multiples.flatten(1).float() * steps.unsqueeze(1)).view(multiples.shape)
    return whole
