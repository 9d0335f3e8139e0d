"""What every test shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

# The networks under test are tiny: more threads than one only wait for each other, minutes on a busy machine.
torch.set_num_threads(1)

VIDEO_RATE = 16_000  # Hz, of the sound
TICKS = 90_000  # per second, of the picture's time stamps


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Write a video: (n, height, width, 3) frames at given times, and (time,) sound at 16 kHz, or seconds of noise.

    Either may start later than the other.
    """
    av = pytest.importorskip("av")

    def write(
        path: Path,
        frames: np.ndarray,
        times: Sequence[float] | None = None,
        sound: np.ndarray | float | None = None,
        *,
        rate: float | Fraction = 25,
        sound_start: float = 0.0,
        squeeze: Fraction | None = None,
        codec: str = "libx264",
        b_frames: int = 0,
    ) -> Path:
        times = [index / float(rate) for index in range(len(frames))] if times is None else times
        with av.open(str(path), "w") as container:
            picture = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
            picture.height, picture.width = frames.shape[1:3]
            picture.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            picture.codec_context.time_base = Fraction(1, TICKS)
            if codec == "libx264":
                picture.options = {"preset": "ultrafast", "crf": "12", "bf": str(b_frames)}
            if squeeze is not None:
                picture.codec_context.sample_aspect_ratio = squeeze
            heard = container.add_stream("aac", rate=VIDEO_RATE, layout="mono") if sound is not None else None
            for time, pixels in zip(times, frames, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
            if heard is not None:
                samples = noise(sound) if isinstance(sound, float) else np.asarray(sound, np.float32)
                block = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
                block.sample_rate, block.time_base = VIDEO_RATE, Fraction(1, VIDEO_RATE)
                block.pts = round(sound_start * VIDEO_RATE)
                container.mux(heard.encode(block))
                container.mux(heard.encode())
        return path

    def noise(seconds: float) -> np.ndarray:
        return 0.1 * np.random.default_rng(0).normal(size=round(seconds * VIDEO_RATE)).astype(np.float32)

    return write
