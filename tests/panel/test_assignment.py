"""Which voice belongs to which face."""

from __future__ import annotations

import numpy as np
import pytest

from unmingle.panel.assignment import Assignment, assign


def found(
    scores: list[list[float]], *, apart: tuple[tuple[int, int], ...] = (), still: tuple[int, ...] = ()
) -> Assignment:
    n_faces = len(scores)
    together = np.ones((n_faces, n_faces), bool)
    for one, other in apart:
        together[one, other] = together[other, one] = False
    return assign(np.array(scores), together, talking=[face not in still for face in range(n_faces)], certainty=0.6)


def test_every_face_gets_the_voice_that_goes_with_it() -> None:
    assert found([[5, -5], [-4, 4]]).voices == [0, 1]
    assert found([[-5, 5], [4, -4]]).voices == [1, 0]


def test_one_voice_has_one_face_of_those_seen_together() -> None:
    assert found([[6, -6], [3, -1]]).voices == [0, 1]
    assert found([[6, -6], [5, -5], [-4, 4]]).voices == [0, None, 1]


def test_faces_that_are_never_seen_together_may_share_a_voice() -> None:
    assert found([[6, -6], [5, -5], [-4, 4]], apart=((0, 1),)).voices == [0, 0, 1]


def test_a_still_mouth_gets_no_voice() -> None:
    assert found([[6, -6], [5, 4]], still=(1,)).voices == [0, None]
    assert found([[6, -6]], still=(0,)) == Assignment([None], [None])


def test_a_voice_that_contradicts_the_mouth_is_nobodys() -> None:
    assert found([[5, -5], [2, -4]]).voices == [0, None]


@pytest.mark.parametrize(("margin", "sure"), [(0.1, (0.3, 0.6)), (2.0, (0.8, 0.95)), (6.0, (0.98, 1.0))])
def test_confidence_follows_the_margin(margin: float, sure: tuple[float, float]) -> None:
    low, high = sure
    for confidence in found([[margin, -margin], [-margin, margin]]).confidence:
        assert confidence is not None
        assert low < confidence <= high


def test_without_evidence_the_confidence_is_low() -> None:
    assert all(confidence is not None and confidence < 0.5 for confidence in found([[0, 0], [0, 0]]).confidence)


def test_many_faces_are_assigned_in_time() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(30, 3)).tolist()
    apart = tuple((one, other) for one in range(30) for other in range(one) if one // 3 != other // 3)
    voices = found(scores, apart=apart).voices
    for shot in range(10):
        taken = [voice for voice in voices[3 * shot : 3 * shot + 3] if voice is not None]
        assert len(set(taken)) == len(taken)


def test_nobody_is_assigned_where_there_is_no_voice() -> None:
    assert assign(np.zeros((2, 0)), np.ones((2, 2), bool), talking=[True, True], certainty=1.0).voices == [None, None]
