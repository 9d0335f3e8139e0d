import pytest
import torch
from torch import nn

from unmingle.layers import grid
from unmingle.layers.grid import GridBlock, SequencePath, deviation
from unmingle.layers.recurrent import TapLSTM


def path(kernel=3, stride=1, **options):
    lstm = TapLSTM(4 * kernel, 5, bidirectional=not options.get("causal"))
    return SequencePath(lstm, 4, kernel=kernel, stride=stride, **options)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"causal": True}], ids=str)
def test_groups_of_sequences_change_nothing(options, monkeypatch):
    torch.manual_seed(0)
    layer, x = path(**options), torch.randn(7, 9, 4)
    whole = layer(x)
    monkeypatch.setattr(grid, "LARGEST_GROUP", 3 * 9 * 4 * 3)
    calls = []
    layer.network.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape[0]))
    torch.testing.assert_close(layer(x), whole)
    assert calls == [3, 3, 1]


def test_a_causal_path_knows_no_later_position():
    layer, x = path(causal=True), torch.randn(1, 9, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 5].sum(), x)
    assert gradient[0, 5].any()
    assert not gradient[0, 6:].any()


@pytest.mark.parametrize(("frames", "bins"), [(1, 1), (2, 5), (7, 8), (6, 9)])
def test_a_block_keeps_its_shape_whatever_its_strides_cover(frames, bins):
    block = GridBlock(path(kernel=4, stride=3), path(kernel=3, stride=2), nn.Identity())
    x = torch.randn(2, frames, bins, 4)
    assert block(x).shape == x.shape


@torch.no_grad()
def test_the_zeros_around_a_block_pass_both_paths_and_go():
    torch.manual_seed(0)
    block, x = GridBlock(path(kernel=4, stride=3), path(kernel=3, stride=2), nn.Identity()), torch.randn(1, 6, 5, 4)
    padded = torch.zeros(1, 7, 7, 4)
    padded[:, :6, :5] = x
    after_bins = block.spectral(padded[0])
    after_frames = block.temporal(after_bins.transpose(0, 1)).transpose(0, 1)
    torch.testing.assert_close(block(x)[0], after_frames[:6, :5])


def test_the_deviation_of_one_sample_is_nothing():
    assert deviation(torch.ones(2, 1)).tolist() == [[0.0], [0.0]]
    torch.testing.assert_close(deviation(torch.tensor([[1.0, 3.0]])), torch.tensor([[2.0**0.5]]))
