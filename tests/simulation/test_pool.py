"""Who is drawn, and how often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from unmingle.errors import ConfigError
from unmingle.simulation.pool import SpeakerPool, Utterance, draw_by

RATE = 100


def pool(seconds: dict[str, list[float]]) -> SpeakerPool:
    utterances = [
        Utterance(f"{speaker}-{number}", speaker, "F" if speaker < "m" else "M", round(RATE * length))
        for speaker, lengths in seconds.items()
        for number, length in enumerate(lengths)
    ]
    return SpeakerPool(utterances, sample_rate=RATE)


def test_speakers_are_drawn_by_the_root_of_their_clipped_seconds() -> None:
    odds = pool({"a": [5], "b": [40, 50], "c": [3600]}).odds
    np.testing.assert_allclose(odds, np.sqrt([10, 90, 600]))


def test_a_speaker_with_one_utterance_is_heard_about_as_often_as_the_odds_say() -> None:
    speakers = pool({"a": [12.5], "b": [600] * 3})
    rng = np.random.default_rng(0)
    drawn = Counter(speakers.draw_speaker(rng) for _ in range(20_000))
    assert drawn[0] / 20_000 == pytest.approx(np.sqrt(12.5) / (np.sqrt(12.5) + np.sqrt(600)), abs=0.01)


def test_every_second_of_a_speaker_is_as_likely() -> None:
    speakers = pool({"a": [1, 3]})
    rng = np.random.default_rng(0)
    drawn = Counter(speakers.draw_utterance(rng, 0) for _ in range(20_000))
    assert drawn[1] / 20_000 == pytest.approx(0.75, abs=0.01)


def test_nobody_is_drawn_twice() -> None:
    speakers = pool({"a": [10], "b": [10], "c": [10]})
    rng = np.random.default_rng(0)
    for _ in range(100):
        first = speakers.draw_speaker(rng)
        assert speakers.draw_speaker(rng, without=[first]) != first


def test_a_gender_can_be_asked_for() -> None:
    speakers = pool({"a": [10], "b": [10], "x": [10], "y": [10]})
    rng = np.random.default_rng(0)
    men = {speakers.draw_speaker(rng, among=speakers.of_gender("M")) for _ in range(100)}
    assert men == {2, 3}


def test_a_gender_nobody_has_left_is_disregarded() -> None:
    speakers = pool({"a": [10], "b": [10], "x": [10]})
    drawn = speakers.draw_speaker(np.random.default_rng(0), without=[2], among=speakers.of_gender("M"))
    assert drawn in {0, 1}


def test_more_speakers_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match="more different speakers than the 1"):
        pool({"a": [10]}).draw_speaker(np.random.default_rng(0), without=[0])


def test_the_order_of_the_files_plays_no_part() -> None:
    utterances = [Utterance(name, name[0], None, 100) for name in ("b1", "a2", "a1")]
    drawn = [
        pool.utterances[pool.draw_utterance(np.random.default_rng(seed), 0)].id
        for pool in (SpeakerPool(utterances, sample_rate=10), SpeakerPool(utterances[::-1], sample_rate=10))
        for seed in range(5)
    ]
    assert drawn[:5] == drawn[5:]


def test_drawing_never_leaves_the_range() -> None:
    class Highest(np.random.Generator):
        def random(self, *args: object, **kwargs: object) -> float:  # type: ignore[override]
            return float(np.nextafter(1, 0))

    assert draw_by(Highest(np.random.PCG64()), np.cumsum([1.0, 2.0, 0.0])) <= 1
