import numpy as np
import pytest

from unmingle.voices.settling import settle

TURNS = ([0] * 9 + [1] * 9) * 3


@pytest.fixture
def people(centres) -> np.ndarray:
    return centres[[0, 2]]


def of_length_one(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_two_guesses_at_one_person_are_joined(make_looks, people):
    guess = of_length_one(people[[0, 0, 1]] + 0.5 * np.eye(6, 64)[3:])
    found, seconds = settle(make_looks(TURNS, people), guess, n_speakers=None, most=8)
    assert sorted(np.argmax(found @ people.T, axis=1)) == [0, 1]
    assert seconds.tolist() == [13.5, 13.5]


def test_guesses_that_mix_two_people_become_these_people(make_looks, people):
    guess = of_length_one(people + 0.5 * people[::-1])
    assert guess[0] @ guess[1] > 0.75
    found, _ = settle(make_looks(TURNS, people), guess, n_speakers=None, most=8)
    assert np.max(found @ people.T, axis=1).min() > 0.95


def test_who_hardly_speaks_is_nobody_unless_announced(make_looks, people):
    looks = make_looks([0] * 40 + [1] * 3 + [0] * 20, people)
    counted, _ = settle(looks, people, n_speakers=None, most=8)
    announced, seconds = settle(looks, people, n_speakers=2, most=8)
    assert (len(counted), len(announced), seconds[1]) == (1, 2, 1.5)


def test_no_more_people_are_left_than_there_can_be(make_looks, people):
    found, _ = settle(make_looks(TURNS, people), people, n_speakers=None, most=1)
    assert len(found) == 1
