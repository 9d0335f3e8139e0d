import math

import pytest
import torch
import torch.nn.functional as F

from unmingle.layers.attention import (
    ConvFeedForward,
    DropPath,
    SelfAttention,
    TopDownAttention,
    sinusoid_positions,
)
from unmingle.layers.conv import nearest


def torch_attention(ours, *, batch_first):
    """Torch's own layer with the same weights."""
    channels = ours.out_proj.in_features
    theirs = torch.nn.MultiheadAttention(channels, ours.n_heads, batch_first=batch_first)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.in_proj.weight,
            "in_proj_bias": ours.in_proj.bias,
            "out_proj.weight": ours.out_proj.weight,
            "out_proj.bias": ours.out_proj.bias,
        }
    )
    return lambda x: theirs(x, x, x, need_weights=False)[0]


def attention(axis, dropout=0.0):
    torch.manual_seed(0)
    layer = SelfAttention(16, n_heads=4, axis=axis, dropout=dropout)
    torch.nn.init.normal_(layer.in_proj.bias)
    torch.nn.init.normal_(layer.out_proj.bias)
    return layer


@torch.no_grad()
@pytest.mark.parametrize(("axis", "batch_first"), [("time", True), ("batch", False)])
def test_attention_over_either_axis_is_torchs_own(axis, batch_first):
    ours, x = attention(axis), torch.randn(3, 7, 16)
    torch.testing.assert_close(ours(x), torch_attention(ours, batch_first=batch_first)(x), rtol=0, atol=1e-6)


@torch.no_grad()
def test_attention_of_an_item_alone_is_torchs_over_a_batch_of_one():
    ours, x = attention("item"), torch.randn(3, 7, 16)
    theirs = torch_attention(ours, batch_first=False)
    torch.testing.assert_close(ours(x), torch.cat([theirs(one) for one in x.split(1)]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axis", ["item", "batch"])
def test_dropout_of_a_single_score_takes_whole_heads_and_rescales_the_rest(axis):
    layer, x = attention(axis, dropout=0.5), torch.randn(1, 50, 16)
    torch.nn.init.eye_(layer.out_proj.weight)
    torch.nn.init.zeros_(layer.out_proj.bias)
    whole = layer.eval()(x).unflatten(2, (4, 4))
    ratio = layer.train()(x).unflatten(2, (4, 4)) / whole  # (1, 50, heads, 4)
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio), rtol=0, atol=1e-3)
    assert set(ratio.round().flatten().tolist()) == {0.0, 2.0}


def test_positions_are_sines_on_even_and_cosines_on_odd_channels():
    positions = sinusoid_positions(300, 8)
    for place, channel in [(0, 0), (0, 1), (7, 2), (299, 5), (123, 6)]:
        angle = place * 10_000 ** (-2 * (channel // 2) / 8)
        expected = math.cos(angle) if channel % 2 else math.sin(angle)
        assert positions[place, channel].item() == pytest.approx(expected, abs=3e-5)


@pytest.mark.parametrize(("before", "after"), [(11, 605), (605, 11), (3, 3), (1, 7), (126, 251)])
def test_resizing_takes_the_frame_at_the_float32_ratio(before, after):
    ratio = torch.tensor(before, dtype=torch.float32) / torch.tensor(after, dtype=torch.float32)
    index = (torch.arange(after, dtype=torch.float32) * ratio).floor().long().clamp(max=before - 1)
    x = torch.randn(2, 3, before)
    assert torch.equal(nearest(x, after), x[..., index])


@torch.no_grad()
@pytest.mark.parametrize(("fine", "coarse"), [(20, 5), (5, 20), (7, 7)])
def test_top_down_attention_gates_and_shifts_at_the_resolution_of_each(fine, coarse):
    torch.manual_seed(0)
    layer, x, g = TopDownAttention(4, kernel=5), torch.randn(2, 4, fine), torch.randn(2, 4, coarse)

    def cn(part, signal):
        return F.group_norm(F.conv1d(signal, part.conv.weight, padding=2, groups=4), 1, eps=1e-8)

    gate = nearest(torch.sigmoid(cn(layer.gate, g)), fine)
    expected = cn(layer.local, x) * gate + nearest(cn(layer.shift, g), fine)
    torch.testing.assert_close(layer(x, g), expected, rtol=0, atol=1e-6)


def test_feed_forward_sees_its_neighbours_and_keeps_the_shape():
    layer = ConvFeedForward(4, kernel=5)
    assert layer(torch.randn(2, 4, 9)).shape == (2, 4, 9)
    assert {name for name, _ in layer.named_parameters() if name.endswith("bias") and "norm" not in name} == {
        "neighbours.bias"
    }


def test_a_dropped_path_is_dropped_for_a_whole_item_and_only_in_training():
    torch.manual_seed(0)
    layer, x = DropPath(0.5), torch.ones(64, 3, 5)
    assert torch.equal(layer.eval()(x), x)
    kept = layer.train()(x)
    assert {tuple(item.unique().tolist()) for item in kept} == {(0.0,), (2.0,)}
