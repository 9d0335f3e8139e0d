"""A voice as a vector: two stretches of speech by one person give vectors that point the same way.

Three LSTM layers read 1.6 s of speech; the last state, through one layer with ReLU, was trained with the GE2E loss on
the voices of thousands of people. A linear projection then keeps the directions in which people differ and drops those
in which one person varies. `voice-encoder.md` says whose weights these are, and under which licence. All of it is small
enough to run in numpy, so that knowing voices again needs no torch.

Source: Wan, Wang, Papir, Lopez Moreno, "Generalized end-to-end loss for speaker verification", ICASSP 2018.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.framing import Samples, fit_length
from unmingle.voices.mel import SAMPLE_RATE, mel_power

WEIGHTS = Path(__file__).parent / "voice-encoder.safetensors"
"""The weights, float16."""

PARTIAL_SECONDS = 1.6
"""How much speech the network reads for one vector."""

_PARTIAL_FRAMES = 160
_LEVEL = 10 ** (-25 / 20)  # RMS at which the network hears speech: the best of -30, -25 and -20 dBFS
_SILENT = 1e-6  # RMS below which there is nothing to hear
_BATCH = 64

Vectors = NDArray[np.float32]
"""(n, 64), of length one; or zero where there was nothing to hear."""


def embed(samples: Samples, *, sample_rate: int, hop_seconds: float = 0.8) -> Vectors:
    """One vector per stretch of 1.6 s, the first from the beginning, then every `hop_seconds`.

    Args:
        samples: (time,) of one voice; shorter than 1.6 s is padded with silence.
        sample_rate: Hz.
        hop_seconds: from one stretch to the next.
    """
    from unmingle.audio.resample import resample

    heard = resample(samples[np.newaxis], from_rate=sample_rate, to_rate=SAMPLE_RATE)[0]
    length, hop = round(PARTIAL_SECONDS * SAMPLE_RATE), max(1, round(hop_seconds * SAMPLE_RATE))
    heard = fit_length(heard, max(length, heard.shape[0]))
    return embed_stretches(np.lib.stride_tricks.sliding_window_view(heard, length)[::hop])


def embed_stretches(stretches: Samples) -> Vectors:
    """(n, 25600) stretches at 16 kHz -> (n, 64) vectors."""
    weights = _weights()
    encoded = encode(stretches)
    heard = np.any(encoded != 0.0, axis=1, keepdims=True)
    return _of_length_one(heard * ((encoded - weights["projection.mean"]) @ weights["projection.weight"].T))


def encode(stretches: Samples) -> NDArray[np.float32]:
    """What the network itself says, before the projection: (n, 25600) at 16 kHz -> (n, 256), of length one."""
    batches = [_encode_batch(stretches[start : start + _BATCH]) for start in range(0, len(stretches), _BATCH)]
    return np.concatenate(batches) if batches else np.zeros((0, 256), np.float32)


def average(vectors: Vectors) -> NDArray[np.float32]:
    """The direction in which (n, 64) vectors point together, (64,)."""
    return _of_length_one(vectors.sum(axis=0, keepdims=True))[0]


def _encode_batch(stretches: Samples) -> NDArray[np.float32]:
    levels = np.sqrt(np.square(stretches, dtype=np.float64).mean(axis=1))
    gains = np.where(levels > _SILENT, _LEVEL / np.maximum(levels, _SILENT), 0.0).astype(np.float32)
    pairs = zip(gains, stretches, strict=True)
    mels = np.stack([mel_power(gain * stretch)[:_PARTIAL_FRAMES] for gain, stretch in pairs])
    return _of_length_one(_network(mels) * (gains > 0)[:, np.newaxis])


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9).astype(np.float32)


def _network(mels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, frames, 40) -> (n, 256), not yet of length one."""
    weights = _weights()
    states = mels.transpose(1, 0, 2)
    for layer in range(3):
        states = _lstm(states, *(weights[f"lstm.{layer}.{name}"] for name in ("input", "state", "bias")))
    return np.maximum(states[-1] @ weights["linear.weight"].T + weights["linear.bias"], 0.0)


def _lstm(
    inputs: NDArray[np.float32],
    from_input: NDArray[np.float32],
    from_state: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(frames, n, width) -> (frames, n, 256) hidden states; gates in the order input, forget, cell, output."""
    frames, n, width = inputs.shape
    driven = (inputs.reshape(-1, width) @ from_input.T + bias).reshape(frames, n, -1)
    size = from_state.shape[1]
    hidden, cell = np.zeros((n, size), np.float32), np.zeros((n, size), np.float32)
    states = np.empty((frames, n, size), np.float32)
    for frame in range(frames):
        gates = driven[frame] + hidden @ from_state.T
        opened = _sigmoid(gates)
        cell = opened[:, size : 2 * size] * cell + opened[:, :size] * np.tanh(gates[:, 2 * size : 3 * size])
        hidden = states[frame] = opened[:, 3 * size :] * np.tanh(cell)
    return states


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.float32(0.5) * (np.float32(1.0) + np.tanh(np.float32(0.5) * values))


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load_file

    return {name: values.astype(np.float32) for name, values in load_file(WEIGHTS).items()}
