import pytest
import torch

from unmingle.layers.frame_attention import CrossFrameAttention
from unmingle.layers.key_cache import attend_step, hidden, init_cache, pass_border, runs

BATCH, BINS, CHANNELS = 2, 3, 4


def walk(attention, x, *, reach, sizes):
    """Frames through the cache in steps of the given sizes, cut at every border."""
    cache, done, parts = init_cache(attention, len(x), reach=reach), 0, []
    while done < x.shape[2]:
        size = min(sizes[len(parts) % len(sizes)], x.shape[2] - done)
        for start, end, recent in runs(done, size, reach):
            past, before = cache.past_keys.shape[2], torch.full((len(x),), done + start)
            unseen = hidden(before, end - start, recent=recent, past=past, reach=reach, context=attention.context)
            y, cache = attend_step(attention, x[:, :, done + start : done + end], cache, unseen, recent=recent)
            if recent + end - start == reach:
                cache = pass_border(cache, attention.context)
            parts.append(y)
        done += size
    return torch.cat(parts, dim=2), cache


@pytest.mark.parametrize("context", [None, 1, 2, 5, 9, 100])
@pytest.mark.parametrize(("reach", "sizes"), [(4, [1]), (4, [3, 1, 2]), (1, [1]), (50, [7])])
def test_steps_see_what_they_see_at_once(context, reach, sizes):
    torch.manual_seed(0)
    attention = (
        CrossFrameAttention(CHANNELS, BINS, n_heads=2, query_channels=2, causal=True, context=context)
        .double()
        .requires_grad_(False)
    )
    x = torch.randn(BATCH, CHANNELS, 23, BINS, dtype=torch.float64)
    stepped, cache = walk(attention, x, reach=reach, sizes=sizes)
    torch.testing.assert_close(stepped, attention(x), rtol=0, atol=1e-12)
    if context is not None:
        assert cache.past_keys.shape[2] == context - 1


def test_each_item_sees_only_the_frames_that_it_had():
    unseen = hidden(torch.tensor([0, 2, 50]), 1, recent=0, past=3, reach=2, context=4)
    seen = [[False, False, False, True, False], [False, True, True, True, False], [True, True, True, True, False]]
    assert (~unseen)[:, 0, 0].tolist() == seen


def test_items_may_be_at_different_places_between_two_borders():
    torch.manual_seed(0)
    attention = CrossFrameAttention(CHANNELS, BINS, n_heads=2, query_channels=2, causal=True, context=4)
    recent, reach, past = (0, 2), 3, 3
    caches = [init_cache(attention, 1, reach=reach) for _ in recent]
    caches = [type(cache)(*map(torch.randn_like, cache)) for cache in caches]
    x, frames = torch.randn(2, CHANNELS, 1, BINS), torch.tensor([9, 14])
    alone = []
    for item, at in enumerate(recent):
        unseen = hidden(frames[item : item + 1], 1, recent=at, past=past, reach=reach, context=4)
        alone.append(attend_step(attention, x[item : item + 1], caches[item], unseen, recent=at))
    at = torch.tensor(recent).view(-1, 1, 1, 1)
    both = type(caches[0])(*(torch.cat(parts) for parts in zip(*caches, strict=True)))
    unseen = hidden(frames, 1, recent=at, past=past, reach=reach, context=4)
    y, cache = attend_step(attention, x, both, unseen, recent=at)
    for item, (own, own_cache) in enumerate(alone):
        torch.testing.assert_close(y[item : item + 1], own)
        for part, own_part in zip(cache, own_cache, strict=True):
            torch.testing.assert_close(part[item : item + 1], own_part)
