"""Separate a long file, and a short one beside it: does memory stay bounded, does speed hold?

    python benchmarks/long_file.py                          two hours of made-up talk, the default model
    python benchmarks/long_file.py --hours 0.5 --model afrcnn-16k --threads 1 --recording talk.wav --json

The file is made (or a recording is repeated) in a temporary folder, then separated by `separate_to_files` in a process
of its own, whose high-water mark of memory is what is reported. Figures to carry elsewhere are the two ratios, long
over short, taken in one run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

SHORT_SECONDS = 120.0
PERIOD_SECONDS = 60


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        separate_here(*sys.argv[2:])
        return
    parser = parser_of(__doc__, hours=2.0, gigabytes=1)
    parser.add_argument("--sample-rate", type=int, default=16_000, help="of made-up talk")
    parser.add_argument("--recording", type=Path, help="repeat this recording instead of made-up talk")
    options = parser.parse_args()
    period, rate = one_period(options.recording, options.sample_rate)
    compare(options, lambda folder, name, seconds: measure(folder, name, period, rate, seconds, options))


def parser_of(doc: str, *, hours: float, gigabytes: int) -> argparse.ArgumentParser:
    """The options that a long file and a long video share."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--hours", type=float, default=hours)
    parser.add_argument("--model", default="", help="name or weights file [the default model]")
    parser.add_argument("--threads", type=int, default=2)
    where = f"where the temporary files go (about {gigabytes} GB for {hours:g} h)"
    parser.add_argument("--folder", type=Path, help=where)
    parser.add_argument("--json", action="store_true")
    return parser


def compare(options: argparse.Namespace, measured: Callable[[Path, str, float], dict[str, float]]) -> None:
    """Measure a short one and a long one, by folder, name and seconds, and say how they differ."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        short = measured(Path(folder), "short", SHORT_SECONDS)
        long = measured(Path(folder), "long", options.hours * 3600)
    ratios = {name: long[name] / short[name] for name in ("real_time_factor", "peak_memory_bytes")}
    found = {"threads": options.threads, "short": short, "long": long, "long_over_short": ratios}
    print(json.dumps(found, indent=2) if options.json else in_words(found))


def one_period(recording: Path | None, sample_rate: int) -> tuple[np.ndarray, int]:
    """What is repeated: (time,) float32 and its rate."""
    if recording is not None:
        samples, rate = sf.read(recording, dtype="float32", always_2d=True)
        return samples.mean(axis=1), rate
    random = np.random.default_rng(0)
    seconds = np.arange(PERIOD_SECONDS * sample_rate) / sample_rate
    talk = np.zeros(seconds.size)
    for pitch, syllables in ((110.0, 3.1), (190.0, 4.3)):  # two voices: harmonics in syllables, with pauses
        tone = sum(np.sin(2 * np.pi * k * pitch * seconds) / k for k in range(1, 12))
        talk += tone * np.clip(np.sin(2 * np.pi * syllables * seconds), 0, 1) * (np.sin(seconds / syllables) > -0.5)
    return (0.1 * talk + 0.001 * random.standard_normal(seconds.size)).astype(np.float32), sample_rate


def measure(
    folder: Path, name: str, period: np.ndarray, rate: int, seconds: float, options: argparse.Namespace
) -> dict[str, float]:
    path = folder / f"{name}.wav"
    with sf.SoundFile(path, "w", samplerate=rate, channels=1, subtype="PCM_16") as file:
        remaining = round(seconds * rate)
        while remaining > 0:
            file.write(period[:remaining])
            remaining -= period.size
    tracks = folder / f"{name}-tracks"
    return in_a_child(__file__, [path, tracks, options.model, options.threads], path, tracks, seconds)


def in_a_child(script: str, words: list[object], source: Path, tracks: Path, seconds: float) -> dict[str, float]:
    """Let a process of its own separate, then remove what was separated and what came of it."""
    print(f"separating {seconds:g} s ...", file=sys.stderr)
    command = [sys.executable, script, "--child", *(str(word) for word in words)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
    for path in (source, *tracks.iterdir()):
        path.unlink()
    return {"seconds": seconds, "real_time_factor": found["seconds"] / seconds, "peak_memory_bytes": found["peak"]}


def separate_here(path: str, out_dir: str, model: str, threads: str) -> None:
    """The measured process."""
    import torch

    from unmingle.inference.offline import separate_to_files

    torch.set_num_threads(int(threads))
    started = time.perf_counter()
    separate_to_files(path, out_dir, model or None)
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peak_memory()}))


def peak_memory() -> int:
    """Bytes. From /proc where there is one: a child's `ru_maxrss` begins at its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_words(found: dict) -> str:
    lines = [
        f"{name:<6}{one['seconds']:>8.0f} s   real-time factor {one['real_time_factor']:.3f}   "
        f"peak memory {one['peak_memory_bytes'] / 1e6:.0f} MB"
        for name, one in ((name, found[name]) for name in ("short", "long"))
    ]
    ratios = found["long_over_short"]
    lines.append(
        f"long over short: time {ratios['real_time_factor']:.2f}, memory {ratios['peak_memory_bytes']:.2f} "
        f"({found['threads']} threads)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
