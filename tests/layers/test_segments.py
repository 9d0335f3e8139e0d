import pytest
import torch

from unmingle.layers.segments import LSTMState, SegmentLSTM, SegmentMemory

CHANNELS, BINS, BATCH = 4, 3, 2


def double(module):
    return module.double().requires_grad_(False)


@pytest.fixture(params=[(6, True), (2, True), (5, False), (1, False)], ids=str)
def segments(request):
    torch.manual_seed(0)
    size, overlap = request.param
    return double(SegmentLSTM(CHANNELS, size, overlap=overlap))


def starts_for(segments, n_frames):
    """Something else for each segment, zero for those that begin before anything was remembered."""
    n_segments = segments(torch.zeros(1, n_frames, BINS, CHANNELS, dtype=torch.float64), None)[1].hidden.shape[1]
    generator = torch.Generator().manual_seed(3)
    parts = [torch.randn(BATCH, n_segments, BINS, CHANNELS, generator=generator, dtype=torch.float64) for _ in "hc"]
    for part in parts:
        part[:, : segments.n_live] = 0
    return LSTMState(*parts)


@pytest.mark.parametrize("n_frames", [1, 6, 13, 30])
def test_all_segments_at_once_are_what_walking_along_them_gives(segments, n_frames):
    x = torch.randn(BATCH, n_frames, BINS, CHANNELS, dtype=torch.float64)
    starts = starts_for(segments, n_frames)
    at_once, ends = segments(x, starts)
    state, parts = segments.init_state(BATCH, BINS), []
    for number, start in enumerate(range(0, n_frames, segments.hop)):
        y, state = segments.step(x[:, start : start + segments.hop], state)
        parts.append(y)
        if y.shape[1] == segments.hop:
            new = number + segments.n_live
            begin = LSTMState(*(part[:, new] for part in starts)) if new < starts.hidden.shape[1] else None
            state, ended = segments.advance(state, begin)
            torch.testing.assert_close(ended.hidden, ends.hidden[:, number], rtol=0, atol=1e-12)
            torch.testing.assert_close(ended.cell, ends.cell[:, number], rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.cat(parts, dim=1), at_once, rtol=0, atol=1e-12)


def test_half_overlapping_segments_are_an_even_number_as_published():
    segments = SegmentLSTM(CHANNELS, 6, overlap=True)
    for n_frames in range(1, 20):
        ends = segments(torch.zeros(1, n_frames, 1, CHANNELS), None)[1]
        rest = 6 - (3 + n_frames % 6) % 6
        assert ends.hidden.shape[1] == (n_frames + rest + 3) // 3
        assert ends.hidden.shape[1] % 2 == 0


def test_a_segment_hears_nothing_of_another():
    segments = SegmentLSTM(CHANNELS, 4, overlap=False)
    x = torch.randn(1, 12, 1, CHANNELS, requires_grad=True)
    segments(x, None)[0][:, 4:8].sum().backward()
    reached = x.grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [False] * 4 + [True] * 4 + [False] * 4


@pytest.mark.parametrize("shift", [1, 2])
def test_the_memory_steps_along_segments_and_hands_on_later(shift):
    memory = double(SegmentMemory(CHANNELS))
    ends = LSTMState(*torch.randn(2, BATCH, 5, BINS, CHANNELS, dtype=torch.float64))
    at_once = memory(ends, shift=shift)
    assert not at_once.hidden[:, :shift].any()
    state = memory.init_state(BATCH, BINS)
    for segment in range(5 - shift):
        made, state = memory.step(LSTMState(ends.hidden[:, segment], ends.cell[:, segment]), state)
        torch.testing.assert_close(made.hidden, at_once.hidden[:, segment + shift], rtol=0, atol=1e-12)
        torch.testing.assert_close(made.cell, at_once.cell[:, segment + shift], rtol=0, atol=1e-12)
