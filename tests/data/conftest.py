"""Tiny corpora made when a test asks for them: every voice is noise around its own tone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

RATE = 8000
VOICES = {"anna": "F", "berta": "F", "carl": "M", "dirk": "M"}


def voice(speaker: str, number: int, seconds: float, rate: int = RATE) -> Any:
    rng = np.random.default_rng([*speaker.encode(), number])
    time = np.arange(round(seconds * rate)) / rate
    envelope = 0.1 + np.abs(np.sin(2 * np.pi * 2 * time + number))
    return 0.2 * envelope * (np.sin(2 * np.pi * (100 + 50 * len(speaker)) * time) + 0.1 * rng.normal(size=len(time)))


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """A speech manifest of four speakers; the first has the most to say."""
    rows: list[dict[str, Any]] = []
    for place, (speaker, gender) in enumerate(VOICES.items()):
        for number in range(3 if place == 0 else 1):
            path = tmp_path / "speech" / speaker / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(speaker, number, 1.5 + 0.5 * number), RATE)
            row = {"path": f"speech/{speaker}/{number}.wav", "speaker": speaker, "gender": gender, "corpus": speaker}
            rows.append(row)
    manifest = tmp_path / "speech.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A folder with two noises, one of them shorter than a segment."""
    folder = tmp_path / "noise"
    folder.mkdir()
    for number, seconds in enumerate((0.4, 3.0)):
        samples = np.random.default_rng(number).uniform(-0.3, 0.3, round(seconds * RATE))
        soundfile.write(folder / f"{number}.wav", samples, RATE)
    return folder


Write = Callable[..., Path]


@pytest.fixture
def mixtures(tmp_path: Path) -> Write:
    """Writes mixtures laid out as the published corpora are; returns the split's folder."""

    def write(
        names: Sequence[str] = ("a_b", "c_d"),
        *,
        split: str = "tt",
        mixture: str = "mix",
        rate: int = RATE,
        seconds: float = 1.0,
        noisy: bool = False,
        change: Mapping[str, Any] | None = None,
    ) -> Path:
        folder = tmp_path / split
        for name in names:
            parts = {f"s{n}": voice(name[:n], n, seconds, rate) for n in (1, 2)}
            if noisy:
                parts["noise"] = np.random.default_rng(0).uniform(-0.1, 0.1, len(parts["s1"]))
            signals = {**parts, mixture: sum(parts.values()), **(change or {})}
            for part, samples in signals.items():
                (folder / part).mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / part / f"{name}.wav", samples, rate, subtype="FLOAT")
        return folder

    return write


def clip(speaker: str, number: int, n_frames: int, side: int = 96) -> Any:
    """Mouth crops that tell whose and which they are: frame k is as bright as k, its first column names the speaker."""
    crops = np.zeros((n_frames, side, side), np.uint8) + np.arange(n_frames, dtype=np.uint8)[:, None, None]
    crops[:, :, 0] = ord(speaker[0])
    crops[:, 0, :] = number
    return crops


@pytest.fixture
def talkers(speech: Path) -> Path:
    """The speech manifest of four speakers, with mouth crops: one file npz, the others npy."""
    rows = [json.loads(line) for line in speech.read_text().splitlines()]
    for place, row in enumerate(rows):
        sound = soundfile.info(speech.parent / row["path"])
        crops = clip(row["speaker"], place, round(sound.duration * 25))
        path = speech.parent / "lips" / f"{place}.npy"
        path.parent.mkdir(exist_ok=True)
        if place == 0:
            path = path.with_suffix(".npz")
            np.savez_compressed(path, data=crops)
        else:
            np.save(path, crops)
        row["video"] = f"lips/{path.name}"
    manifest = speech.parent / "talkers.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest
