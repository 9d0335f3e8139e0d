import numpy as np
import pytest

from unmingle.errors import ManifestError
from unmingle.evaluation.activity import activity_error, assign, read_rttm, to_activity

ANNA, BERTA = [(1.0, 4.0)], [(3.0, 6.0)]
SPOKEN = to_activity({"anna": ANNA, "berta": BERTA}, seconds=10.0)


def error(*, collar=0.0, **found):
    return activity_error(found=to_activity(found, seconds=10.0), spoken=SPOKEN, collar=collar)


def test_the_right_answer_under_other_names_is_right():
    right = error(spk1=BERTA, spk2=ANNA)
    assert (right.rate, right.spoken) == (0.0, pytest.approx(6.0))


def test_what_is_missed_and_what_is_false_is_counted():
    found = error(spk1=[(1.0, 4.0)], spk2=[(3.0, 5.0), (8.0, 8.5)])
    assert (found.missed, found.false, found.confused) == pytest.approx((1.0, 0.5, 0.0))
    assert found.rate == pytest.approx(0.25)


def test_speech_of_somebody_else_is_confused():
    found = error(spk1=[(1.0, 3.0), (4.0, 6.0)], spk2=[(3.0, 4.0)])
    assert found.missed == pytest.approx(1.0)  # of two voices together, one was found
    assert found.confused == pytest.approx(2.0)


def test_a_collar_forgives_the_edges():
    late = {"spk1": [(1.2, 4.2)], "spk2": [(3.2, 5.9)]}
    assert error(**late).rate > 0.05
    assert error(**late, collar=0.25).rate == 0.0


def test_fewer_tracks_than_people_and_more():
    assert error(spk1=ANNA).missed == pytest.approx(3.0)
    assert error(spk1=ANNA, spk2=BERTA, spk3=[(7.0, 9.0)]).false == pytest.approx(2.0)
    assert error().missed == pytest.approx(6.0)


def test_two_recordings_add_up():
    both = error(spk1=ANNA) + error(spk1=ANNA, spk2=BERTA)
    assert both.rate == pytest.approx(0.25)


def test_pairs_are_found_in_any_shape():
    scores = np.array([[1.0, 5.0, 2.0], [4.0, 6.0, 0.0]])
    assert dict(assign(scores)) == {0: 1, 1: 0}
    assert dict(assign(scores.T)) == {0: 1, 1: 0}
    assert assign(np.zeros((0, 3))) == []


def test_rttm_is_read(tmp_path):
    path = tmp_path / "a.rttm"
    path.write_text(";; a comment\nSPEAKER a 1 0.5 1.25 <NA> <NA> anna <NA> <NA>\nSPEAKER a 1 3 1 <NA> <NA> anna\n")
    assert read_rttm(path) == {"anna": [(0.5, 1.75), (3.0, 4.0)]}
    path.write_text("SPEAKER a 1 half\n")
    with pytest.raises(ManifestError, match="line 1"):
        read_rttm(path)
