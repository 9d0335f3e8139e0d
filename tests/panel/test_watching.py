"""A voice per face by the lips, with a network of random weights: windows, silence, lengths, levels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unmingle.video.faces
from unmingle.audio.io import read_audio
from unmingle.errors import ConfigError
from unmingle.inference.handle import Model
from unmingle.inference.inputs import Job
from unmingle.inference.jobs import Settings
from unmingle.inference.report import SeparationOptions
from unmingle.models import build_model
from unmingle.models.lipreading import prepare_crops
from unmingle.panel.jobs import Looking, attempt
from unmingle.panel.watching import CONTEXT_TICKS, LipListener, looked_at, windows
from unmingle.presets import IIANetConfig
from unmingle.presets.iianet import LipReadingConfig
from unmingle.video.tracks import FaceReport, FaceTrack

RATE, TICK = 16_000, 640
LIPS = LipReadingConfig(stem=2, widths=(4,), blocks=(1,), crop=88)
TINY = IIANetConfig(
    window_ms=4,
    channels=4,
    hidden=4,
    visual_channels=4,
    video_channels=4,
    depth=2,
    n_iterations=2,
    n_fusion=1,
    lips=LIPS,
)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return Model.from_network(build_model(TINY), name="seeing")


@pytest.fixture(scope="module")
def mixture() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=11 * RATE)).astype(np.float32)


def reader(mixture: np.ndarray) -> Callable[[int, int], np.ndarray]:
    return lambda start, stop: np.pad(mixture[start:stop], (0, max(0, stop - max(start, len(mixture)))))


def voice_of(model: Model, face: FaceTrack, mixture: np.ndarray) -> np.ndarray:
    pieces = list(LipListener(model).listen(face, reader(mixture), len(mixture)))
    return np.concatenate(pieces)


def at_once(model: Model, crops: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """One pass of the network at the level at which it hears windows."""
    level = float(np.sqrt(np.mean(mixture.astype(np.float64) ** 2)))
    with torch.inference_mode():
        heard = torch.from_numpy(mixture * np.float32(0.05 / level))[None]
        return model.network(heard, prepare_crops(torch.from_numpy(crops)[None]))[0, 0].numpy() * (level / 0.05)


@pytest.mark.parametrize(("n", "wanted"), [(60, 1), (100, 1), (101, 2), (150, 2), (151, 3), (275, 5)])
def test_windows_are_whole_frames_and_cover_all(n: int, wanted: int) -> None:
    spans = windows(7, 7 + n)
    assert len(spans) == wanted
    assert (spans[0][0], spans[-1][1]) == (7, 7 + n)
    assert all(stop - start == min(n, 100) for start, stop in spans)
    assert all(later[0] - one[0] <= 50 for one, later in pairwise(spans))


def test_a_short_video_is_one_window(model: Model, mixture: np.ndarray, make_face: Callable[..., FaceTrack]) -> None:
    face = make_face("face1", np.full(75, 0.1), crops=True)
    voice = voice_of(model, face, mixture[: 75 * TICK])
    np.testing.assert_allclose(voice, at_once(model, face.crops, mixture[: 75 * TICK]), atol=1e-6)


def test_windows_give_what_the_network_gives_where_nothing_is_faded(
    model: Model, mixture: np.ndarray, make_face: Callable[..., FaceTrack]
) -> None:
    face = make_face("face1", np.full(275, 0.1), crops=True)
    voice = voice_of(model, face, mixture)
    assert voice.shape == mixture.shape
    assert np.isfinite(voice).all()
    # Two crops on either side belong to the field of the lip reader: the embedding is made of the whole track.
    crops = face.crops[:102]
    with torch.inference_mode():
        visual = model.network.read_lips(prepare_crops(torch.from_numpy(crops)[None]))[..., :100]
        window = mixture[: 100 * TICK]
        level = float(np.sqrt(np.mean(window.astype(np.float64) ** 2)))
        alone = model.network(torch.from_numpy(window * np.float32(0.05 / level))[None], visual)[0, 0].numpy()
    np.testing.assert_allclose(voice[: 50 * TICK], alone[: 50 * TICK] * level / 0.05, atol=1e-6)


def test_a_face_is_silent_where_it_is_not_seen(
    model: Model, mixture: np.ndarray, make_face: Callable[..., FaceTrack]
) -> None:
    seen = np.full(275, np.nan)
    seen[60:100] = seen[105:130] = seen[200:] = 0.1
    face = make_face("face1", seen, crops=True)
    assert looked_at(face) == [(60 - CONTEXT_TICKS, 130 + CONTEXT_TICKS), (200 - CONTEXT_TICKS, 275)]
    voice = voice_of(model, face, mixture)
    heard = np.abs(voice).reshape(275, TICK).max(axis=1) > 0
    wanted = np.zeros(275, bool)
    wanted[47:143] = wanted[187:] = True
    np.testing.assert_array_equal(heard, wanted)
    start = 47 * TICK
    assert np.abs(voice[start : start + 32]).max() < 0.2 * np.abs(voice[start + 600 : start + 4000]).max()


def test_the_level_of_the_mixture_is_that_of_the_voice(
    model: Model, mixture: np.ndarray, make_face: Callable[..., FaceTrack]
) -> None:
    face = make_face("face1", np.full(275, 0.1), crops=True)
    np.testing.assert_allclose(
        voice_of(model, face, 0.01 * mixture), 0.01 * voice_of(model, face, mixture), rtol=1e-3, atol=1e-7
    )


def test_networks_that_cannot_watch_are_refused() -> None:
    for config, said in [
        (replace(TINY, lips=None), "carries no lip reader"),
        (replace(TINY, frame_rate=30), "30 pictures"),
    ]:
        with pytest.raises(ConfigError, match=said):
            LipListener(Model.from_network(build_model(config), name="seeing"))


def test_a_video_is_separated_by_the_lips_it_shows(
    model: Model,
    make_talk: Callable[..., Any],
    make_face: Callable[..., FaceTrack],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = make_talk(seconds=5.0)
    faces = [make_face(f"face{k}", opening, crops=True) for k, opening in enumerate(talk.openings, start=1)]
    asked: dict[str, Any] = {}

    def find_faces(path: Path, **more: Any) -> FaceReport:
        asked.update(more)
        return FaceReport(faces, 5.0, (128, 64))

    monkeypatch.setattr(unmingle.video.faces, "find_faces", find_faces)
    options = SeparationOptions(keep_residual=True, n_speakers=3)
    outcome = attempt(Job(talk.path, tmp_path / "out"), Settings(model, options), Looking(faces=2, render="faces"))
    assert outcome.report is not None, outcome.error
    assert (asked["n_faces"], asked["crops"]) == (2, True)
    assert [track["name"] for track in outcome.report["tracks"]] == ["face1", "face2", "residual"]
    assert outcome.report["method"] == "lips"
    tracks = [read_audio(tmp_path / "out" / track["path"]).samples[0] for track in outcome.report["tracks"]]
    np.testing.assert_allclose(sum(tracks), read_audio(talk.path).samples[0], atol=2e-4)
    assert np.abs(tracks[0] - tracks[1]).max() > 1e-4
    assert (tmp_path / "out" / "talk_face2.mp4").is_file()
    assert "3 people were said to speak, but 2 faces were listened to (--faces)" in outcome.report["warnings"]


def test_the_level_of_a_face_that_was_turned_down_is_that_of_its_file(
    model: Model,
    make_talk: Callable[..., Any],
    make_face: Callable[..., FaceTrack],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = make_talk(seconds=5.0)
    faces = [make_face(f"face{k}", opening, crops=True) for k, opening in enumerate(talk.openings, start=1)]
    monkeypatch.setattr(unmingle.video.faces, "find_faces", lambda path, **more: FaceReport(faces, 5.0, (128, 64)))
    job = Job(talk.path, tmp_path / "out", "flac")
    report = attempt(job, Settings(model, SeparationOptions(level_dbfs=0.0)), Looking(faces=2)).report
    assert report is not None
    assert any("turned down by" in sentence for sentence in report["warnings"])
    for track in report["tracks"]:
        power = float(np.square(read_audio(tmp_path / "out" / track["path"]).samples).mean())
        assert track["level_dbfs"] == pytest.approx(10 * np.log10(power), abs=0.02)


def test_the_lips_of_nobody_separate_nothing(
    model: Model, make_talk: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmingle.video.faces, "find_faces", lambda path, **more: FaceReport([], 4.0, (128, 64)))
    outcome = attempt(Job(make_talk().path, tmp_path / "out"), Settings(model), Looking())
    assert outcome.state == "failed"
    assert "no face is seen" in str(outcome.error)
