"""States of streams as values: named tuples, nested in any way, of tensors with the batch first.

A layer that streams has `init_state(batch)` and `step(x, state) -> (y, state)`. `step` never changes what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

S = TypeVar("S", bound=tuple[Any, ...])


def map_state(function: Callable[..., Tensor], *states: S) -> S:
    """The state whose tensors are a function of the corresponding tensors of states of one structure."""
    first: Any = states[0]
    if isinstance(first, Tensor):
        return function(*states)  # pyright: ignore[reportReturnType]
    parts = [map_state(function, *parts) for parts in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)  # pyright: ignore[reportReturnType]


def named_tensors(state: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its dotted name, such as `blocks.0.attention.past_keys`, in a fixed order."""
    if isinstance(state, Tensor):
        yield prefix, state
        return
    names = getattr(state, "_fields", range(len(state)))
    for name, part in zip(names, state, strict=True):
        yield from named_tensors(part, f"{prefix}.{name}" if prefix else str(name))


def with_tensors(template: S, tensors: Mapping[str, Tensor], prefix: str = "") -> S:
    """A state of the template's structure, of tensors by their dotted names; each goes where the template's lies.

    Raises:
        KeyError: a tensor is missing, or has another type or another number of axes than the template's.
    """
    current: Any = template
    if isinstance(current, Tensor):
        tensor = tensors[prefix]
        if tensor.ndim != current.ndim or tensor.dtype != current.dtype:
            raise KeyError(prefix)
        return tensor.to(current.device)  # pyright: ignore[reportReturnType]
    names = getattr(current, "_fields", range(len(current)))
    parts = [
        with_tensors(part, tensors, f"{prefix}.{name}" if prefix else str(name))
        for name, part in zip(names, current, strict=True)
    ]
    return type(current)(*parts) if hasattr(current, "_fields") else tuple(parts)  # pyright: ignore[reportReturnType]


def select_items(state: S, items: Sequence[int]) -> S:
    """The state of some items of a batch, in the order given."""
    index = torch.tensor(items)
    return map_state(lambda tensor: tensor[index.to(tensor.device)], state)


def join_items(states: Sequence[S]) -> S:
    """One state of all items of several batches, which must agree in every other axis."""
    return map_state(lambda *tensors: torch.cat(tensors), *states)


def replace_items(state: S, items: Sequence[int], fresh: S) -> S:
    """The state of a batch in which some items begin anew.

    Args:
        state: of the whole batch.
        items: which items.
        fresh: their new state, a batch of as many items, such as from `init_state`.
    """

    def replaced(old: Tensor, new: Tensor) -> Tensor:
        changed = old.clone()
        changed[torch.tensor(items, device=old.device)] = new
        return changed

    return map_state(replaced, state, fresh)


def choose_items(condition: Tensor, then: S, otherwise: S) -> S:
    """The state whose items are those of one state where the condition, (B,), holds, and else of another."""

    def chosen(one: Tensor, other: Tensor) -> Tensor:
        return torch.where(condition.view(-1, *[1] * (one.ndim - 1)), one, other)

    return map_state(chosen, then, otherwise)


def step_by_phase(
    step: Callable[[Tensor, S], tuple[Tensor, S]], x: Tensor, state: S, phases: Sequence[object]
) -> tuple[Tensor, S]:
    """Advance a batch whose items may stand at different points of a cycle: each group of one phase by itself.

    Args:
        step: advances items of one phase.
        x: (B, ...), the input.
        state: of the whole batch.
        phases: one for each item; items of equal phase take their step together.
    """
    groups: dict[object, list[int]] = {}
    for item, phase in enumerate(phases):
        groups.setdefault(phase, []).append(item)
    if len(groups) == 1:
        return step(x, state)
    results = [step(x[items], select_items(state, items)) for items in groups.values()]
    order = [item for items in groups.values() for item in items]
    back = [order.index(item) for item in range(len(order))]
    return torch.cat([y for y, _ in results])[back], select_items(join_items([after for _, after in results]), back)
