import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unmingle.layers.conv import (
    ConvNorm,
    ConvNormAct,
    Depthwise,
    NormAct,
    OverlapAdd,
    PixelShuffle,
    Pointwise,
    nearest,
    pointwise,
)


def test_a_depthwise_filter_sees_its_own_channel_only():
    conv = Depthwise(3, 5)
    x = torch.zeros(1, 3, 20)
    x[:, 1, 10] = 1
    moved = (conv(x) - conv(torch.zeros_like(x))).detach()
    assert moved[0, 1].abs().sum() > 0
    assert moved[0, [0, 2]].abs().sum() == 0


@pytest.mark.parametrize(("frames", "stride", "expected"), [(20, 1, 20), (20, 2, 10), (21, 2, 11), (1, 2, 1)])
def test_depthwise_padding_keeps_or_halves_the_length(frames, stride, expected):
    assert Depthwise(2, 5, stride)(torch.zeros(1, 2, frames)).shape[-1] == expected


def test_depthwise_can_go_without_bias():
    assert Depthwise(2, 5, bias=False).bias is None


@pytest.mark.parametrize(("kernel", "stride", "bias"), [(5, 1, True), (5, 2, True), (5, 2, False), (1, 1, True)])
@pytest.mark.parametrize("frames", [1, 2, 20, 21])
def test_shifted_multiply_adds_are_the_depthwise_convolution(kernel, stride, bias, frames):
    conv = Depthwise(3, kernel, stride, bias)
    x = torch.randn(2, 3, frames)
    torch.testing.assert_close(conv.shifted(x), conv(x), rtol=0, atol=1e-6)


def test_compiled_depthwise_filters_agree_with_eager_ones():
    conv, x = Depthwise(3, 5, 2), torch.randn(2, 3, 21)
    compiled = torch.compile(conv, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), conv(x), rtol=0, atol=1e-6)


def test_conv_norm_act_is_its_three_parts_in_order():
    torch.manual_seed(0)
    block, x = ConvNormAct(pointwise(3, 4), 4), torch.randn(2, 3, 9)
    normed = F.group_norm(F.conv1d(x, block.conv.weight, block.conv.bias), 1, eps=1e-8)
    torch.testing.assert_close(block(x), torch.where(normed > 0, normed, 0.25 * normed), rtol=0, atol=1e-6)


def test_joining_parts_is_the_convolution_of_their_concatenation():
    torch.manual_seed(0)
    block = ConvNormAct(pointwise(5, 4), 4)
    parts = [torch.randn(2, 3, 11), torch.randn(2, 2, 6)]
    together = torch.cat([nearest(part, 11) for part in parts], dim=1)
    torch.testing.assert_close(block.joined(parts, 11), block(together), rtol=0, atol=1e-6)


def test_the_shorter_blocks_leave_out_what_their_names_leave_out():
    torch.manual_seed(0)
    full, x = ConvNormAct(pointwise(3, 4), 4), torch.randn(2, 3, 9)
    conv_norm, norm_act = ConvNorm(full.conv, 4), NormAct(4)
    torch.testing.assert_close(full.act(conv_norm(x)), full(x))
    torch.testing.assert_close(norm_act(full.conv(x)), full(x))


def test_pixel_shuffle_interleaves_the_halves_of_the_convolution():
    torch.manual_seed(0)
    shuffle, x = PixelShuffle(3), torch.randn(2, 3, 7)
    torch.nn.init.normal_(shuffle.norm.weight)
    conv, expected = shuffle.conv(x), torch.empty(2, 3, 14)
    for channel in range(3):
        expected[:, channel, 0::2] = conv[:, channel]
        expected[:, channel, 1::2] = conv[:, 3 + channel]
    torch.testing.assert_close(shuffle(x), shuffle.norm(expected))


def test_pixel_shuffle_mixes_the_channels_its_docstring_names():
    shuffle = PixelShuffle(4)
    x = torch.randn(1, 4, 5, requires_grad=True)
    conv = shuffle.conv(x).unflatten(1, (2, -1))
    for channel in range(4):
        for phase, source in enumerate((channel // 2, (4 + channel) // 2)):
            (gradient,) = torch.autograd.grad(conv[0, phase, channel].sum(), x, retain_graph=True)
            assert gradient[0].abs().sum(-1).nonzero().flatten().tolist() == [source]


def test_a_pointwise_convolution_is_the_librarys_whatever_its_groups():
    torch.manual_seed(0)
    for channels_in, channels_out, groups in ((3, 5, 1), (4, 4, 4), (6, 3, 3)):
        conv, x = pointwise(channels_in, channels_out, groups), torch.randn(2, channels_in, 7)
        plain = nn.Conv1d(channels_in, channels_out, 1, groups=groups)
        plain.load_state_dict(conv.state_dict())
        torch.testing.assert_close(conv(x), plain(x))


@pytest.mark.parametrize(("window", "hop", "more"), [(4, 2, 0), (8, 2, 1), (5, 3, 2), (6, 6, 5), (3, 1, 0), (2, 4, 3)])
def test_overlap_add_is_the_librarys_transposed_convolution(window, hop, more):
    torch.manual_seed(0)
    decoder, x = OverlapAdd(6, 2, window, hop, output_padding=more), torch.randn(2, 6, 9, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    expected = F.conv_transpose1d(twin, decoder.weight, None, hop, window // 2, more)
    torch.testing.assert_close(decoder(x), expected)
    decoder(x).square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)
    torch.testing.assert_close(
        decoder(x[:, :, :1]), F.conv_transpose1d(x[:, :, :1], decoder.weight, None, hop, window // 2, more)
    )


@pytest.mark.parametrize("layer", [Pointwise(40, 30), OverlapAdd(40, 2, 8, 4)])
def test_rounded_products_are_those_of_rounded_numbers(layer):
    torch.manual_seed(0)
    x = torch.randn(2, 40, 16, requires_grad=True)
    exact = layer(x)
    layer.rounds = True
    rounded = layer(x)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)
    rounded.square().sum().backward()
    assert x.grad is not None
    assert layer.weight.grad.dtype == torch.float32
