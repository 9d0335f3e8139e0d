"""Rooms and what they do to a voice."""

from __future__ import annotations

import numpy as np
import pytest

from unmingle.simulation.rooms import RoomSettings, draw_room, early_part, from_direct_sound, reverberate

pytest.importorskip("pyroomacoustics")

RATE = 8000


def test_a_room_is_a_function_of_its_generator() -> None:
    first, second = (draw_room(np.random.default_rng(3), n_src=2, sample_rate=RATE) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = draw_room(np.random.default_rng(4), n_src=2, sample_rate=RATE)
    assert other.shape != first.shape or not np.allclose(other, first)


def test_every_talker_is_heard_at_once() -> None:
    responses = draw_room(np.random.default_rng(0), n_src=3, sample_rate=RATE)
    assert len(responses) == 3
    np.testing.assert_allclose(responses[:, 0], 1.0)
    assert np.isfinite(responses).all()


def test_a_longer_reverberation_time_leaves_more_behind() -> None:
    def late_energy(rt60: float) -> float:
        settings = RoomSettings(rt60=(rt60, rt60))
        responses = draw_room(np.random.default_rng(1), n_src=1, sample_rate=RATE, settings=settings)
        return float(np.square(responses[:, RATE // 20 :]).sum())

    assert late_energy(0.5) > 3 * late_energy(0.2)


def test_a_room_too_large_to_be_that_dry_is_made_as_dry_as_it_can_be() -> None:
    hall = RoomSettings(length=(40, 40), width=(30, 30), height=(12, 12), rt60=(0.1, 0.1))
    assert draw_room(np.random.default_rng(0), n_src=1, sample_rate=RATE, settings=hall).shape[0] == 1


def test_the_direct_sound_comes_first_even_when_an_echo_is_louder() -> None:
    response = np.zeros(50)
    response[[10, 30]] = [0.6, -1.0]
    cut = from_direct_sound(response)
    assert cut[0] == 1.0
    assert cut[20] == pytest.approx(-1 / 0.6)


def test_the_early_part_ends_after_50_ms() -> None:
    assert early_part(np.ones((2, RATE), np.float32), sample_rate=RATE).shape == (2, 400)


def test_reverberation_is_convolution_cut_to_the_signal() -> None:
    rng = np.random.default_rng(0)
    signal, response = rng.normal(size=300), rng.normal(size=70)
    np.testing.assert_allclose(reverberate(signal, response), np.convolve(signal, response)[:300], atol=1e-4)
