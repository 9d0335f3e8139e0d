"""A causal TF-GridNet streams: the same as at once, and nothing from beyond its latency."""

import pytest
import torch

from unmingle.errors import ConfigError
from unmingle.layers.state import named_tensors, replace_items
from unmingle.models import build_model
from unmingle.presets import PRESETS, TFGridNetConfig

SIZES = {
    "window": 16,
    "hop": 4,
    "channels": 4,
    "kernel": 3,
    "hidden": 5,
    "n_blocks": 2,
    "n_heads": 2,
    "query_width": 18,
}


@pytest.fixture(scope="module", params=[None, 9, 40])
def model(request):
    torch.manual_seed(0)
    config = TFGridNetConfig(**SIZES, causal=True, attn_context=request.param)
    return build_model(config).eval().double().requires_grad_(False)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
@pytest.mark.parametrize("n", [1, 3, 50])
def test_steps_give_what_the_whole_gives(model, n):
    mixture = noise(2, 4 * 75 + 3)
    state, parts, done = model.init_state(2), [], 0
    while done + 4 * n <= mixture.shape[1]:
        part, state = model.step(mixture[:, done : done + 4 * n], state)
        parts.append(part)
        done += 4 * n
    out = torch.cat([*parts, model.finish(mixture[:, done:], state)], dim=2)
    torch.testing.assert_close(out[..., model.delay :], model(mixture), rtol=0, atol=1e-12)


def test_nothing_from_beyond_the_latency(model):
    mixture = noise(1, 300).requires_grad_()
    model(mixture)[..., 200].sum().backward()
    reached = mixture.grad[0] != 0
    assert not reached[200 + model.latency :].any()
    assert reached[: 200 - model.latency].any()
    assert model.latency == model.config.latency == 16


@torch.inference_mode()
def test_an_item_begins_anew_and_a_bounded_state_does_not_grow():
    model = build_model(TFGridNetConfig(**SIZES, causal=True, attn_context=9)).eval().double()
    mixture = noise(2, 4 * 90)
    _, state = model.step(mixture[:, : 4 * 45], model.init_state(2))
    sizes = [tensor.shape for _, tensor in named_tensors(state)]
    out, after = model.step(mixture[:, 4 * 45 :], replace_items(state, [1], model.init_state(1)))
    assert [tensor.shape for _, tensor in named_tensors(after)] == sizes
    fresh, _ = model.step(mixture[1:, 4 * 45 :], model.init_state(1))
    torch.testing.assert_close(out[1:], fresh, rtol=0, atol=1e-12)


def test_only_a_causal_one_streams():
    with pytest.raises(ConfigError, match="only a causal one"):
        build_model(TFGridNetConfig(**SIZES)).init_state(1)
    with pytest.raises(ConfigError, match="at most half the window"):
        build_model(TFGridNetConfig(**{**SIZES, "hop": SIZES["window"] // 2 + 1}, causal=True)).init_state(1)
    assert PRESETS["tfgridnet"].latency is None
    assert PRESETS["tfgridnet-causal"].latency == 64
