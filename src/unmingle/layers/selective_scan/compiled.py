"""The selective scan as machine code for this processor, made by numba at the first call and kept on disk.

A tile of channels walks through time with its states in the first-level cache; the loop over the tile becomes vector
instructions. The exponential is a polynomial for that reason: a call into the mathematics library would stop it. Inner
functions are inlined, without which their loops ran two to three times slower.
Threads share the sequences. float32 only; the algorithm is that of stepwise.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

TILE = 32  # channels side by side: two of the widest vector registers
_LEAST_WORK = 1_000_000  # state updates below which threads cost more than they bring
_f32, _i32 = np.float32, np.int32


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    # Sums may be reordered and products fused, which vectors need. Infinities and NaN keep their meaning.
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}, **options}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that may be written: compile again in every process
        return numba.njit(**options)(function)


def _exp(x: Any) -> Any:
    """2^n p(r) with x = n ln 2 + r; 0 below -88. The coefficients are those of Cephes' expf, good to a unit."""
    x = min(max(x, _f32(-88.0)), _f32(88.0))
    n = np.floor(x * _f32(1.44269504) + _f32(0.5))
    r = x - n * _f32(0.693359375)
    r = r - n * _f32(-2.12194440e-4)  # the rest of ln 2
    p = _f32(1.9875691500e-4)
    p = p * r + _f32(1.3981999507e-3)
    p = p * r + _f32(8.3334519073e-3)
    p = p * r + _f32(4.1665795894e-2)
    p = p * r + _f32(1.6666665459e-1)
    p = p * r + _f32(5.0000001201e-1)
    p = p * r * r + r + _f32(1)
    return p * _i32((_i32(n) + _i32(127)) << _i32(23)).view(_f32)


_exp = _compile(_exp, inline="always")


def _save(tile: Any, rows: Any, first: int, width: int) -> None:
    """(N, TILE) -> rows of (d, N)."""
    for s in range(tile.shape[0]):
        for j in range(width):
            rows[first + j, s] = tile[s, j]


def _load(rows: Any, tile: Any, first: int, width: int) -> None:
    """Rows of (d, N) -> (N, TILE)."""
    for s in range(tile.shape[0]):
        for j in range(width):
            tile[s, j] = rows[first + j, s]


_save, _load = _compile(_save), _compile(_load)


