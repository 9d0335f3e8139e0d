"""Faces made by hand, and videos that flash when they click."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from unmingle.audio.io import read_audio
from unmingle.inference.handle import Model
from unmingle.presets import TDANetConfig
from unmingle.video.tracks import FaceReport, FaceTrack

RATE = 16_000


@pytest.fixture(scope="session")
def make_face() -> Callable[..., FaceTrack]:
    """A face that is seen where its opening is a number: make_face("face1", opening, x=20)."""

    def make(name: str, opening: Sequence[float] | np.ndarray, *, x: float = 10.0, crops: bool = False) -> FaceTrack:
        gaps = np.asarray(opening, np.float32)
        boxes = np.tile(np.array([x, 10.0, 40.0, 40.0], np.float32), (len(gaps), 1))
        mouths = np.tile(np.array([x + 20, 40.0, 30.0, 0.0], np.float32), (len(gaps), 1))
        pictures = np.random.default_rng(sum(name.encode())).integers(0, 255, (len(gaps), 96, 96), dtype=np.uint8)
        return FaceTrack(name, np.isfinite(gaps), boxes, gaps, mouths, pictures if crops else None)

    return make


@pytest.fixture(scope="session")
def make_report() -> Callable[..., FaceReport]:
    """What was found in a picture of 128 x 64 pixels."""

    def make(*faces: FaceTrack) -> FaceReport:
        return FaceReport(list(faces), len(faces[0].present) / 25 if faces else 1.0, (128, 64))

    return make


class Knowing:
    """An engine that finds the window in the mixture and answers with the sources."""

    def __init__(self, sources: np.ndarray) -> None:
        self.sources = sources

    def __call__(self, mixture: np.ndarray) -> np.ndarray:
        whole, window = self.sources.sum(axis=0), mixture[0]
        size = 1 << (2 * len(whole) - 1).bit_length()
        match = np.fft.irfft(np.fft.rfft(whole, size) * np.fft.rfft(window, size).conj(), size)
        start = int(np.argmax(match[: len(whole)]))
        here = self.sources[:, start : start + len(window)]
        return np.pad(here, ((0, 0), (0, len(window) - here.shape[1])))[None].astype(np.float32)


@dataclass(frozen=True)
class Talk:
    """A video of people whose mouths and voices are known; the picture itself is empty."""

    path: Path
    openings: np.ndarray  # (n, n_ticks)
    model: Model


@pytest.fixture
def make_talk(tmp_path: Path, write_video: Callable[..., Path]) -> Callable[..., Talk]:
    """make_talk(2, seconds=6): so many talkers, all at once, and a model that separates them perfectly."""

    def make(n: int = 2, *, seconds: float = 4.0, seed: int = 0) -> Talk:
        random = np.random.default_rng(seed)
        ticks = round(25 * seconds)
        bumps = np.stack([np.convolve(random.uniform(size=ticks) < 0.18, np.hanning(7), "same") for _ in range(n)])
        openings = 0.02 + 0.3 * np.clip(bumps, 0, 1)
        late = np.pad(np.clip(bumps, 0, 1), ((0, 0), (1, 0)))[:, :ticks].repeat(RATE // 25, axis=1)
        voices = 0.2 * late * random.normal(size=late.shape)
        path = tmp_path / "in" / "talk.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, np.full((3, 64, 128, 3), 90, np.uint8), [0.0, 0.04, seconds - 0.04], voices.sum(axis=0))
        heard = read_audio(path).samples[0][: voices.shape[1]]
        # AAC is not exact: what it adds goes to all voices alike, so that their sum is what is heard.
        voices += (heard - voices.sum(axis=0)) / n
        return Talk(path, openings, Model("knowing", TDANetConfig(sample_rate=RATE, n_src=n), engine=Knowing(voices)))

    return make
