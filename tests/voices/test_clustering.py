import numpy as np
import pytest

from unmingle.voices.clustering import find_voices
from unmingle.voices.looks import TICKS, Looks
from unmingle.voices.turns import NOBODY, follow


def make_looks(people: list[int], centres: np.ndarray, *, noise: float = 0.1, together: bool = False) -> Looks:
    """A look per entry: one person alone on the first track, or (-1) nobody."""
    rng = np.random.default_rng(0)
    mixture = np.zeros((len(people), 64), np.float32)
    for look, person in enumerate(people):
        if person >= 0:
            vector = centres[person] + noise * rng.standard_normal(64) / 8 * 2
            mixture[look] = vector / np.linalg.norm(vector)
    tracks = np.zeros((2, len(people), 64), np.float32)
    powers = np.tile([[1.0], [1.0 if together else 1e-3]], (1, len(people) * TICKS))
    return Looks(mixture, tracks, powers, np.repeat(np.array(people) >= 0, TICKS))


@pytest.fixture
def centres() -> np.ndarray:
    """Two people who are alike (0.6), and one who is not."""
    centres = np.eye(3, 64)
    centres[1] = 0.6 * centres[0] + 0.8 * centres[1]
    return centres.astype(np.float32)


TURNS = ([0] * 9 + [2] * 9 + [NOBODY] * 3 + [1] * 9) * 2


def test_people_are_counted_as_long_as_they_differ(centres):
    distinct = centres[[0, 2]]
    assert len(find_voices(make_looks([0] * 20 + [1] * 20, distinct))) == 2
    assert len(find_voices(make_looks([0] * 40, distinct))) == 1
    assert len(find_voices(make_looks(TURNS, centres))) == 2


def test_people_who_are_alike_are_found_when_their_number_is_known(centres):
    voices = find_voices(make_looks(TURNS, centres), n_speakers=3)
    assert len(voices) == 3
    assert sorted(np.argmax(voices.centres @ centres.T, axis=1)) == [0, 1, 2]
    assert len(find_voices(make_looks(TURNS, centres), n_speakers=1)) == 1


def test_a_cough_is_nobody(centres):
    people = [0] * 60 + [2] * 2 + [0] * 60
    assert len(find_voices(make_looks(people, centres))) == 1


def test_no_speech_is_no_voice(centres):
    assert len(find_voices(make_looks([NOBODY] * 10, centres))) == 0


def test_the_course_follows_the_people_and_says_how_sure_it_is(centres):
    distinct = centres[[0, 2]]
    people = [0] * 8 + [1] * 8 + [0] * 8
    course, margins = follow(make_looks(people, distinct), distinct)
    assert course[:, 0].tolist() == people
    assert (course[:, 1] == NOBODY).all()
    assert margins.min() > 0.3
    _, unsure = follow(make_looks(people, distinct, noise=1.5), distinct)
    assert unsure.mean() < margins.mean()