def _tiles(A: Any) -> Any:
    """(d, N) -> (tiles, N, TILE), zeros behind the last channel."""
    tiles = np.zeros(((A.shape[0] + TILE - 1) // TILE, A.shape[1], TILE), _f32)
    for k in range(tiles.shape[0]):
        _load(A, tiles[k], k * TILE, min(TILE, A.shape[0] - k * TILE))
    return tiles


_tiles = _compile(_tiles)


def _forward(u: Any, delta: Any, A: Any, B: Any, C: Any, chunk: int, y: Any, last: Any, starts: Any) -> None:
    tiles = _tiles(A)
    for n in range(u.shape[0]):
        for k in range(tiles.shape[0]):
            _walk(u[n], delta[n], tiles[k], B[n], C[n], chunk, k * TILE, y[n], last[n], starts[n])


def _walk(u: Any, delta: Any, A: Any, B: Any, C: Any, chunk: int, first: int, y: Any, last: Any, starts: Any) -> None:
    """One sequence, the channels of one tile from `first` on."""
    width, n_states = min(TILE, u.shape[1] - first), A.shape[0]
    state = np.zeros((n_states, TILE), _f32)
    step, source, out = np.zeros(TILE, _f32), np.zeros(TILE, _f32), np.zeros(TILE, _f32)
    for t in range(u.shape[0]):
        if t % chunk == 0:
            _save(state, starts[t // chunk], first, width)
        for j in range(width):
            step[j] = delta[t, first + j]
            source[j] = step[j] * u[t, first + j]
        out[:] = 0
        for s in range(n_states):
            b, c = B[t, s], C[t, s]
            for j in range(TILE):
                new = _exp(step[j] * A[s, j]) * state[s, j] + source[j] * b
                state[s, j] = new
                out[j] += new * c
        for j in range(width):
            y[t, first + j] = out[j]
    _save(state, last, first, width)


_walk = _compile(_walk, inline="always")
_forward = _compile(_forward)


def _backward(
    u: Any, delta: Any, A: Any, B: Any, C: Any, starts: Any, dy: Any, dlast: Any, chunk: int,
    du: Any, ddelta: Any, dA: Any, dB: Any, dC: Any,
) -> None:  # fmt: skip
    tiles = _tiles(A)
    gradients = np.zeros_like(tiles)  # of A
    for n in range(u.shape[0]):
        for k in range(tiles.shape[0]):
            _walk_back(
                u[n], delta[n], tiles[k], B[n], C[n], starts[n], dy[n], dlast[n], chunk, k * TILE,
                du[n], ddelta[n], gradients[k], dB[n], dC[n],
            )  # fmt: skip
    for k in range(tiles.shape[0]):
        _save(gradients[k], dA, k * TILE, min(TILE, A.shape[0] - k * TILE))


def _walk_back(
    u: Any, delta: Any, A: Any, B: Any, C: Any, starts: Any, dy: Any, dlast: Any, chunk: int, first: int,
    du: Any, ddelta: Any, dA: Any, dB: Any, dC: Any,
) -> None:  # fmt: skip
    """One sequence, one tile: each chunk's states again from its start, then the chunk from its end."""
    width, n_states = min(TILE, u.shape[1] - first), A.shape[0]
    states = np.zeros((chunk + 1, n_states, TILE), _f32)  # inside one chunk; [0] is the one before it
    decays = np.zeros((chunk, n_states, TILE), _f32)
    step, source = np.zeros((chunk, TILE), _f32), np.zeros((chunk, TILE), _f32)
    adjoint, dout = np.zeros((n_states, TILE), _f32), np.zeros(TILE, _f32)
    dsource, dstep = np.zeros(TILE, _f32), np.zeros(TILE, _f32)
    _load(dlast, adjoint, first, width)
    for index in range(starts.shape[0] - 1, -1, -1):
        begin, end = index * chunk, min((index + 1) * chunk, u.shape[0])
        _load(starts[index], states[0], first, width)
        _replay(u[begin:end], delta[begin:end], A, B[begin:end], first, width, step, source, decays, states)
        for t in range(end - 1, begin - 1, -1):
            i = t - begin
            for j in range(width):
                dout[j] = dy[t, first + j]
            dsource[:] = 0
            dstep[:] = 0
            for s in range(n_states):
                b, c, db, dc = B[t, s], C[t, s], _f32(0), _f32(0)
                for j in range(TILE):
                    g = adjoint[s, j] + dout[j] * c
                    dc += dout[j] * states[i + 1, s, j]
                    db += g * source[i, j]
                    dsource[j] += g * b
                    carried = g * decays[i, s, j]
                    dexponent = carried * states[i, s, j]
                    dstep[j] += dexponent * A[s, j]
                    dA[s, j] += dexponent * step[i, j]
                    adjoint[s, j] = carried
                dB[t, s] += db
                dC[t, s] += dc
            for j in range(width):
                du[t, first + j] = dsource[j] * step[i, j]
                ddelta[t, first + j] = dsource[j] * u[t, first + j] + dstep[j]


def _replay(
    u: Any, delta: Any, A: Any, B: Any, first: int, width: int, step: Any, source: Any, decays: Any, states: Any
) -> None:
    for i in range(u.shape[0]):
        for j in range(width):
            step[i, j] = delta[i, first + j]
            source[i, j] = step[i, j] * u[i, first + j]
        for s in range(A.shape[0]):
            b = B[i, s]
            for j in range(TILE):
                decay = _exp(step[i, j] * A[s, j])
                decays[i, s, j] = decay
                states[i + 1, s, j] = decay * states[i, s, j] + source[i, j] * b


_replay = _compile(_replay, inline="always")
_walk_back = _compile(_walk_back, inline="always")
_backward = _compile(_backward)


def forward(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `stepwise.forward`, for float32 on the processor."""
    n_sequences, n_steps, _ = u.shape
    y = u.new_empty(u.shape)
    last = u.new_empty(n_sequences, *A.shape)
    starts = u.new_empty(n_sequences, -(-n_steps // chunk), *A.shape)
    rows = [_array(x) for x in (u, delta, B, C, y, last, starts)]
    shared = _array(A)

    def run(part: slice) -> None:
        u_, delta_, B_, C_, y_, last_, starts_ = (x[part] for x in rows)
        _forward(u_, delta_, shared, B_, C_, chunk, y_, last_, starts_)

    _in_threads(run, n_sequences, work=n_sequences * n_steps * A.numel())
    return y, last, starts


def backward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor, dy: Tensor, dlast: Tensor, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `stepwise.backward`, for float32 on the processor."""
    gradients = (u.new_empty(u.shape), u.new_empty(u.shape), u.new_zeros(B.shape), u.new_zeros(B.shape))
    rows = [_array(x) for x in (u, delta, B, C, starts, dy, dlast, *gradients)]
    shared = _array(A)

    def run(part: slice) -> Any:
        u_, delta_, B_, C_, starts_, dy_, dlast_, du, ddelta, dB, dC = (x[part] for x in rows)
        dA = np.empty_like(shared)
        _backward(u_, delta_, shared, B_, C_, starts_, dy_, dlast_, chunk, du, ddelta, dA, dB, dC)
        return dA

    parts = _in_threads(run, u.shape[0], work=u.shape[0] * u.shape[1] * A.numel())
    du, ddelta, dB, dC = gradients
    return du, ddelta, torch.from_numpy(sum(parts)), dB, dC


def _array(x: Tensor) -> Any:
    return x.detach().contiguous().numpy()


def _in_threads(run: Callable[[slice], Any], n_sequences: int, *, work: int) -> list[Any]:
    n_threads = min(torch.get_num_threads(), n_sequences) if work >= _LEAST_WORK else 1
    parts = _split(n_sequences, n_threads)
    if n_threads == 1:
        return [run(part) for part in parts]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(run, parts))


def _split(n_sequences: int, n_parts: int) -> Iterable[slice]:
    edges = [round(index * n_sequences / n_parts) for index in range(n_parts + 1)]
    return [slice(*edge) for edge in pairwise(edges)]
