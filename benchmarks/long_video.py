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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from long_file import in_words, one_period, peak_memory

SHORT_SECONDS = 120.0
SIZE = (1080, 1920)
RATE = 25
SAMPLE_RATE = 48_000


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        separate_here(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--model", default="", help="name or weights file [the default model]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--film", type=Path, help="repeat this film instead of drawn talkers")
    parser.add_argument("--render", choices=("faces", "side-by-side"), help="make videos, too")
    parser.add_argument("--folder", type=Path, help="where the temporary files go (about 2 GB for an hour)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        period = Path(folder) / "period.mp4"
        encode(period, film_frames(options.film) if options.film else drawn_frames(), voices(options.film))
        short = measure(Path(folder), "short", period, SHORT_SECONDS, options)
        long = measure(Path(folder), "long", period, options.hours * 3600, options)
    ratios = {name: long[name] / short[name] for name in ("real_time_factor", "peak_memory_bytes")}
    found = {"threads": options.threads, "short": short, "long": long, "long_over_short": ratios}
    print(json.dumps(found, indent=2) if options.json else in_words(found))


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


def measure(folder: Path, name: str, period: Path, seconds: float, options: argparse.Namespace) -> dict[str, float]:
    film = folder / f"{name}.mp4"
    repeat(period, film, seconds)
    print(f"separating {seconds:g} s ...", file=sys.stderr)
    words = [str(film), "-o", str(folder / f"{name}-tracks"), "--threads", str(options.threads)]
    words += ["-m", options.model] if options.model else []
    words += ["--render", options.render] if options.render else []
    done = subprocess.run([sys.executable, __file__, "--child", *words], stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    for path in (film, *(folder / f"{name}-tracks").iterdir()):
        path.unlink()
    return {"seconds": seconds, "real_time_factor": found["seconds"] / seconds, "peak_memory_bytes": found["peak"]}


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
