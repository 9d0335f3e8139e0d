import numpy as np

from unmingle.inference.routing import Routing

TRACKS = np.random.default_rng(0).standard_normal((2, 1000)).astype(np.float32)


def test_straight_changes_nothing():
    np.testing.assert_array_equal(Routing.straight(2)(TRACKS, start=0), TRACKS)


def test_tracks_go_where_they_are_told_to():
    routing = Routing(3, (0, 300, 700), ((0, 1), (2, 0), (1, 1)), fade=10)
    voices = routing(TRACKS, start=0)
    np.testing.assert_allclose(voices[:2, :290], TRACKS[:, :290])
    np.testing.assert_allclose(voices[2, 310:690], TRACKS[0, 310:690])
    np.testing.assert_allclose(voices[0, 310:690], TRACKS[1, 310:690])
    np.testing.assert_allclose(voices[1, 710:], TRACKS[:, 710:].sum(axis=0))
    assert not voices[1, 310:690].any()
    assert not voices[[0, 2], 710:].any()


def test_the_voices_sum_to_the_tracks_at_every_sample():
    routing = Routing(3, (0, 300, 304, 700), ((0, 1), (2, 0), (0, 2), (1, 1)), fade=10)
    np.testing.assert_allclose(routing(TRACKS, start=0).sum(axis=0), TRACKS.sum(axis=0), atol=1e-6)


def test_the_result_does_not_depend_on_the_pieces():
    routing = Routing(2, (0, 300, 700), ((0, 1), (1, 0), (0, 0)), fade=50)
    whole = routing(TRACKS, start=0)
    pieces = [routing(TRACKS[:, start : start + 70], start=start) for start in range(0, 1000, 70)]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-6)
