"""Voices made of pulses and resonances, and a network that knows the answer but not the order of the speakers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unmingle.inference.handle import Model
from unmingle.presets import TDANetConfig
from unmingle.voices import activity, looks

RATE = 8000


def make_voice(pitch: float, formants: tuple[float, ...], seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """(time,) syllables of a pulse train through resonances: every pitch and formant set is another speaker."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    glide = np.repeat(rng.uniform(0.9, 1.1, n // 1000 + 1), 1000)[:n]
    phase = np.cumsum(pitch * glide / rate)
    pulses = np.zeros(n)
    pulses[np.flatnonzero(np.diff(np.floor(phase), prepend=0.0))] = 1.0
    pulses += 0.02 * rng.standard_normal(n)
    size = 1 << (2 * n - 1).bit_length()
    frequency = np.fft.rfftfreq(size, 1 / rate)
    envelope = sum(1.0 / (1.0 + ((frequency - formant) / 80.0) ** 2) for formant in formants)
    voiced = np.fft.irfft(np.fft.rfft(pulses, size) * envelope, size)[:n]
    syllables = np.repeat(rng.choice([0.15, 1.0], n // 1600 + 1, p=[0.3, 0.7]), 1600)[:n]
    voiced *= syllables
    return (0.05 * voiced / np.sqrt(np.mean(voiced**2))).astype(np.float32)


class Oracle:
    """An engine that finds the window in the mixture and answers with the sources, in a random order every time."""

    def __init__(
        self, sources: np.ndarray, *, shuffle: bool = True, leak: float = 0.05, noise: float = 0.0, seed: int = 0
    ) -> None:
        self.sources, self.shuffle, self.leak, self.noise = sources, shuffle, leak, noise
        self.rng = np.random.default_rng(seed)
        self.windows: list[tuple[int, int]] = []
        mixture = sources.sum(axis=0)
        self._size = 1 << (2 * len(mixture) - 1).bit_length()
        self._spectrum = np.fft.rfft(mixture, self._size)

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        window = np.fft.rfft(mixture[0], self._size)
        start = int(np.argmax(np.fft.irfft(self._spectrum * window.conj(), self._size)))
        self.windows.append((start, start + mixture.shape[1]))
        here = self.sources[:, start : start + mixture.shape[1]]
        level = np.sqrt(np.mean(here.sum(axis=0) ** 2)) + 1e-9
        estimates = (here + self.leak * here[::-1]) / level
        estimates += self.noise * self.rng.standard_normal(estimates.shape)
        order = self.rng.permutation(len(here)) if self.shuffle else np.arange(len(here))
        return estimates[order][np.newaxis].astype(np.float32)


@pytest.fixture(scope="session")
def voices() -> np.ndarray:
    """(3, 32 s) of three speakers at 8 kHz, without pauses."""
    return np.stack(
        [
            make_voice(110, (300, 900, 2400), 32, seed=1),
            make_voice(210, (600, 1700, 2900), 32, seed=2),
            make_voice(160, (450, 1200, 3400), 32, seed=3),
        ]
    )


@pytest.fixture
def oracle() -> Callable[..., Model]:
    """A model whose engine knows these sources: oracle(sources, shuffle=True)."""

    def make(sources: np.ndarray, *, rate: int = RATE, **settings: object) -> Model:
        config = TDANetConfig(sample_rate=rate, n_src=len(sources))
        return Model("oracle", config, engine=Oracle(sources, **settings))

    return make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny TDANet at 8 kHz, untrained."""
    import torch

    from unmingle.checkpoint import save_checkpoint
    from unmingle.models import build_model

    torch.manual_seed(0)
    config = TDANetConfig(sample_rate=RATE, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, build_model(config), name="tiny", metadata={"licence": "CC0-1.0"})
    return path


def _coarse_vectors(stretches: np.ndarray) -> np.ndarray:
    """(n, time) -> (n, 64): the shape of the spectrum, which tells the voices made here apart."""
    power = np.square(np.abs(np.fft.rfft(stretches, 8192)))[:, 1:4033].reshape(len(stretches), 64, -1).mean(axis=2)
    shape = np.log(power + 1e-12)
    shape -= shape.mean(axis=1, keepdims=True)
    return (shape / np.maximum(np.linalg.norm(shape, axis=1, keepdims=True), 1e-9)).astype(np.float32)


@pytest.fixture(autouse=True)
def quick_ears(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare tests that are not about identity the networks that find speech and know voices."""
    if request.path.name != "test_identity.py":
        monkeypatch.setattr(activity, "_silero", lambda: None)
        monkeypatch.setattr(looks, "embed_stretches", _coarse_vectors)
