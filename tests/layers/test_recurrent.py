import pytest
import torch

from unmingle.layers.recurrent import FoldTaps, TapLSTM, look_back, padded_length, unfold_taps


def test_a_vector_holds_its_taps_channel_by_channel():
    x = torch.randn(2, 9, 3)
    vectors = unfold_taps(x, kernel=4, stride=2)
    assert vectors.shape == (2, 3, 12)
    for position in range(3):
        for channel in range(3):
            for tap in range(4):
                assert torch.equal(vectors[:, position, channel * 4 + tap], x[:, position * 2 + tap, channel])


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "padded"),
    [(9, 4, 1, 9), (3, 4, 1, 4), (1, 8, 2, 8), (9, 5, 2, 9), (10, 5, 2, 11), (8, 5, 3, 8)],
)
def test_the_padded_length_is_covered_without_rest(length, kernel, stride, padded):
    assert padded_length(length, kernel, stride) == padded
    assert (padded - kernel) % stride == 0


class Lengths:
    """An integer as exported graphs compute it: division rounds towards 0, not down."""

    def __init__(self, value):
        self.value = int(value)

    def __add__(self, other):
        return Lengths(self.value + int(other))

    def __sub__(self, other):
        return self + -int(other)

    def __mul__(self, other):
        return Lengths(self.value * other)

    def __floordiv__(self, other):
        return Lengths(self.value / other)

    def __neg__(self):
        return Lengths(-self.value)

    def __gt__(self, other):
        return self.value > int(other)

    def __int__(self):
        return self.value


@pytest.mark.parametrize("length", range(1, 12))
def test_an_exported_graph_comes_to_the_same_padded_length(length):
    assert int(padded_length(Lengths(length), 4, 3)) == padded_length(length, 4, 3)


def test_unfolding_and_folding_keep_the_length():
    fold = FoldTaps(12, 3, kernel=4, stride=2)
    assert fold(unfold_taps(torch.randn(2, 10, 3), 4, 2)).shape == (2, 10, 3)


def test_folding_is_a_sum_over_the_vectors_that_reach_a_position():
    fold, vectors = FoldTaps(5, 2, kernel=3), torch.randn(1, 4, 5)
    expected = fold.conv.bias.repeat(6, 1)
    for start in range(4):
        for tap in range(3):
            expected[start + tap] += vectors[0, start] @ fold.conv.weight[:, :, tap]
    torch.testing.assert_close(fold(vectors)[0], expected)


def test_looking_back_neither_vectors_nor_folded_positions_know_the_future():
    lstm, fold = TapLSTM(12, 6, bidirectional=False), FoldTaps(6, 3, kernel=4, causal=True)
    x = torch.randn(1, 11, 3, requires_grad=True)
    folded = fold(lstm(unfold_taps(look_back(x, 4), 4)))
    assert folded.shape == x.shape
    for position in range(11):
        (gradient,) = torch.autograd.grad(folded[0, position].sum(), x, retain_graph=True)
        assert gradient[0, position].any()
        assert not gradient[0, position + 1 :].any()


def test_the_lstm_says_how_many_features_it_gives():
    for bidirectional in (False, True):
        layer = TapLSTM(4, 5, bidirectional=bidirectional)
        assert layer(torch.randn(2, 3, 4)).shape == (2, 3, layer.out_features)
