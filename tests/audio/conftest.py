from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

Compress = Callable[..., Path]


@pytest.fixture
def compress(tmp_path: Path) -> Compress:
    """Write samples through PyAV: compress(name, codec, samples, rate, start=0)."""

    def write(
        name: str,
        codec: str,
        samples: np.ndarray,
        rate: int,
        *,
        picture: bool = False,
        sound: bool = True,
        start: int = 0,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            video = container.add_stream("mpeg4", rate=25) if picture else None
            audio = (
                container.add_stream(codec, rate=rate, layout="mono" if len(samples) == 1 else "stereo")
                if sound
                else None
            )
            if video is not None:
                video.width = video.height = 64
                video.pix_fmt = "yuv420p"
                for _ in range(round(25 * samples.shape[1] / rate)):
                    image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                    container.mux(video.encode(image))
                container.mux(video.encode(None))
            if audio is not None:
                layout = "mono" if len(samples) == 1 else "stereo"
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
                frame.sample_rate, frame.pts = rate, start
                container.mux(audio.encode(frame))
                container.mux(audio.encode(None))
        return path

    return write


@pytest.fixture
def sweep() -> Callable[[float, int], np.ndarray]:
    """(1, time) of a rising sine, in which a shift by a sample shows: sweep(seconds, rate)."""

    def make(seconds: float, rate: int) -> np.ndarray:
        time = np.arange(round(seconds * rate)) / rate
        return (0.2 * np.sin(2 * np.pi * (200 + 1200 * time / seconds) * time)).astype(np.float32)[np.newaxis]

    return make
