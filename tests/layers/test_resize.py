"""The forms that exported graphs use are torch's own operators, to the frame."""

import pytest
import torch
import torch.nn.functional as F

from unmingle.layers.attention import pool_sum
from unmingle.layers.conv import nearest
from unmingle.layers.resize import average_by_index, nearest_by_index

LENGTHS = [*range(1, 140), 605, 1003, 4001, 30_011]


def halvings(frames):
    """(ratio, length) of the coarser scales."""
    for step in range(1, 6):
        yield 2**step, -(-frames // 2**step)


@pytest.mark.parametrize("step", range(5))
def test_averages_by_index_are_adaptive_average_pooling_at_any_length(step):
    for frames in LENGTHS:
        ratio, length = list(halvings(frames))[step]
        x = torch.randn(2, 3, frames)
        expected = F.adaptive_avg_pool1d(x, length)
        torch.testing.assert_close(average_by_index(x, length, ratio=ratio), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("step", range(5))
def test_nearest_frames_by_index_are_torchs_at_any_length(step):
    for frames in LENGTHS:
        _, length = list(halvings(frames))[step]
        for before, after in ((length, frames), (frames, length)):
            x = torch.randn(1, 2, before)
            assert torch.equal(nearest_by_index(x, after), F.interpolate(x, size=after, mode="nearest"))


def test_the_index_forms_are_used_by_exported_graphs_alone(monkeypatch):
    scales = [torch.randn(2, 3, frames) for frames in (13, 7, 4)]
    pooled, longer = pool_sum(scales), nearest(scales[2], 13)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr("unmingle.layers.conv.nearest_by_index", lambda *args: nearest_by_index(*args) + 1)
    monkeypatch.setattr("unmingle.layers.attention.average_by_index", lambda *a, **k: average_by_index(*a, **k) + 1)
    torch.testing.assert_close(pool_sum(scales), pooled + 2, rtol=0, atol=1e-6)
    torch.testing.assert_close(nearest(scales[2], 13), longer + 1, rtol=0, atol=1e-6)
