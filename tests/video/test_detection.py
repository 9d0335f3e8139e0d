"""The detectors find the same faces, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from unmingle.video.detection import BlazeFace, Cascade, Detection, overlaps
from unmingle.video.drawn import MOUTH_BELOW, draw_talking_face
from unmingle.video.mesh import MOUTH, FaceMesh
from unmingle.video.upright import Picture

EMPTY = np.full((256, 320, 3), 120, np.uint8)


@pytest.fixture(scope="module")
def face() -> Picture:
    return draw_talking_face(np.array([0.5]), seed=0, centres=np.array([[170.0, 130.0]]))[0]


def test_the_network_finds_a_face_where_it_is(face: Picture) -> None:
    network = BlazeFace()
    (found,) = network(face)
    x, y, width, height = found.box
    assert (x + width / 2, y + height / 2) == (pytest.approx(170, abs=5), pytest.approx(138, abs=10))
    assert found.angle == pytest.approx(0, abs=7)
    assert found.score > 0.6
    assert network(EMPTY) == []


def test_both_detectors_mean_the_same_box(face: Picture) -> None:
    pictures = [draw_talking_face(np.array([0.2]), seed=seed)[0] for seed in range(12)]
    cascade, network = Cascade(), BlazeFace()
    shared = [overlaps(network(one)[0].box, found[0].box[None])[0] for one in pictures if (found := cascade(one))]
    assert len(shared) >= 3
    assert np.median(shared) > 0.6
    assert cascade(EMPTY) == []


def test_landmarks_lie_on_the_mouth_and_are_missing_where_there_is_no_face(face: Picture) -> None:
    mesh, (found,) = FaceMesh(), BlazeFace()(face)
    points = mesh(face, found)
    assert points is not None
    assert np.abs(points[MOUTH].mean(axis=0) - [170, 130 + 150 * MOUTH_BELOW]).max() < 2.5
    assert mesh(EMPTY, Detection(np.array([100, 80, 120, 120], np.float32), 0.5, 0.0)) is None


def test_a_detector_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    BlazeFace()
    assert capfd.readouterr() == ("", "")
