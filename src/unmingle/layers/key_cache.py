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


class Sight(NamedTuple):
    """Which keys the queries of a step see; alike for every block of a network."""

    past: Tensor  # (B, 1, T, M), bool
    recent: Tensor  # (T, r + T), bool


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


def sight(frames: Tensor, n: int, *, recent: int, past: int, context: int | None) -> Sight:
    """What the next `n` frames see.

    Args:
        frames: (B,) how many frames came before, in all.
        n: frames of the step.
        recent: how many of them came since the border.
        past: keys in the past, M.
        context: keys that a query sees at most, its own included; None is all.
    """
    query = recent + torch.arange(n, device=frames.device).unsqueeze(1)  # frames, counted from the border
    new_key = torch.arange(recent + n, device=frames.device)
    old_key = torch.arange(-past, 0, device=frames.device)
    seen_new = new_key <= query
    seen_old = (old_key >= (recent - frames).unsqueeze(1)).unsqueeze(1)  # (B, 1, M): there was such a frame
    if context is not None:
        seen_new = seen_new & (new_key > query - context)
        seen_old = seen_old & (old_key > query - context)
    return Sight(seen_old.expand(-1, n, -1).unsqueeze(1), seen_new)


def runs(first: int, n: int, reach: int) -> Iterator[tuple[int, int, int]]:
    """Cut `n` frames, of which `first` came before, at the borders: (start, end, recent frames at the start)."""
    start = 0
    while start < n:
        recent = (first + start) % reach
        end = min(n, start + reach - recent)
        yield start, end, recent
        start = end


def attend_step(
    attention: CrossFrameAttention, x: Tensor, cache: KeyCache, seen: Sight, *, recent: int
) -> tuple[Tensor, KeyCache]:
    """(B, C, T, F) -> (B, C, T, F), and the cache with these frames in it."""
    keys = torch.cat([cache.recent_keys[:, :, :recent], attention.keys(x)], dim=2)
    values = torch.cat([cache.recent_values[:, :, :recent], attention.values(x)], dim=2)
    queries = attention.queries(x)
    queries = queries * queries.shape[3] ** -0.5
    old = (queries @ cache.past_keys.transpose(2, 3)).masked_fill(~seen.past, -torch.inf)  # (B, H, T, M)
    new = (queries @ keys.transpose(2, 3)).masked_fill(~seen.recent, -torch.inf)
    weights = torch.cat([old, new], dim=3).softmax(3)
    past = old.shape[3]
    heads = weights[..., :past] @ cache.past_values + weights[..., past:] @ values
    used = keys.shape[2]
    kept = KeyCache(
        cache.past_keys,
        cache.past_values,
        torch.cat([keys, cache.recent_keys[:, :, used:]], dim=2),
        torch.cat([values, cache.recent_values[:, :, used:]], dim=2),
    )
    return attention.add(x, heads), kept


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
