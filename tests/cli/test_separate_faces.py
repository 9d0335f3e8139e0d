"""`unmingle separate` on videos: `--faces` and `--render`, from the outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unmingle.video.faces
from unmingle.checkpoint import save_checkpoint
from unmingle.models import build_model
from unmingle.presets import IIANetConfig
from unmingle.video.tracks import FaceReport, FaceTrack

Cli = Callable[..., Any]


@pytest.fixture
def movie(tmp_path: Path, talk: Callable[..., np.ndarray], write_movie: Callable[..., Path]) -> Path:
    (tmp_path / "in").mkdir(exist_ok=True)
    return write_movie(tmp_path / "in" / "panel.mp4", talk(), picture=True)


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> None:
    """One talking face in every picture."""
    opening = 0.1 + 0.05 * np.random.default_rng(0).normal(size=50).astype(np.float32)
    zeros = np.zeros((50, 4), np.float32)
    found = FaceReport([FaceTrack("face1", np.ones(50, bool), zeros, opening, zeros)], 2.0, (64, 48))
    monkeypatch.setattr(unmingle.video.faces, "find_faces", lambda path, **more: found)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("said", ["many", "0", "-1", "faces.txt"])
def test_other_faces_are_misuse(cli: Cli, movie: Path, said: str) -> None:
    ran = cli("separate", movie, "--faces", said)
    assert ran.code == 2
    assert "auto, off, a number of faces" in ran.err


@pytest.mark.usefixtures("face")
def test_a_face_is_printed_with_how_sure_its_voice_is(cli: Cli, tiny: Path, movie: Path, tmp_path: Path) -> None:
    ran = cli("separate", movie, "-m", tiny, "-o", tmp_path / "out", "--render", "faces")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [Path(line.split("  ")[0]).name for line in lines] == [
        "panel_face1.wav",
        "panel_offscreen1.wav",
        "panel_face1.mp4",
    ]
    assert "% sure whose" in lines[0]
    assert "no face goes with offscreen1" in ran.err
    again = cli("separate", movie, "-m", tiny, "-o", tmp_path / "out", "--render", "faces", "--resume", "--json")
    (said,) = json.loads(again.out)
    assert said["state"] == "skipped"
    assert [Path(path).name for path in said["renders"]] == ["panel_face1.mp4"]
    assert said["faces"][0]["intervals"] == [[0.0, 2.0]]


def test_a_video_without_a_face_is_separated_by_ear(cli: Cli, tiny: Path, movie: Path, tmp_path: Path) -> None:
    ran = cli("separate", movie, "-m", tiny, "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "no face" in ran.err
    assert "by ear alone" in ran.err
    assert [name for name in names(tmp_path / "out") if name.endswith(".wav")] == ["panel_spk1.wav", "panel_spk2.wav"]


def test_a_face_that_was_asked_for_and_is_not_there_is_an_error(
    cli: Cli, tiny: Path, movie: Path, tmp_path: Path
) -> None:
    ran = cli("separate", movie, "-m", tiny, "-o", tmp_path / "out", "--faces", 1)
    assert ran.code == 1
    assert ran.err.startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_a_network_that_wants_lips_says_so(cli: Cli, recording: Path, movie: Path, tmp_path: Path) -> None:
    config = IIANetConfig(channels=4, hidden=4, visual_channels=4, video_channels=4, depth=2, n_iterations=1, lips=None)
    save_checkpoint(tmp_path / "seeing.safetensors", build_model(config), name="seeing")
    blind = cli("separate", movie, "-m", tmp_path / "seeing.safetensors", "--faces", "off")
    assert blind.code == 1
    assert "wants a video of each speaker" in blind.err
    deaf = cli("separate", recording, "-m", tmp_path / "seeing.safetensors")
    assert deaf.code == 1
    assert "no picture" in deaf.err
