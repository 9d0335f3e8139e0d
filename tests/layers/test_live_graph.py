"""One hop at a time in the terms of a graph, beside the same network hop by hop as streams take it."""

import pytest
import torch

from unmingle.layers.live_graph import HopGraph
from unmingle.layers.live_stft import LiveFrames
from unmingle.layers.state import choose_items, map_state

N_SRC = 2
STARTS = (0, 1, 5)


def counting(planes, before):
    """Planes times 1 and times the number of the frame, so that a frame too many or too few is seen."""
    return torch.stack([planes, planes * (1 + before.view(-1, 1, 1, 1))], dim=1)


def by_steps(planes, state, *, before, last):
    del last
    numbers = before[0] + torch.arange(planes.shape[2])
    frames = [counting(planes[:, :, t : t + 1], numbers[t].expand(len(planes))) for t in range(planes.shape[2])]
    out = torch.cat(frames, dim=3) if frames else planes.new_zeros(len(planes), N_SRC, *planes.shape[1:])
    return out, state + planes.shape[2]


def by_graph(planes, state, *, before):
    return counting(planes, before), state + 1


@pytest.mark.parametrize(("window", "hop"), [(16, 8), (16, 4), (20, 6), (16, 5)])
def test_hops_of_streams_that_stand_anywhere_are_those_of_each_alone(window, hop):
    live = LiveFrames(window, hop, n_src=N_SRC)
    graph, n_hops, fresh = HopGraph(live), 20, torch.full((1, 1), 40.0)
    mixture = torch.randn(len(STARTS), n_hops * hop, generator=torch.Generator().manual_seed(0))
    state, parts = live.init_state(len(STARTS), fresh.repeat(3, 1), like=mixture), []
    first = state
    for number, block in enumerate(mixture.split(hop, dim=1)):
        state = choose_items(torch.tensor(STARTS) < number, state, first)
        part, state = graph(block, state, by_graph)
        parts.append(part)
    given = torch.cat(parts, dim=2)
    for item, start in enumerate(STARTS):
        own = mixture[item : item + 1, start * hop :]
        wanted, after = live.step(own, live.init_state(1, fresh, like=mixture), by_steps)
        torch.testing.assert_close(given[item : item + 1, :, start * hop :], wanted, rtol=0, atol=1e-4)
        assert wanted.abs().max() > 1
        assert state.frames.hops[item] == after.frames.hops[0]
        assert state.network[item] == after.network[0] == 40 + n_hops - start - live.analysis.lead + 1


def test_a_step_leaves_the_state_it_was_given_alone():
    live = LiveFrames(16, 4, n_src=N_SRC)
    graph, fresh = HopGraph(live), torch.zeros(1, 1)
    state = live.init_state(1, fresh, like=fresh)
    before = map_state(torch.clone, state)
    graph(torch.ones(1, 4), state, by_graph)
    map_state(lambda one, other: torch.testing.assert_close(one, other) or one, state, before)
