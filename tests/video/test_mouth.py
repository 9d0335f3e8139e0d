"""Mouth crops lie where the published geometry puts them."""

from __future__ import annotations

import numpy as np
import pytest

from unmingle.video.mesh import MOUTH, N_POINTS, STABLE, eye_distance, mouth_opening
from unmingle.video.mouth import believable, cut_mouth, mouth_squares, squares_from_boxes

STABLE_MEAN = [(128.870, 137.303), (92.522, 94.369), (112.772, 94.944), (145.525, 94.535), (166.677, 93.566)]


def mean_face(n: int, mouth: tuple[float, float] = (129.0, 158.0)) -> np.ndarray:
    """A face that lies on the mean face, its lips around a centre; (n, 25, 2)."""
    points = np.zeros((n, N_POINTS, 2), np.float32)
    points[:, STABLE] = STABLE_MEAN
    circle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    points[:, MOUTH] = np.stack([20 * np.cos(circle), 8 * np.sin(circle)], axis=1) + mouth
    return points


def moved(points: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (points @ matrix.T + shift).astype(np.float32)


def test_a_face_on_the_mean_face_is_cut_as_it_is() -> None:
    np.testing.assert_allclose(mouth_squares(mean_face(3)), [[129, 158, 96, 0]] * 3, atol=1e-3)


def test_squares_follow_shift_scale_and_lean() -> None:
    points = moved(mean_face(20), 2.5, 12.0, (300, -40))
    centre = moved(np.array([[129.0, 158.0]]), 2.5, 12.0, (300, -40))[0]
    np.testing.assert_allclose(mouth_squares(points), [[*centre, 240, 12]] * 20, atol=1e-2)


def test_the_centre_is_rounded_on_the_mean_face_and_kept_inside() -> None:
    np.testing.assert_allclose(mouth_squares(mean_face(1, (129.4, 157.6)))[0, :2], [129, 158], atol=1e-3)
    np.testing.assert_allclose(mouth_squares(mean_face(1, (240.0, 10.0)))[0, :2], [208, 48], atol=1e-3)


def test_the_frame_follows_the_present_and_the_eleven_frames_after() -> None:
    points = mean_face(60)
    points[30, STABLE] += 120.0
    shifts = mouth_squares(points)[:, 0] - mouth_squares(mean_face(60))[:, 0]
    changed = np.flatnonzero(np.abs(shifts) > 1e-3)
    assert changed.size == 0  # the lips did not move, and on whole pixels neither did the crop
    points[30, MOUTH] += 24.0
    squares = mouth_squares(points)[:, 0]
    assert np.flatnonzero(np.abs(squares - 129) > 1).tolist() == [30]  # lips are not averaged
    turned = mean_face(60)
    turned[30, STABLE] = moved(turned[30, STABLE], 1.0, 30.0, (0, 0))
    assert np.flatnonzero(np.abs(mouth_squares(turned)[:, 3]) > 0.5).tolist() == list(range(19, 31))


def test_a_short_stretch_has_one_frame_for_all_and_the_last_one_holds() -> None:
    points = np.stack([moved(one, 1.0, 2.0 * k, (0, 0)) for k, one in enumerate(mean_face(8))])
    assert np.ptp(mouth_squares(points)[:, 3]) < 1e-4
    points = np.stack([moved(one, 1.0, 0.5 * k, (0, 0)) for k, one in enumerate(mean_face(20))])
    angles = mouth_squares(points)[:, 3]
    assert np.ptp(angles[8:]) < 1e-4
    assert (np.diff(angles[:9]) > 0.4).all()


def test_a_crop_is_that_part_of_the_picture_in_gray() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    crop = cut_mouth(picture, np.array([130, 150, 96, 0], np.float32))
    gray = picture[102:198, 82:178] @ [0.299, 0.587, 0.114]
    assert np.abs(crop - gray).max() <= 1
    edge = cut_mouth(picture, np.array([10, 10, 96, 0], np.float32))
    assert not edge[:38].any()
    assert not edge[:, :38].any()


def test_unbelievable_landmarks_are_told_from_good_ones() -> None:
    points = moved(mean_face(12), 1.0, 0.0, (0, 0))
    boxes = np.array([[65, 50, 140, 140]] * 12, np.float32)
    assert believable(points, boxes).all()
    points[3] = np.nan
    points[6] = moved(points[6], 1.4, 0.0, (0, 0))
    points[9, 1:5, 0] = 129 + 0.3 * (points[9, 1:5, 0] - 129)
    assert np.flatnonzero(~believable(points, boxes)).tolist() == [3, 6, 9]


def test_an_open_mouth_is_measured_in_distances_of_the_eyes() -> None:
    points = mean_face(1)
    points[0, 19], points[0, 23] = (129, 150), (129, 163.5)
    assert eye_distance(points)[0] == pytest.approx(53.46, abs=0.02)
    assert mouth_opening(points)[0] == pytest.approx(13.5 / 53.46, abs=1e-3)


def test_boxes_alone_place_the_crop_roughly() -> None:
    eyes = np.array([129.1, 93.95])
    width = 54.0 / 0.38
    box = np.array([[eyes[0] - width / 2, eyes[1] - 0.3 * width, width, width]], np.float32)
    np.testing.assert_allclose(squares_from_boxes(box), [[129.3, 157.8, 96, 0]], atol=0.1)
