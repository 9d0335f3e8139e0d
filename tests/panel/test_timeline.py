"""When a face is heard."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unmingle.panel import timeline
from unmingle.video.tracks import FaceTrack


def test_a_stretch_is_faded_in_and_out() -> None:
    gain = timeline.gain([(1.0, 2.0)], start=0, length=3000, sample_rate=1000)
    assert gain[:990].max() == 0.0
    assert gain[1010:1990].min() == 1.0
    assert gain[2011:].max() == 0.0
    assert gain[1000] == np.float32(0.5)
    assert np.abs(np.diff(gain)).max() < 0.051


def test_pieces_are_those_of_the_whole() -> None:
    stretches = [(-np.inf, 0.3), (0.7, 1.1)]
    whole = timeline.gain(stretches, start=0, length=1500, sample_rate=1000)
    parts = [timeline.gain(stretches, start=at, length=100, sample_rate=1000) for at in range(0, 1500, 100)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole[0] == 1.0


def test_faces_of_one_voice_share_all_time_without_a_gap(make_face: Callable[..., FaceTrack]) -> None:
    def seen(*intervals: tuple[int, int]) -> np.ndarray:
        opening = np.full(100, np.nan)
        for start, stop in intervals:
            opening[start:stop] = 0.1
        return opening

    faces = [make_face("face1", seen((10, 30), (70, 80))), make_face("face2", seen((40, 60)))]
    first, second = timeline.share_out(faces)
    assert first == [(-np.inf, 1.6), (2.8, np.inf)]
    assert second == [(1.6, 2.8)]
    gains = [timeline.gain(part, start=0, length=4000, sample_rate=1000) for part in (first, second)]
    np.testing.assert_allclose(sum(gains), 1.0, atol=1e-6)
