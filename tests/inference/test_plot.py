"""The picture of a separation: what it shows, and that hours cost no more memory than seconds."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from unmingle.errors import MissingExtraError, OutputError
from unmingle.inference.plot import overview, plot_separation


def write_sine(path: Path, *, seconds: float, hertz: float = 1000.0, sample_rate: int = 16_000) -> Path:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    sf.write(path, 0.5 * np.sin(2 * np.pi * hertz * time), sample_rate)
    return path


@pytest.mark.parametrize("seconds", [0.005, 0.4, 3.0])
def test_a_sine_is_drawn_at_its_level_and_frequency(tmp_path: Path, seconds: float) -> None:
    seen = overview(write_sine(tmp_path / "sine.wav", seconds=seconds))
    last = seen.power_db[:, -1]
    assert seen.seconds == pytest.approx(seconds)
    assert seen.high.max() == pytest.approx(0.5, abs=0.01)
    assert seen.top_hz == 8000
    if seconds > 0.1:
        assert last.argmax() * seen.top_hz / (last.size - 1) == pytest.approx(1000, abs=32)
        assert last.max() == pytest.approx(-6.0, abs=0.1)


def test_time_runs_from_left_to_right(tmp_path: Path) -> None:
    sine = sf.read(write_sine(tmp_path / "sine.wav", seconds=1.0), dtype="float32")[0]
    sine[8000:] = 0
    sf.write(tmp_path / "half.wav", sine, 16_000)
    seen = overview(tmp_path / "half.wav")
    middle = seen.high.size // 2
    assert seen.high[: middle - 1].min() > 0.3
    assert seen.high[middle + 1 :].max() == 0


def test_a_long_file_takes_no_more_memory_than_a_block(tmp_path: Path) -> None:
    with sf.SoundFile(tmp_path / "long.flac", "w", 8000, 1) as file:
        for _ in range(10):
            file.write(np.zeros(60 * 8000))
    tracemalloc.start()
    seen = overview(tmp_path / "long.flac")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen.high.size == 1200
    assert peak < 600 * 8000 * 4 / 2


def test_a_picture_is_written_for_files_of_any_kind(tmp_path: Path) -> None:
    stereo = np.random.default_rng(0).normal(0, 0.1, (16_000, 2))
    sf.write(tmp_path / "mixture.ogg", stereo, 16_000)
    tracks = [write_sine(tmp_path / f"{number}.wav", seconds=1.0) for number in (1, 2, 3)]
    picture = plot_separation(tmp_path / "mixture.ogg", tracks, tmp_path / "picture.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.filterwarnings("error")
def test_a_name_that_looks_like_a_formula_or_has_letters_without_a_font_is_drawn(tmp_path: Path) -> None:
    for name in ("cost $5 ^_ to $6.wav", "\u4f1a\u8b70.wav"):
        recording = write_sine(tmp_path / name, seconds=0.5)
        assert plot_separation(recording, [recording], tmp_path / "picture.png", captions=["$5 ^_ $6"]).exists()


def test_turns_are_a_strip_below_the_tracks(tmp_path: Path) -> None:
    from matplotlib.image import imread

    track = write_sine(tmp_path / "1.wav", seconds=1.0)
    plain = imread(plot_separation(track, [track], tmp_path / "plain.png"))
    strips = imread(plot_separation(track, [track], tmp_path / "strips.png", turns=[[(0.2, 0.5), (0.7, 0.9)]]))
    assert strips.shape[0] > plain.shape[0]
    assert strips.shape[1] == plain.shape[1]


def test_a_picture_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    track = write_sine(tmp_path / "1.wav", seconds=0.1)
    with pytest.raises(OutputError, match=r"picture\.png cannot be written"):
        plot_separation(track, [track], tmp_path / "missing" / "picture.png")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"unmingle\[plot\]"):
        plot_separation(tmp_path / "a.wav", [], tmp_path / "a.png")
