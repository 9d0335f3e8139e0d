"""Separate a long video by its faces, and a short one beside it: does memory stay bounded, does speed hold?

    python benchmarks/long_video.py                          an hour of 1080p with two drawn talkers, the default model
    python benchmarks/long_video.py --hours 0.1 --film panel.mp4 --threads 1 --render side-by-side --json

A minute of drawn talkers (or a film, scaled to 1920 x 1080) is encoded once and repeated in a temporary folder, then
separated by `unmingle separate` in a process of its own, whose high-water mark of memory is what is reported. Figures
to carry elsewhere are the two ratios, long over short, taken in one run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from long_file import compare, in_a_child, one_period, parser_of, peak_memory

SIZE = (1080, 1920)
RATE = 25
SAMPLE_RATE = 48_000


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        separate_here(sys.argv[2:])
        return
    parser = parser_of(__doc__, hours=1.0, gigabytes=2)
    parser.add_argument("--film", type=Path, help="repeat this film instead of drawn talkers")
    parser.add_argument("--render", choices=("faces", "side-by-side"), help="make videos, too")
    options = parser.parse_args()
    compare(options, lambda folder, name, seconds: measure(folder, name, seconds, options))


def drawn_frames() -> Iterator[np.ndarray]:
    """A minute of two people side by side, (height, width, 3) RGB, a frame at a time."""
    from unmingle.video.drawn import Look, draw_face, head_sway

    looks = [Look.of(seed) for seed in (0, 1)]
    sways = [head_sway(60 * RATE, seed=seed) for seed in (0, 1)]
    height, width = SIZE
    for frame in range(60 * RATE):
        picture = np.full((height, width, 3), looks[0].room, np.uint8)
        for number, (look, sway) in enumerate(zip(looks, sways, strict=True)):
            centre = np.array([width * (1 + 2 * number) / 4, height / 2]) + 400 * sway[frame]
            opening = abs(np.sin(frame / RATE * (9, 13)[number])) * (np.sin(frame / RATE / (3, 4)[number]) > -0.5)
            draw_face(picture, float(opening), look, centre=centre.tolist(), face=400.0)
        yield picture


def film_frames(film: Path) -> Iterator[np.ndarray]:
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            yield frame.reformat(width=SIZE[1], height=SIZE[0], format="rgb24").to_ndarray()


def voices(film: Path | None) -> np.ndarray:
    """What is heard, (time,), at `SAMPLE_RATE`."""
    if film is None:
        return one_period(None, SAMPLE_RATE)[0]
    from unmingle.audio.io import read_audio
    from unmingle.audio.resample import resample

    sound = read_audio(film)
    return resample(sound.samples.mean(0), from_rate=sound.sample_rate, to_rate=SAMPLE_RATE)


def encode(path: Path, frames: Iterator[np.ndarray], sound: np.ndarray) -> None:
    """H.264 and AAC; the sound as long as the picture, which is a whole number of AAC frames where it can be."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "bf": "0"})
        picture.height, picture.width, picture.pix_fmt = *SIZE, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        count = 0
        for frame in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            count += 1
        container.mux(picture.encode())
        wanted = count * SAMPLE_RATE // RATE
        samples = np.resize(sound, wanted).astype(np.float32)
        for start in range(0, wanted, 1024):
            block = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode())


def repeat(period: Path, target: Path, seconds: float) -> None:
    """The packets of a film again and again, later each time: no encoding. Sound overlaps by an AAC frame or two."""
    shift, heard = Fraction(0), dict[int, int]()
    with av.open(str(target), "w") as out:
        streams: dict[int, av.stream.Stream] = {}
        while shift < seconds:
            with av.open(str(period)) as source:
                if not streams:
                    streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
                lasts = Fraction(source.streams.video[0].frames, RATE)
                for packet in source.demux():
                    if packet.dts is None or shift + packet.dts * packet.time_base >= seconds:
                        continue
                    later = int(shift / packet.time_base)
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    number = packet.stream.index
                    if packet.dts > heard.get(number, packet.dts - 1):
                        heard[number] = packet.dts
                        packet.stream = streams[number]
                        out.mux(packet)
            shift += lasts


def measure(folder: Path, name: str, seconds: float, options: argparse.Namespace) -> dict[str, float]:
    period, film, tracks = folder / "period.mp4", folder / f"{name}.mp4", folder / f"{name}-tracks"
    if not period.exists():
        encode(period, film_frames(options.film) if options.film else drawn_frames(), voices(options.film))
    repeat(period, film, seconds)
    words: list[object] = [film, "-o", tracks, "--threads", options.threads]
    words += ["-m", options.model] if options.model else []
    words += ["--render", options.render] if options.render else []
    return in_a_child(__file__, words, film, tracks, seconds)


def separate_here(words: list[str]) -> None:
    """The measured process."""
    from unmingle.cli.app import main as unmingle

    started = time.perf_counter()
    code = unmingle(["separate", *words])
    if code:
        sys.exit(code)
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peak_memory()}))


if __name__ == "__main__":
    main()
