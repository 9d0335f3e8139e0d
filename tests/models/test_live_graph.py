"""Networks that stream, frame by frame in the terms of a graph: what `step` gives, wherever a stream stands."""

import pytest
import torch

from unmingle.export.live import LiveNetwork
from unmingle.layers.state import map_state, named_tensors
from unmingle.models import build_model
from unmingle.presets import TFACMConfig, TFGridNetConfig

SMALL = {"window": 32, "channels": 4, "n_heads": 2, "query_width": 34}
CONFIGS = {
    "tfacm": TFACMConfig(**SMALL, hop=8, n_blocks=2, segment_size=6, attn_context=7),
    "tfacm-mask": TFACMConfig(
        **SMALL, hop=16, n_blocks=3, segment_size=5, overlap=False, attn_context=4, output="mask", dc="remove"
    ),
    "tfacm-one-block": TFACMConfig(**SMALL, hop=10, n_blocks=1, segment_size=6, attn_context=1),
    "tfgridnet": TFGridNetConfig(**SMALL, hop=4, hidden=6, n_blocks=2, causal=True, attn_context=9, kernel=2),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_hop_by_hop_it_is_what_step_gives(config):
    torch.manual_seed(0)
    network = build_model(config).eval().requires_grad_(False)
    live, n_hops, starts = LiveNetwork(network, name="tiny"), 80, (0, 3, 50)
    mixture = torch.randn(len(starts), n_hops * network.hop)
    state, parts = list(live.tensors(len(starts)).values()), []
    for number, block in enumerate(mixture.split(network.hop, dim=1)):
        begun = torch.tensor(starts) < number
        state = [old * begun.view(-1, *[1] * (old.ndim - 1)) for old in state]
        part, state = live(block, state)
        parts.append(part)
    given = torch.cat(parts, dim=2)
    for item, start in enumerate(starts):
        own = mixture[item : item + 1, start * network.hop :]
        wanted, after = network.step(own, network.init_state(1))
        kept = given[item : item + 1, :, start * network.hop :]
        torch.testing.assert_close(kept, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))
        for (name, one), mine in zip(named_tensors(after), state, strict=True):
            if "recent" not in name:  # behind the frames so far it holds what is left of an earlier reach
                torch.testing.assert_close(mine[item : item + 1], one, rtol=0, atol=1e-4, msg=name)


def test_zeros_stand_for_a_first_state_that_is_not_zero():
    network = build_model(CONFIGS["tfacm"])
    assert any(tensor.count_nonzero() for _, tensor in named_tensors(map_state(torch.detach, network.init_state(1))))
    live = LiveNetwork(network, name="tiny")
    assert not any(tensor.count_nonzero() for tensor in live.tensors(2).values())
