"""Small videos, drawn and written by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

RATE = 16_000
TICKS = 90_000  # per second, of the picture's time stamps


def _sound(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float, start: float) -> None:
    samples = 0.1 * np.random.default_rng(0).normal(size=(1, round(seconds * RATE))).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, round(start * RATE), Fraction(1, RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Write (n, height, width, 3) frames at given times, with noise for sound where a length is given."""

    def write(
        path: Path,
        frames: np.ndarray,
        *,
        rate: float | Fraction = 25,
        times: Sequence[float] | None = None,
        sound: float | None = None,
        sound_start: float = 0.0,
        squeeze: Fraction | None = None,
        codec: str = "libx264",
    ) -> Path:
        times = [index / float(rate) for index in range(len(frames))] if times is None else times
        with av.open(str(path), "w") as container:
            picture = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
            picture.height, picture.width = frames.shape[1:3]
            picture.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            picture.codec_context.time_base = Fraction(1, TICKS)
            if codec == "libx264":
                picture.options = {"preset": "ultrafast", "crf": "12", "bf": "0"}
            if squeeze is not None:
                picture.codec_context.sample_aspect_ratio = squeeze
            heard = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
            for time, pixels in zip(times, frames, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
            if heard is not None and sound is not None:
                _sound(container, heard, sound, sound_start)
        return path

    return write


@pytest.fixture(scope="session")
def numbered() -> Callable[..., np.ndarray]:
    """Frames whose gray level is their number: (n, 32, 48, 3). `number_of` reads it back."""

    def make(n: int) -> np.ndarray:
        return np.broadcast_to((20 + 5 * np.arange(n, dtype=np.uint8))[:, None, None, None], (n, 32, 48, 3)).copy()

    return make


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    return lambda picture: round((float(picture.mean()) - 20) / 5)
