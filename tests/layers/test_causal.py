import torch

from unmingle.layers.causal import CausalConv2d
from unmingle.layers.recurrent import FoldTaps


def test_a_causal_convolution_steps_as_it_runs():
    conv = CausalConv2d(2, 3).double().requires_grad_(False)
    x = torch.randn(2, 9, 5, 2, dtype=torch.float64)
    state, parts = conv.init_state(2, 5).double(), []
    for part in x.split([1, 4, 1, 3], dim=1):
        y, state = conv.step(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), conv(x), rtol=0, atol=1e-12)


def test_a_causal_convolution_hears_two_frames_back_and_none_ahead():
    conv = CausalConv2d(1, 1)
    x = torch.randn(1, 9, 4, 1, requires_grad=True)
    conv(x)[:, 5].sum().backward()
    assert x.grad.abs().sum((0, 2, 3)).bool().tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_causal_folding_steps_as_it_runs():
    fold = FoldTaps(3, 2, 4, causal=True).double().requires_grad_(False)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    state, parts = fold.init_state(2), []
    for part in x.split([1, 5, 1, 2], dim=1):
        y, state = fold.step(part, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), fold(x), rtol=0, atol=1e-12)
