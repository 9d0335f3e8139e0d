import pytest
import torch
import torch.nn.functional as F

from unmingle.errors import ConfigError
from unmingle.layers import frame_attention
from unmingle.layers.frame_attention import CrossFrameAttention, attend


def layer(**changes):
    torch.manual_seed(0)
    attention = CrossFrameAttention(8, 5, **{"n_heads": 2, "query_channels": 3, **changes})
    for value in attention.parameters():
        torch.nn.init.normal_(value, 0.5, 0.5)
    return attention.double()


def frame_norm(x, weight, bias):
    """(B, C, T, F), one frame at a time."""
    mean, variance = x.mean((1, 3), keepdim=True), x.var((1, 3), keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * weight.unsqueeze(1) + bias.unsqueeze(1)


def projection(part, x, head):
    width = part.conv.out_channels // part.n_heads
    rows = slice(head * width, (head + 1) * width)
    maps = F.prelu(F.conv2d(x, part.conv.weight[rows], part.conv.bias[rows]), part.act.weight[head])
    return frame_norm(maps, part.norm.weight[head], part.norm.bias[head])


def test_it_is_the_formula_head_by_head():
    attention, x = layer(), torch.randn(2, 8, 7, 5, dtype=torch.float64)
    heads = []
    for head in range(2):
        queries, keys, values = (
            projection(part, x, head).transpose(1, 2).flatten(2)
            for part in (attention.queries, attention.keys, attention.values)
        )
        found = torch.softmax(queries @ keys.mT / (3 * 5) ** 0.5, dim=-1) @ values
        heads.append(found.unflatten(2, (4, 5)).transpose(1, 2))
    expected = x + projection(attention.merge, torch.cat(heads, 1), 0)
    torch.testing.assert_close(attention(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("context", "reach"), [(None, 9), (3, 2)])
def test_a_causal_one_sees_the_past_within_its_context_and_nothing_later(context, reach):
    attention = layer(causal=True, context=context)
    x = torch.randn(1, 8, 9, 5, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention(x)[:, :, 6].sum(), x)
    seen = gradient.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert seen == [frame for frame in range(9) if max(0, 6 - reach) <= frame <= 6]


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"causal": True, "context": 4}], ids=str)
def test_blocks_of_queries_change_nothing(options, monkeypatch):
    queries, keys = torch.randn(2, 1, 2, 11, 6, dtype=torch.float64)
    values = torch.randn(1, 2, 11, 4, dtype=torch.float64)
    whole = attend(queries, keys, values, **options)
    monkeypatch.setattr(frame_attention, "QUERY_BLOCK", 3)
    torch.testing.assert_close(attend(queries, keys, values, **options), whole)
    if options:
        last = attend(queries[:, :, -5:], keys, values, **options)  # as when the past is kept
        torch.testing.assert_close(last, whole[:, :, -5:])


def test_an_unknown_activation_is_named_with_its_neighbour():
    with pytest.raises(ConfigError, match=r"'pretu'.*did you mean 'prelu'"):
        layer(activation="pretu")
