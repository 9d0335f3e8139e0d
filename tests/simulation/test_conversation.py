"""Who talks when."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from unmingle.errors import ConfigError
from unmingle.simulation.conversation import ConversationSettings, Turn, plan_turns, speak, to_rttm
from unmingle.simulation.pool import Utterance
from unmingle.simulation.recipe import SimulationRecipe
from unmingle.simulation.simulator import Simulator

RATE = 1000
HALF_HOUR = ConversationSettings(seconds=1800.0)


def plan(seed: int, settings: ConversationSettings = HALF_HOUR, n_talkers: int = 3) -> list[Turn]:
    return plan_turns(np.random.default_rng(seed), settings, n_talkers=n_talkers, sample_rate=RATE)


def talking(turns: list[Turn], length: int) -> NDArray[np.int64]:
    """(time,) how many talk."""
    changes = np.zeros(length + 1, np.int64)
    for turn in turns:
        changes[turn.start] += 1
        changes[turn.stop] -= 1
    return np.cumsum(changes)[:-1]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4])
def test_so_much_of_the_speech_overlaps_as_was_asked_for(share: float) -> None:
    for seed in range(3):
        n_talking = talking(plan(seed, replace(HALF_HOUR, overlap=(share, share))), 1800 * RATE)
        assert n_talking.max() == 2
        assert (n_talking == 2).sum() / (n_talking > 0).sum() == pytest.approx(share, abs=0.03)


def test_nobody_talks_over_himself_and_everybody_talks() -> None:
    turns = plan(0)
    for talker in range(3):
        own = [turn for turn in turns if turn.talker == talker]
        assert len(own) > 20
        assert all(before.stop <= after.start for before, after in pairwise(own))


def test_long_pauses_come_as_often_as_asked_for() -> None:
    silent = np.flatnonzero(talking(plan(1), 1800 * RATE) > 0)
    assert int((np.diff(silent) > 15 * RATE).sum()) == 6


def test_the_voices_are_where_the_plan_says() -> None:
    turns = [Turn(0, 100, 400), Turn(0, 900, 300)]
    rng = np.random.default_rng(0)
    drawn = lambda length: 0.01 * rng.standard_normal(min(length, 350))  # noqa: E731 (shorter than a turn at times)
    track = speak(turns, drawn, length=1300, sample_rate=RATE)
    assert not track[:100].any()
    assert not track[500:900].any()
    assert not track[1200:].any()
    assert np.sqrt(np.mean(track[150:450] ** 2)) == pytest.approx(1.0, abs=0.2)
    echo = speak(turns, drawn, length=1300, sample_rate=RATE, response=np.eye(1, 60, 50)[0])
    assert np.abs(echo[:149]).max() < 1e-6
    assert np.abs(echo[500:549]).max() > 0.1


def test_a_simulated_conversation_adds_up_and_is_a_function_of_its_number() -> None:
    settings = ConversationSettings(seconds=40.0, talkers=(2, 3), long_pauses_per_hour=0.0)
    recipe = SimulationRecipe("voices", 2, sample_rate=RATE, seed=1, conversation=settings)
    utterances = [Utterance(f"{name}-{n}", name, None, 3 * RATE) for name in "abcd" for n in range(2)]

    def read(utterance: Utterance) -> NDArray[np.float32]:
        rng = np.random.default_rng(sum(utterance.id.encode()))
        return (0.1 * rng.normal(size=utterance.n_samples)).astype(np.float32)

    noise = np.random.default_rng(9).uniform(-0.5, 0.5, size=700).astype(np.float32)
    simulator = Simulator(recipe, utterances, read, noises=[lambda: noise])
    made, again = simulator.mixture(0), simulator.mixture(0)
    assert 2 <= len(made.sources) <= 3
    assert made.mixture.shape == (40 * RATE,)
    np.testing.assert_array_equal(made.mixture, again.mixture)
    assert made.noise is not None
    np.testing.assert_array_equal(made.mixture, made.sources.sum(0) + made.noise)
    for talker, source in enumerate(made.sources):
        heard = np.zeros(40 * RATE, bool)
        for turn in made.turns:
            heard[turn.start : turn.stop] |= turn.talker == talker
        assert heard.any()
        assert source[heard].any()
        assert not source[~heard].any()
    assert len({utterance.speaker for utterance in made.utterances}) == len(made.sources)


def test_turns_are_told_as_rttm() -> None:
    lines = to_rttm([Turn(1, 500, 1500)], name="talk", talkers=["anna", "berta b"], sample_rate=RATE)
    assert lines == "SPEAKER talk 1 0.500 1.500 <NA> <NA> berta_b <NA> <NA>\n"


@pytest.mark.parametrize("wrong", [{"talkers": (0, 2)}, {"overlap": (0.4, 0.1)}, {"overlap": (0.1, 0.9)}])
def test_what_is_no_conversation_is_refused(wrong: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ConfigError, match="conversation"):
        SimulationRecipe("voices", 1, conversation=ConversationSettings(**wrong))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no turn fits"):
        plan(0, ConversationSettings(seconds=0.5))
