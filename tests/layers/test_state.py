from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from unmingle.layers.state import (
    choose_items,
    map_state,
    named_tensors,
    replace_items,
    select_items,
    step_by_phase,
    with_tensors,
)


class Leaf(NamedTuple):
    left: Tensor
    right: Tensor


class Root(NamedTuple):
    count: Tensor
    leaves: tuple[Leaf, ...]


def root(*items):
    values = torch.tensor(items)
    return Root(values, (Leaf(values * 10.0, values * 20.0), Leaf(values * 30.0, values * 40.0)))


def test_tensors_have_dotted_names():
    names = [name for name, _ in named_tensors(root(1))]
    assert names == ["count", "leaves.0.left", "leaves.0.right", "leaves.1.left", "leaves.1.right"]


def test_mapping_keeps_the_structure():
    mapped = map_state(torch.add, root(1), root(2))
    assert isinstance(mapped.leaves[1], Leaf)
    assert mapped.leaves[1].right.item() == 120


def test_items_are_selected_and_replaced_without_touching_the_old_state():
    state = root(1, 2, 3)
    assert select_items(state, [2, 0]).leaves[0].left.tolist() == [30, 10]
    changed = replace_items(state, [1], root(7))
    assert changed.leaves[0].left.tolist() == [10, 70, 30]
    assert state.leaves[0].left.tolist() == [10, 20, 30]


def test_items_of_one_phase_step_together_and_come_back_in_order():
    calls = []

    def step(x, state):
        calls.append(state.count.tolist())
        return x + state.count, map_state(lambda tensor: tensor + 1, state)

    y, after = step_by_phase(step, torch.tensor([0, 0, 0]), root(5, 6, 7), ["even", "odd", "even"])
    assert calls == [[5, 7], [6]]
    assert y.tolist() == [5, 6, 7]
    assert after.count.tolist() == [6, 7, 8]


def test_a_state_comes_back_from_its_named_tensors_or_not_at_all():
    tensors = dict(named_tensors(root(1, 2)))
    again = with_tensors(root(9), tensors)
    assert again.leaves[1].right.tolist() == [40, 80]
    with pytest.raises(KeyError, match=r"leaves\.0\.left"):
        with_tensors(root(9), {name: value for name, value in tensors.items() if name != "leaves.0.left"})
    with pytest.raises(KeyError, match="count"):
        with_tensors(root(9), {**tensors, "count": torch.zeros(2, 2, dtype=torch.int64)})


def test_each_item_is_chosen_by_its_own_condition():
    chosen = choose_items(torch.tensor([True, False]), root(1, 2), root(5, 6))
    assert chosen.count.tolist() == [1, 6]
    assert chosen.leaves[1].right.tolist() == [40, 240]
    wide = choose_items(torch.tensor([True, False]), (torch.ones(2, 3, 4),), (torch.zeros(2, 3, 4),))
    assert wide[0].sum(dim=(1, 2)).tolist() == [12, 0]
