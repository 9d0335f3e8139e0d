"""Drawn people are found, followed through losses, cuts and crossings, and told of in words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from unmingle.errors import FaceError, MissingExtraError, MissingFileError
from unmingle.video.detection import Detection
from unmingle.video.drawn import MOUTH_BELOW, Look, draw_face, draw_talking_face, head_sway
from unmingle.video.faces import FaceReport, cut_mouths, find_faces, read_faces, write_faces

Write = Callable[..., Path]
FACE = 150.0
FIXED = Detection(np.array([98, 75, 124, 124], np.float32), 0.5, 0.0)
SIZE = (256, 320)


def talk(n: int, pace: float = 4.0, seed: int = 0) -> np.ndarray:
    """How far a mouth is open that says something all the time, (n,)."""
    return np.clip(np.sin(np.arange(n) / pace + seed), 0, 1)


def crossing(n: int, seeds: tuple[int, int]) -> np.ndarray:
    """Two people who change places, the second in front."""
    frames = np.full((n, 256, 480, 3), 100, np.uint8)
    for k, frame in enumerate(frames):
        way = 280 * k / (n - 1)
        for seed, x in zip(seeds, (100 + way, 380 - way), strict=True):
            draw_face(frame, 0.3, Look.of(seed), centre=(x, 128), face=110)
    return frames


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, write_video: Write) -> Path:
    """Two talkers side by side; the right one is hidden from 0.8 to 1.6 s."""
    frames = np.concatenate([draw_talking_face(talk(60, seed=k), seed=k, size=SIZE) for k in (0, 1)], axis=2)
    frames[20:40, :, 320:] = 0
    return write_video(tmp_path_factory.mktemp("panel") / "panel.mp4", frames, sound=2.4)


@pytest.fixture(scope="module")
def found(panel: Path) -> FaceReport:
    return find_faces(panel, crops=True)


def test_everybody_is_found_from_left_to_right(found: FaceReport) -> None:
    assert [track.name for track in found.tracks] == ["face1", "face2"]
    assert found.picture == (640, 256)
    assert found.duration == 2.4
    assert found.warnings == []
    assert all(max(view.shape) == 192 for view in found.thumbnails)
    for track in found.tracks:
        assert track.crops is not None
        assert len(track.present) == len(track.boxes) == len(track.crops) == found.n_frames == 60


def test_a_face_that_is_lost_for_long_is_the_same_face_in_two_intervals(found: FaceReport) -> None:
    left, right = found.tracks
    assert left.intervals == [(0.0, 2.4)]
    assert right.intervals == [(0.0, 0.8), (1.6, 2.4)]
    assert np.array_equal(np.isnan(right.mouth_opening), ~right.present)
    assert np.array_equal(right.boxes[20:40], np.repeat(right.boxes[19:20], 20, axis=0))
    assert right.crops is not None
    assert not right.crops[20:40].any()


def test_mouths_are_where_they_were_drawn_and_open_as_they_were(found: FaceReport) -> None:
    for number, track in enumerate(found.tracks):
        middle = np.array([160 + 320 * number, 128 + MOUTH_BELOW * FACE]) + FACE * head_sway(60, seed=number)
        off = track.mouths[track.present, :2] - middle[track.present]
        assert np.abs(off).max() < 3
        assert np.corrcoef(talk(60, seed=number)[track.present], track.mouth_opening[track.present])[0, 1] > 0.95


def test_crops_show_the_mouth_in_the_middle(found: FaceReport) -> None:
    crops = found.tracks[0].crops
    assert crops is not None
    wide = int(talk(60).argmax())
    rows, columns = np.nonzero(crops[wide] < 45)  # the open mouth is the darkest there is
    assert (rows.mean(), columns.mean()) == (pytest.approx(48, abs=4), pytest.approx(48, abs=4))


def test_faces_survive_a_file(found: FaceReport, panel: Path, tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    write_faces(found, path)
    again = cut_mouths(panel, read_faces(path))
    assert (again.duration, again.picture, again.shots) == (found.duration, found.picture, found.shots)
    for one, other in zip(found.tracks, again.tracks, strict=True):
        assert one.crops is not None
        assert other.crops is not None
        assert one.intervals == other.intervals
        np.testing.assert_allclose(other.boxes, one.boxes, atol=0.06)
        np.testing.assert_allclose(other.mouth_opening, one.mouth_opening, atol=1e-4)
        assert np.abs(one.crops.astype(int) - other.crops).mean() < 0.1


def test_crops_of_another_picture_are_refused(found: FaceReport, tmp_path: Path, write_video: Write) -> None:
    other = write_video(tmp_path / "other.mp4", np.zeros((3, 64, 64, 3), np.uint8))
    with pytest.raises(FaceError, match=r"640 x 256 pixels, but that of .* 64 x 64"):
        cut_mouths(other, found)


def test_a_short_loss_is_bridged(tmp_path: Path, write_video: Write) -> None:
    frames = draw_talking_face(talk(40), seed=0, size=SIZE)
    frames[15:23] = 0
    track = find_faces(write_video(tmp_path / "a.mp4", frames)).tracks[0]
    assert track.intervals == [(0.0, 1.6)]
    assert track.interpolated_share == pytest.approx(8 / 40)
    assert np.isfinite(track.mouth_opening).all()


@pytest.mark.parametrize("rate", [Fraction(30_000, 1001), 50])
def test_lips_stay_in_time_at_other_frame_rates(rate: Fraction, tmp_path: Path, write_video: Write) -> None:
    opening = np.clip(np.sin(np.arange(int(1.2 * rate)) / float(rate) * 6.25), 0, 1)
    path = write_video(tmp_path / "a.mp4", draw_talking_face(opening, seed=0, size=SIZE), rate=rate, sound=1.2)
    track = find_faces(path).tracks[0]
    assert track.intervals == [(0.0, 1.2)]
    wanted = np.clip(np.sin(np.arange(30) / 25 * 6.25), 0, 1)
    lags = range(-3, 4)
    fits = [np.corrcoef(wanted[3:-3], track.mouth_opening[3 + lag : 27 + lag])[0, 1] for lag in lags]
    assert lags[int(np.argmax(fits))] == 0


def test_cuts_part_people_and_their_return_joins_them(tmp_path: Path, write_video: Write) -> None:
    views = [draw_talking_face(talk(13), seed=seed, size=SIZE) for seed in (0, 1)]
    report = find_faces(write_video(tmp_path / "a.mp4", np.concatenate([*views, *views])))
    assert report.shots == [0.52, 1.04, 1.56]
    seen = sorted(track.intervals for track in report.tracks)
    assert seen == [[(0.0, 0.52), (1.04, 1.56)], [(0.52, 1.04), (1.56, 2.08)]]
    assert report.warnings == []


def test_somebody_else_in_the_same_part_of_the_picture_is_somebody_else(tmp_path: Path, write_video: Write) -> None:
    frames = np.full((52, 256, 640, 3), 90, np.uint8)
    frames[:, :, :320] = np.concatenate([draw_talking_face(talk(26), seed=seed, size=SIZE) for seed in (1, 3)])
    report = find_faces(write_video(tmp_path / "a.mp4", frames))
    assert report.shots == []
    assert sorted(track.intervals for track in report.tracks) == [[(0.0, 1.04)], [(1.04, 2.08)]]


@pytest.mark.parametrize("seeds", [(0, 1), (5, 2)])
def test_people_who_change_places_keep_their_names_and_are_warned_of(
    seeds: tuple[int, int], tmp_path: Path, write_video: Write
) -> None:
    report = find_faces(write_video(tmp_path / "a.mp4", crossing(45, seeds)))
    ways = sorted(float(track.boxes[-1, 0] - track.boxes[0, 0]) for track in report.tracks)
    assert ways == [pytest.approx(-280, abs=25), pytest.approx(280, abs=25)]
    assert any("cross at" in sentence for sentence in report.warnings)


def test_more_faces_than_wanted_leaves_those_seen_longest(tmp_path: Path, write_video: Write) -> None:
    tiles = [draw_talking_face(talk(30), seed=k, size=(160, 200), face=100) for k in (0, 1, 3)]
    frames = np.concatenate(tiles, axis=2)
    frames[27:, :, :200] = 0
    path = write_video(tmp_path / "a.mp4", frames)
    report = find_faces(path, n_faces=2)
    assert [round(float(track.boxes[0, 0]) // 200) for track in report.tracks] == [1, 2]
    assert report.warnings == ["3 faces are seen, 2 wanted: those seen longest were kept"]
    assert find_faces(path, n_faces=4).warnings == ["4 faces are wanted, but only 3 can be followed"]


def test_nobody_and_a_still_image_are_said(tmp_path: Path, write_video: Write) -> None:
    empty = find_faces(write_video(tmp_path / "a.mp4", np.full((5, *SIZE, 3), 90, np.uint8)))
    assert empty.tracks == []
    assert "no face was found" in empty.warnings
    photo = draw_talking_face(np.zeros(1), seed=0, size=SIZE)
    still = find_faces(write_video(tmp_path / "b.mp4", np.repeat(photo, 2, axis=0), times=[0.0, 1.2]))
    assert still.tracks[0].intervals == [(0.0, 1.24)]
    assert any("still image" in sentence for sentence in still.warnings)


def test_tiny_faces_are_said(tmp_path: Path, write_video: Write) -> None:
    frames = draw_talking_face(talk(30), seed=0, size=(360, 480), face=52)
    report = find_faces(write_video(tmp_path / "a.mp4", frames))
    assert report.tracks == []
    assert "too small" in report.warnings[0]


def test_small_faces_in_a_wide_picture_are_found_in_its_parts(tmp_path: Path, write_video: Write) -> None:
    frames = np.full((26, 240, 1920, 3), 90, np.uint8)
    for k, frame in enumerate(frames):
        draw_face(frame, float(talk(26)[k]), Look.of(0), centre=(560 + 0.5 * k, 120), face=64)
    report = find_faces(write_video(tmp_path / "a.mp4", frames))
    assert len(report.tracks) == 1
    assert report.tracks[0].intervals == [(0.0, 1.04)]


def test_a_face_that_fills_the_picture_is_found_from_afar(tmp_path: Path, write_video: Write) -> None:
    frames = draw_talking_face(talk(26), seed=0, size=(160, 160), face=200)
    track = find_faces(write_video(tmp_path / "a.mp4", frames)).tracks[0]
    assert track.intervals == [(0.0, 1.04)]
    assert track.interpolated_share == 0


def test_the_ends_of_picture_and_sound_are_said(tmp_path: Path, write_video: Write) -> None:
    frames = draw_talking_face(talk(30), seed=0, size=SIZE)
    late = [1.0 + k / 25 for k in range(30)]
    report = find_faces(write_video(tmp_path / "a.mp4", frames, times=late, sound=4.0))
    assert report.duration == 4.0
    assert report.tracks[0].intervals == [(1.0, 2.2)]
    assert any("begins 1.0 s after the sound" in sentence for sentence in report.warnings)
    assert any("picture ends at 2.2 s, the sound at 4.0 s" in sentence for sentence in report.warnings)


def test_without_litert_the_coarse_detector_works_alone(
    tmp_path: Path, write_video: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr("unmingle.video.search.Cascade", lambda: lambda picture: [FIXED])
    report = find_faces(write_video(tmp_path / "a.mp4", draw_talking_face(talk(26), seed=0, size=SIZE)))
    assert "ai-edge-litert is not installed" in report.warnings[0]
    track = report.tracks[0]
    assert np.isnan(track.mouth_opening).all()
    assert np.abs(track.mouths[:, :2] - [160, 128 + MOUTH_BELOW * FACE]).max() < 16


def test_without_opencv_the_extra_is_named(tmp_path: Path, write_video: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", np.zeros((3, 64, 64, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"opencv-python-headless.*unmingle\[video\]"):
        find_faces(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "not a file of faces"),
        ("[]", "not a file of faces"),
        ('{"picture": [64, 48], "faces": []}', "'duration' is missing"),
        ('{"picture": [64, 48], "duration": -1, "faces": []}', "a duration of -1 s"),
        (
            '{"picture": [64, 48], "duration": 0.08, "faces": [{"intervals": [[0, 0.08]], "boxes": [[1, 2, 3, 4]]}]}',
            "boxes of face1",
        ),
        (
            '{"picture": [64, 48], "duration": 0.04, "faces": [{"intervals": [[0, 0.04]], "boxes": [null]}]}',
            "has none",
        ),
        ('{"picture": [64, 48], "duration": 0.04, "faces": [{"intervals": [], "boxes": [null]}]}', "never seen"),
        (
            '{"picture": [64, 48], "duration": 1, "faces": [{"intervals": [[-1, 1]], "boxes": []}]}',
            "from -1 to 1 s of 1",
        ),
        ('{"picture": [64, 48], "duration": 1, "faces": [{"name": "../a", "intervals": [], "boxes": []}]}', "no name"),
        ('{"picture": [64, 48], "duration": 1, "faces": [{"name": "spk2", "intervals": [], "boxes": []}]}', "'spk2'"),
        ('{"picture": [64, 48], "duration": 1, "faces": [{"name": "Residual"}]}', "give it another name"),
        ('{"picture": [64, 48], "duration": 1, "faces": [{"name": "offscreen1"}]}', "give it another name"),
    ],
)
def test_what_is_wrong_in_a_file_of_faces_is_said(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    path.write_text(content)
    with pytest.raises(FaceError, match=words):
        read_faces(path)
    with pytest.raises(MissingFileError):
        read_faces(tmp_path / "none.json")


def test_boxes_made_by_hand_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "faces.json"
    path.write_text(
        '{"picture": [320, 256], "duration": 0.12,'
        ' "faces": [{"intervals": [[0.04, 0.12]], "boxes": [null, [98, 75, 124, 124], [98, 75, 124, 124]]}]}'
    )
    track = read_faces(path).tracks[0]
    assert (track.name, track.intervals) == ("face1", [(0.04, 0.12)])
    assert np.abs(track.mouths[:, :2] - [160, 128 + MOUTH_BELOW * FACE]).max() < 8
