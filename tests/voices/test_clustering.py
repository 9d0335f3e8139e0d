import numpy as np

from unmingle.voices.clustering import find_voices
from unmingle.voices.turns import NOBODY, follow

TURNS = ([0] * 9 + [2] * 9 + [NOBODY] * 3 + [1] * 9) * 2
TURNS_OF_TWO = ([0] * 9 + [NOBODY] * 3 + [1] * 9) * 2


def test_people_are_counted_as_long_as_they_differ(make_looks, centres):
    distinct = centres[[0, 2]]
    assert len(find_voices(make_looks([0] * 20 + [1] * 20, distinct))) == 2
    assert len(find_voices(make_looks([0] * 40, distinct))) == 1
    assert len(find_voices(make_looks(TURNS, centres))) == 2


def test_people_in_a_room_that_makes_all_of_them_alike_are_told_apart(make_looks, centres):
    in_a_room = centres[[0, 2]] + np.eye(4, 64)[3]
    in_a_room /= np.linalg.norm(in_a_room, axis=1, keepdims=True)  # a likeness of 0.5
    assert len(find_voices(make_looks(TURNS_OF_TWO, in_a_room))) == 2


def test_people_who_are_alike_are_found_when_their_number_is_known(make_looks, centres):
    voices = find_voices(make_looks(TURNS, centres), n_speakers=3)
    assert len(voices) == 3
    assert sorted(np.argmax(voices.centres @ centres.T, axis=1)) == [0, 1, 2]
    assert len(find_voices(make_looks(TURNS, centres), n_speakers=1)) == 1


def test_a_cough_is_nobody(make_looks, centres):
    people = [0] * 60 + [2] * 2 + [0] * 60
    assert len(find_voices(make_looks(people, centres))) == 1


def test_no_speech_is_no_voice(make_looks, centres):
    assert len(find_voices(make_looks([NOBODY] * 10, centres))) == 0


def test_the_course_follows_the_people_and_says_how_sure_it_is(make_looks, centres):
    distinct = centres[[0, 2]]
    people = [0] * 8 + [1] * 8 + [0] * 8
    course, margins = follow(make_looks(people, distinct), distinct)
    assert course[:, 0].tolist() == people
    assert (course[:, 1] == NOBODY).all()
    assert margins.min() > 0.3
    _, unsure = follow(make_looks(people, distinct, noise=1.5), distinct)
    assert unsure.mean() < margins.mean()
