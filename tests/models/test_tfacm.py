"""TFACM: sizes, parity, causality, and that stepping gives what running gives."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from unmingle.checkpoint import fit
from unmingle.convert import tfacm as published
from unmingle.errors import ConfigError, ShapeError, SignalError
from unmingle.layers.state import named_tensors, replace_items, select_items
from unmingle.metrics.cost import count_macs, count_parameters
from unmingle.models import build_model
from unmingle.presets import PRESETS, TFACMConfig

VECTORS = sorted(Path(__file__).parents[1].joinpath("vectors").glob("tfacm_model_*.safetensors"))
TINY = TFACMConfig(
    window=16, hop=4, channels=8, n_blocks=2, kernel=3, query_width=18, segment_size=6, attn_context=9, dropout=0.0
)
VARIANTS = {
    "plain": {"n_blocks": 3},
    "unbounded": {"attn_context": None},
    "short sight": {"attn_context": 1},
    "apart": {"overlap": False},
    "looks ahead": {"deconv_lookahead": 1},
    "strided bins": {"stride": 2},
    "odd hop": {"hop": 5, "dc": "remove"},
    "half hop": {"hop": 8, "gate": "sigmoid"},
    "masks": {"output": "mask", "overlap": False},
}
LENGTH = 4 * 2 * TINY.segment_size + 75


def network(**changes):
    torch.manual_seed(0)
    return build_model(replace(TINY, **changes)).eval().double().requires_grad_(False)


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def stepped(model, mixture, sizes):
    """Hops in steps of these sizes, over and over, then the end."""
    state, done, parts = model.init_state(len(mixture)), 0, []
    while True:
        n = sizes[len(parts) % len(sizes)] * model.hop
        if done + n > mixture.shape[1]:
            break
        part, state = model.step(mixture[:, done : done + n], state)
        assert part.shape == (len(mixture), model.config.n_src, n)
        parts.append(part)
        done += n
    return torch.cat([*parts, model.finish(mixture[:, done:], state)], dim=2)


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS)
def model(request):
    return network(**request.param)


# --- sizes and parity


@pytest.mark.slow
def test_the_published_size_has_its_multiplications():
    assert count_macs(build_model(PRESETS["tfacm"]).eval(), include_fused=True) == pytest.approx(35.36e9, rel=0.01)


def test_the_published_size_has_its_parameters():
    model = build_model(PRESETS["tfacm"])
    assert count_parameters(model) == 952_942
    assert sum(model.get_parameter(name).numel() for name in model.unused_parameters()) == 2


def test_the_presets_have_the_latencies_they_promise():
    assert [PRESETS[name].latency for name in ("tfacm", "tfacm-stream", "tfacm-published")] == [64, 64, None]
    assert replace(PRESETS["tfacm"], deconv_lookahead=1).latency == 72
    for name in ("tfacm-live", "tfacm-live-16k"):
        config = PRESETS[name]
        assert config.latency / config.sample_rate == 0.020
        assert config.hop / config.sample_rate == 0.010
        assert config.attn_context is not None


@torch.inference_mode()
@pytest.mark.parametrize("form", ["published", "strict"])
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_outputs_are_the_published_ones_in_single_and_double_precision(path, form):
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        spec = {"config": json.loads(file.metadata()["config"]), "output": form}
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    config = published.config_from_published(spec)
    model = fit(config, published.convert_state(state, config), where=path.name).eval()
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-7)):
        estimates = model.to(dtype)(tensors["input"].to(dtype))
        torch.testing.assert_close(estimates, tensors[f"output_{form}"].to(dtype), rtol=0, atol=tolerance)


# --- causality


def reach(model, mixture, sample):
    """Which input samples an output sample depends on."""
    mixture = mixture.clone().requires_grad_()
    model(mixture)[..., sample].sum().backward()
    return mixture.grad.abs().sum(0) > 0


def test_nothing_from_beyond_the_latency_and_something_from_the_past(model):
    assert model.latency == model.config.latency
    mixture, cut = noise(1, LENGTH), LENGTH - 40
    reached = reach(model, mixture, cut)
    assert not reached[cut + model.latency :].any()
    assert reached[cut : cut + model.latency].any()
    assert reached[: cut - model.latency].any()


def test_the_published_form_hears_the_whole_utterance_first():
    model = network(form="published", attn_context=None)
    reached = reach(model, noise(1, LENGTH), 10)
    assert reached[-20:].any()
    assert not model.config.causal
    with pytest.raises(ConfigError, match="cannot stream"):
        model.init_state(1)


@torch.inference_mode()
@pytest.mark.parametrize("cut", [20, 101])
def test_another_future_changes_nothing_that_is_out_already(model, cut):
    mixture = noise(1, LENGTH)
    other = mixture.clone()
    other[:, cut:] += noise(1, LENGTH)[:, cut:]
    before = max(0, cut - model.latency + 1)
    assert torch.equal(model(mixture)[..., :before], model(other)[..., :before])
    assert not torch.equal(model(mixture)[..., cut:], model(other)[..., cut:])


# --- stepping


@torch.inference_mode()
@pytest.mark.parametrize("sizes", [[1], [7, 2]], ids=str)
@pytest.mark.parametrize("length", [17, LENGTH])
def test_steps_give_what_the_whole_gives(model, sizes, length):
    mixture = noise(2, length)
    out = stepped(model, mixture, sizes)
    assert not out[..., : model.delay].any()
    torch.testing.assert_close(out[..., model.delay :], model(mixture), rtol=0, atol=1e-12)


@torch.inference_mode()
@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8), length=st.integers(9, LENGTH))
def test_steps_of_any_sizes_give_what_the_whole_gives_in_single_precision(sizes, length):
    model = network().float()
    mixture = noise(1, length).float()
    out = stepped(model, mixture, sizes)[..., model.delay :]
    torch.testing.assert_close(out, model(mixture), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_step_leaves_the_state_it_is_given_alone():
    model = network()
    _, state = model.step(noise(1, 40 * 4), model.init_state(1))
    before = [tensor.clone() for _, tensor in named_tensors(state)]
    first, _ = model.step(noise(1, 32), state)
    assert all(torch.equal(old, new) for old, (_, new) in zip(before, named_tensors(state), strict=True))
    assert torch.equal(model.step(noise(1, 32), state)[0], first)


@torch.inference_mode()
@pytest.mark.parametrize("age", [1, 50])
def test_an_item_of_a_batch_begins_anew_while_the_others_go_on(age):
    model, mixture = network(), noise(3, 4 * 75)
    _, state = model.step(mixture[:, : 4 * age], model.init_state(3))
    state = replace_items(state, [1], model.init_state(1))
    parts = []
    for block in mixture[:, 4 * age :].split(4 * 5, dim=1):
        part, state = model.step(block, state)
        parts.append(part)
    together = torch.cat(parts, dim=2)
    alone = model.step(mixture[:, 4 * age :], model.step(mixture[:, : 4 * age], model.init_state(3))[1])[0]
    fresh = model.step(mixture[1:2, 4 * age :], model.init_state(1))[0]
    torch.testing.assert_close(together[[0, 2]], alone[[0, 2]], rtol=0, atol=1e-12)
    torch.testing.assert_close(together[1:2], fresh, rtol=0, atol=1e-12)


@torch.inference_mode()
def test_streams_of_different_ages_end_in_one_batch():
    model, mixture = network(), noise(2, 4 * 30 + 3)
    _, old = model.step(mixture[:1, : 4 * 20], model.init_state(1))
    state = replace_items(select_items(old, [0, 0]), [1], model.init_state(1))
    rest = model.finish(mixture[:, 4 * 20 :], state)
    torch.testing.assert_close(rest[1:, :, model.delay :], model(mixture[1:, 4 * 20 :]), rtol=0, atol=1e-12)
    torch.testing.assert_close(rest[:1], stepped(model, mixture[:1], [20])[..., 4 * 20 :], rtol=0, atol=1e-12)


@torch.inference_mode()
def test_the_state_does_not_grow_when_attention_is_bounded():
    model = network().float()
    state = model.init_state(1)
    sizes = [tensor.shape for _, tensor in named_tensors(state)]
    for _ in range(5):
        _, state = model.step(torch.randn(1, 4 * 40), state)
        assert [tensor.shape for _, tensor in named_tensors(state)] == sizes


def test_a_gradient_passes_through_steps():
    model = network().requires_grad_(True)
    _, state = model.step(noise(1, 4 * 30), model.init_state(1))
    model.step(noise(1, 4 * 30), state)[0].square().sum().backward()
    idle = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    assert idle == model.unused_parameters()


def test_what_are_no_whole_hops_of_the_batch_is_refused():
    model = network()
    state = model.init_state(2)
    for shape in [(2, 5), (1, 4), (3, 8)]:
        with pytest.raises(ShapeError, match=r"\(2, a multiple of 4\)"):
            model.step(torch.zeros(shape, dtype=torch.float64), state)
    with pytest.raises(SignalError, match="int64"):
        model.step(torch.zeros(2, 4, dtype=torch.int64), state)
    with pytest.raises(ShapeError, match="8 samples"):
        model.finish(torch.zeros(2, 8, dtype=torch.float64), state)


def test_what_is_no_end_of_the_batch_is_refused():
    model = network()
    _, state = model.step(noise(2, 4 * 30), model.init_state(2))
    for shape in [(3,), (1, 3), (3, 8), (2, 1, 3), ()]:
        with pytest.raises(ShapeError, match=r"\(2, time\)"):
            model.finish(torch.zeros(shape, dtype=torch.float64), state)
    with pytest.raises(SignalError, match="int64"):
        model.finish(torch.zeros(2, 3, dtype=torch.int64), state)
    assert model.finish(torch.zeros(2, 0, dtype=torch.float64), state).shape == (2, model.config.n_src, model.delay)


@torch.inference_mode()
def test_an_offset_is_taken_out_of_the_estimates_on_request():
    mixture = noise(1, LENGTH)
    offsets = [network(dc=dc)(mixture)[..., 20:-20].mean(-1).abs().max() for dc in ("keep", "remove")]
    assert offsets[1] < 0.05 * offsets[0]


@torch.inference_mode()
def test_a_network_of_masks_begins_by_sharing_the_mixture_out_at_any_level():
    model, mixture = network(output="mask"), noise(1, LENGTH)
    for level in (1e-3, 1.0, 30.0):
        estimates = model(level * mixture)
        torch.testing.assert_close(estimates.mean(1), level * mixture / 2, rtol=0, atol=0.4 * level)
        assert (estimates - level * mixture / 2).std() < 0.2 * level


def test_the_gates_of_a_new_network_of_masks_let_the_features_through():
    model = network(output="mask")
    x = noise(1, 4, model.config.n_bins, model.config.channels)
    for block in model.blocks:
        passed = block.gate(x)
        assert torch.nn.functional.cosine_similarity(passed.flatten(), x.flatten(), dim=0) > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 63}, "even window"),
        ({"hop": 33}, "at most half"),
        ({"segment_size": 7}, "even number of frames"),
        ({"channels": 63}, "heads"),
        ({"kernel": 40}, "33 bins"),
        ({"stride": 9}, "stride of at most the kernel"),
        ({"attn_context": 0}, "at least 1 frame"),
        ({"n_blocks": 0}, "n_blocks is 0"),
        ({"form": "strikt"}, "did you mean 'strict'"),
        ({"deconv_lookahead": 2}, "0, 1"),
        ({"form": "published", "attn_context": 5, "overlap": False}, "overlap, attn_context"),
        ({"form": "published", "output": "mask"}, "output"),
        ({"output": "mask", "deconv_lookahead": 1}, "so take 0"),
        ({"output": "masks"}, "did you mean 'mask'"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_a_tfacm_that_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TFACMConfig(), **changes)
