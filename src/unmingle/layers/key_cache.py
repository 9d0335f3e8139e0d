"""Attention across frames, step by step: the keys and values of earlier frames are kept.

They are kept in two parts. `past` holds them up to the last border and is only replaced there; `recent` holds those
since, in a space for one `reach` of frames. A step thus copies little, and states share the large part.

    ... past: frames before the border | recent: r frames | the frames of this step |        r + step <= reach

Letters: B items, H heads, T frames, M frames of the past, R reach, E width of a query, V width of a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unmingle.layers.frame_attention import CrossFrameAttention


class KeyCache(NamedTuple):
    """Keys and values of earlier frames."""

    past_keys: Tensor  # (B, H, M, E), the newest last; zeros where there was no frame yet
    past_values: Tensor  # (B, H, M, V)
    recent_keys: Tensor  # (B, H, R, E), the oldest first; what lies behind the frames so far counts for nothing
    recent_values: Tensor  # (B, H, R, V)


def init_cache(attention: CrossFrameAttention, batch: int, *, reach: int) -> KeyCache:
    """No frames yet."""
    weight = attention.keys.conv.weight
    bounded = 0 if attention.context is None else attention.context - 1

    def empty(frames: int, channels: int) -> Tensor:
        n_heads = attention.keys.n_heads
        return weight.new_zeros(batch, n_heads, frames, channels // n_heads * attention.n_bins)

    key_channels, value_channels = attention.keys.conv.out_channels, attention.values.conv.out_channels
    return KeyCache(
        empty(bounded, key_channels),
        empty(bounded, value_channels),
        empty(reach, key_channels),
        empty(reach, value_channels),
    )


def hidden(frames: Tensor, n: int, *, recent: int | Tensor, past: int, reach: int, context: int | None) -> Tensor:
    """Which keys the queries of the next `n` frames do not see: (B, 1, n, past + reach), alike for all blocks.

    Args:
        frames: (B,) how many frames came before, in all.
        n: frames of the step.
        recent: how many came since the border; for items that differ (B, 1, 1, 1).
        past: keys in the past, M.
        reach: space for recent keys, R.
        context: keys that a query sees at most, its own included; None is all.
    """
    query = recent + torch.arange(n, device=frames.device).unsqueeze(1)  # frames, counted from the border
    key = torch.arange(-past, reach, device=frames.device)
    unseen = (key > query) | (key < recent - frames.view(-1, 1, 1, 1))  # to come; or before the beginning
    return unseen if context is None else unseen | (key <= query - context)


def runs(first: int, n: int, reach: int) -> Iterator[tuple[int, int, int]]:
    """Cut `n` frames, of which `first` came before, at the borders: (start, end, recent frames at the start)."""
    start = 0
    while start < n:
        recent = (first + start) % reach
        end = min(n, start + reach - recent)
        yield start, end, recent
        start = end


def attend_step(
    attention: CrossFrameAttention, x: Tensor, cache: KeyCache, unseen: Tensor, *, recent: int | Tensor
) -> tuple[Tensor, KeyCache]:
    """(B, C, T, F) -> (B, C, T, F), and the cache with these frames in it.

    `recent` is how many frames came since the border; for items that differ (B, 1, 1, 1), and then T is 1.
    """
    keys = _put(cache.recent_keys, attention.keys(x), recent)
    values = _put(cache.recent_values, attention.values(x), recent)
    queries = attention.queries(x)
    queries = queries * queries.shape[3] ** -0.5
    scores = torch.cat([queries @ cache.past_keys.transpose(2, 3), queries @ keys.transpose(2, 3)], dim=3)
    weights = scores.masked_fill(unseen, -torch.inf).softmax(3)  # (B, H, T, M + R)
    past = cache.past_keys.shape[2]
    heads = weights[..., :past] @ cache.past_values + weights[..., past:] @ values
    return attention.add(x, heads), KeyCache(cache.past_keys, cache.past_values, keys, values)


def _put(space: Tensor, new: Tensor, at: int | Tensor) -> Tensor:
    """The space for recent frames with some more in it, from index `at` on."""
    if isinstance(at, Tensor):
        here = torch.arange(space.shape[2], device=space.device).view(1, 1, -1, 1) == at
        return torch.where(here, new, space)
    return torch.cat([space[:, :, :at], new, space[:, :, at + new.shape[2] :]], dim=2)


def pass_border(cache: KeyCache, context: int | None) -> KeyCache:
    """A whole reach of recent frames becomes past; only those that a later frame can see are kept."""

    def moved(past: Tensor, recent: Tensor) -> Tensor:
        drop = 0 if context is None else past.shape[2] + recent.shape[2] - (context - 1)
        return torch.cat([past[:, :, drop:], recent[:, :, max(0, drop - past.shape[2]) :]], dim=2)

    return KeyCache(
        moved(cache.past_keys, cache.recent_keys),
        moved(cache.past_values, cache.recent_values),
        cache.recent_keys,
        cache.recent_values,
    )
