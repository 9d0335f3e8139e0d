"""How the tests run a command line (in this process, with exit code, stdout and stderr in hand), and on what."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import soundfile as sf

RATE = 8000


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    from unmingle.cli.app import main

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network too small to separate well, at 8 kHz, for two speakers."""
    from unmingle.checkpoint import save_checkpoint
    from unmingle.models import build_model
    from unmingle.presets import TDANetConfig

    config = TDANetConfig(sample_rate=RATE, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, build_model(config), name="tiny", metadata={"licence": "MIT"})
    return path


@pytest.fixture(scope="session")
def talk() -> Callable[..., np.ndarray]:
    """Two voices' worth of noise, in syllables: (time,) float32 well below full scale."""

    def make(seconds: float = 1.5, sample_rate: int = RATE) -> np.ndarray:
        random = np.random.default_rng(0)
        time = np.arange(round(seconds * sample_rate)) / sample_rate
        syllables = 0.5 + 0.5 * np.sin(2 * np.pi * np.array([[2.1], [3.3]]) * time)
        return (0.1 * syllables * random.normal(size=(2, time.size))).sum(axis=0).astype(np.float32)

    return make


@pytest.fixture
def recording(tmp_path: Path, talk: Callable[..., np.ndarray]) -> Path:
    """A recording that can be separated, alone in its folder."""
    path = tmp_path / "in" / "talk.wav"
    path.parent.mkdir()
    sf.write(path, talk(), RATE)
    return path


@pytest.fixture(scope="session")
def write_movie() -> Callable[..., Path]:
    """Write a file through FFmpeg's libraries, with or without a picture, with or without sound."""

    def write(
        path: Path, samples: np.ndarray | None, *, picture: bool = False, codec: str = "aac", index_first: bool = False
    ) -> Path:
        options = {"movflags": "faststart"} if index_first else {}
        with av.open(str(path), "w", options=options) as container:
            video = container.add_stream("mpeg4", rate=5) if picture else None
            sound = container.add_stream(codec, rate=RATE, layout="mono") if samples is not None else None
            if video is not None:
                video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
                for _ in range(10):
                    container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
                container.mux(video.encode())
            if sound is not None and samples is not None:
                frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
                container.mux(sound.encode(frame))
                container.mux(sound.encode())
        return path

    return write
