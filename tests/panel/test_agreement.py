"""Mouths and voices that belong together agree; what cannot be told says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from unmingle.panel import agreement
from unmingle.panel.clock import tick_powers
from unmingle.video.tracks import FaceTrack

Face = Callable[..., FaceTrack]


def syllables(n_ticks: int, seed: int) -> np.ndarray:
    """How far a mouth is open, 0..1: bumps at irregular times."""
    random = np.random.default_rng(seed)
    bumps = np.convolve(random.uniform(size=n_ticks) < 0.18, np.hanning(7), "same")
    return np.clip(bumps, 0, 1)


def spoken(opening: np.ndarray, *, lag: int = 1) -> np.ndarray:
    """(n_ticks,) power of the voice of such a mouth, a little later."""
    return np.concatenate([np.zeros(lag), opening[: len(opening) - lag]]) ** 2 + 1e-5


@pytest.mark.parametrize("leak", [0.0, 0.4])
def test_a_mouth_agrees_with_its_own_voice(leak: float, make_face: Face) -> None:
    mouths = [syllables(250, seed) for seed in (1, 2)]
    voices = np.stack([spoken(mouth) for mouth in mouths])
    powers = voices + leak * voices[::-1]
    scores = agreement.score([make_face(f"face{k}", 0.3 * mouth + 0.02) for k, mouth in enumerate(mouths)], powers)
    assert scores[0, 0] > 3 > -3 > scores[0, 1]
    assert scores[1, 1] > 3 > -3 > scores[1, 0]


def test_the_shortest_looks_say_nothing(make_face: Face) -> None:
    for n_ticks in (3, 8, 12, 13):
        face = make_face("face1", 0.3 * syllables(n_ticks, 1)[:n_ticks] + 0.02)
        assert agreement.score([face], np.ones((2, n_ticks))).tolist() == [[0.0, 0.0]]


def test_a_longer_look_says_more(make_face: Face) -> None:
    scores = []
    for n_ticks in (50, 200, 800):
        mouths = [syllables(n_ticks, seed) for seed in (1, 2)]
        faces = [make_face("face1", 0.3 * mouths[0])]
        scores.append(agreement.score(faces, np.stack([spoken(mouth) for mouth in mouths]))[0, 0])
    assert scores == sorted(scores)


def test_chance_stays_within_what_chance_does(make_face: Face) -> None:
    found = [
        agreement.score(
            [make_face("face1", 0.3 * syllables(200, seed))],
            np.stack([spoken(syllables(200, seed + shift)) for shift in (1000, 2000)]),
        )[0, 0]
        for seed in range(40)
    ]
    assert 0.6 < np.std(found) < 1.8
    assert abs(np.mean(found)) < 0.7


def test_only_what_is_seen_counts(make_face: Face) -> None:
    mouths = [syllables(300, seed) for seed in (1, 2)]
    powers = np.stack([spoken(mouth) for mouth in mouths])
    half = np.where(np.arange(300) < 150, 0.3 * mouths[0], np.nan)
    swapped = powers.copy()
    swapped[:, 160:] = powers[::-1, 160:]  # what happens while the face is away
    assert agreement.score([make_face("face1", half)], swapped)[0, 0] > 3
    assert agreement.score([make_face("face1", np.full(300, np.nan))], powers).tolist() == [[0.0, 0.0]]


def test_who_has_the_turn_is_seen_in_the_liveliness(make_face: Face) -> None:
    random = np.random.default_rng(0)
    turn = np.arange(1000) // 100 % 2
    moving = 0.1 + random.normal(size=1000) * np.where(turn == 0, 0.05, 0.005)
    powers = np.stack([np.where(turn == 0, 1.0, 1e-4), np.where(turn == 1, 1.0, 1e-4)])
    scores = agreement.score([make_face("face1", np.abs(moving))], powers)
    assert scores[0, 0] > 1 > scores[0, 1]


@pytest.mark.parametrize(
    ("opening", "talks"),
    [
        (0.05 + 0.002 * np.random.default_rng(0).normal(size=100), False),  # jitter of landmarks
        (0.3 * syllables(100, 1), True),
        (np.concatenate([np.full(400, 0.05), 0.3 * syllables(50, 1)]), True),
        (np.concatenate([np.full(90, np.nan), np.full(10, 0.1)]), None),
        (np.full(100, np.nan), None),
    ],
)
def test_a_mouth_that_never_moves_does_not_talk(opening: np.ndarray, talks: bool | None, make_face: Face) -> None:
    assert agreement.talks(make_face("face1", opening)) is talks


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 11_127])
def test_a_click_is_heard_at_its_tick(rate: int) -> None:
    sound = np.zeros((2, 20 * rate), np.float32)
    sound[1, round(15.2 * rate)] = 1.0
    blocks = [sound[:, start : start + 12_345] for start in range(0, sound.shape[1], 12_345)]
    powers = tick_powers(blocks, sample_rate=rate, n_ticks=505)
    assert powers.shape == (2, 505)
    assert (int(np.argmax(powers[1])), powers[0].max()) == (380, 0.0)
    assert powers[1, 380] == pytest.approx(25 / rate, rel=0.01)
