"""One mixture from a recipe and a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from unmingle.errors import ConfigError
from unmingle.simulation.mixing import ratio_db, rms
from unmingle.simulation.pool import Utterance
from unmingle.simulation.recipe import SimulationRecipe
from unmingle.simulation.simulator import Simulator

RATE = 1000
RECIPE = SimulationRecipe("voices", 10, seconds=2.0, sample_rate=RATE, seed=1)
GENDERS = {"anna": "F", "berta": "F", "carl": "M", "dora": "F", "emil": "M"}
UTTERANCES = [
    Utterance(f"{speaker}-{number}", speaker, gender, RATE * length)
    for speaker, gender in GENDERS.items()
    for number, length in enumerate((2, 3, 5))
]


def read(utterance: Utterance) -> NDArray[np.float32]:
    rng = np.random.default_rng(sum(utterance.id.encode()))
    return (0.1 * rng.normal(size=utterance.n_samples)).astype(np.float32)


def noise() -> NDArray[np.float32]:
    return np.random.default_rng(9).uniform(-0.5, 0.5, size=700).astype(np.float32)


def simulator(recipe: SimulationRecipe = RECIPE, *, noisy: bool = False) -> Simulator:
    return Simulator(recipe, UTTERANCES, read, noises=[noise] if noisy else [])


def test_a_mixture_depends_on_its_number_alone() -> None:
    forward = [simulator().mixture(number).mixture for number in range(4)]
    one = simulator()
    backward = [one.mixture(number).mixture for number in reversed(range(4))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert len({mixture.tobytes() for mixture in forward}) == 4


def test_another_seed_is_another_corpus() -> None:
    other = simulator(replace(RECIPE, seed=2)).mixture(0)
    assert not np.array_equal(other.mixture, simulator().mixture(0).mixture)


@pytest.mark.parametrize("noisy", [False, True])
def test_the_parts_add_up_exactly(noisy: bool) -> None:
    made = simulator(noisy=noisy).mixture(0)
    rest = made.mixture - made.sources.sum(0)
    np.testing.assert_array_equal(rest, made.noise if noisy else 0)


def test_the_measured_levels_are_those_asked_for() -> None:
    recipe = replace(RECIPE, level_db=(4.0, 4.0), snr_db=(7.0, 7.0))
    for number in range(5):
        made = simulator(recipe, noisy=True).mixture(number)
        assert made.noise is not None
        assert ratio_db(made.sources[0] / 1, made.sources[1] / 1) == pytest.approx(4.0, abs=0.01)
        assert ratio_db(made.sources.sum(0) / 1, made.noise / 1) == pytest.approx(7.0, abs=0.01)
        assert made.snr_db == 7.0
        assert made.level_db == pytest.approx((2.0, -2.0))


def test_levels_stay_in_their_range_and_use_it() -> None:
    ratios = [ratio_db(*(simulator().mixture(number).sources / 1)) for number in range(60)]
    assert min(ratios) == pytest.approx(-5, abs=1)
    assert max(ratios) == pytest.approx(5, abs=1)
    assert all(-5.01 <= ratio <= 5.01 for ratio in ratios)


def test_min_mode_lasts_exactly_the_seconds_asked_for() -> None:
    assert {simulator().mixture(number).mixture.shape for number in range(10)} == {(2 * RATE,)}


def test_min_mode_without_seconds_lasts_as_long_as_the_shorter_voice() -> None:
    recipe = replace(RECIPE, seconds=None)
    for number in range(10):
        made = simulator(recipe).mixture(number)
        assert len(made.mixture) == min(utterance.n_samples for utterance in made.utterances)


def test_max_mode_keeps_the_longer_voice_and_the_shorter_ones_level() -> None:
    recipe = replace(RECIPE, seconds=None, mode="max", level_db=(0.0, 0.0))
    uneven = 0
    for number in range(10):
        made = simulator(recipe).mixture(number)
        lengths = [utterance.n_samples for utterance in made.utterances]
        assert len(made.mixture) == max(lengths)
        spoken = [source[:length] / 32768 for source, length in zip(made.sources, lengths, strict=True)]
        assert ratio_db(*spoken) == pytest.approx(0, abs=0.01)
        assert all(not source[length:].any() for source, length in zip(made.sources, lengths, strict=True))
        uneven += lengths[0] != lengths[1]
    assert uneven


def test_three_people_can_talk() -> None:
    made = simulator(replace(RECIPE, n_src=3)).mixture(0)
    assert made.sources.shape == (3, 2 * RATE)
    assert len({utterance.speaker for utterance in made.utterances}) == 3


def test_nobody_talks_over_themselves() -> None:
    for number in range(30):
        first, second = simulator().mixture(number).utterances
        assert first.speaker != second.speaker


def test_pair_types_take_turns() -> None:
    mixtures = [simulator(replace(RECIPE, pair_types=("MF", "FF", "MM"))).mixture(number) for number in range(9)]
    pairs = ["".join(sorted(str(utterance.gender) for utterance in made.utterances)) for made in mixtures]
    assert pairs == ["FM", "FF", "MM"] * 3
    assert {made.utterances[0].gender for made in mixtures[::3]} <= {"F", "M"}


def test_a_share_of_the_mixtures_gets_noise() -> None:
    recipe = replace(RECIPE, noise_share=0.5)
    noisy = sum(simulator(recipe, noisy=True).mixture(number).noise is not None for number in range(60))
    assert 18 <= noisy <= 42


def test_nothing_clips() -> None:
    made = simulator(replace(RECIPE, mixture_dbfs=10.0), noisy=True).mixture(0)
    assert np.abs(made.mixture.astype(int)).max() <= 0.99 * 32768


def test_the_mixture_has_the_level_asked_for() -> None:
    assert 20 * np.log10(rms(simulator().mixture(0).mixture / 32768)) == pytest.approx(-25, abs=0.01)


def test_a_measured_room_reverberates_the_sources() -> None:
    echo = np.zeros(200, np.float32)
    echo[[0, 150]] = [1.0, 0.5]
    dry = simulator().mixture(0)
    for targets, expected in (("reverberant", 0), ("early", 1)):
        recipe = replace(RECIPE, room_share=1.0, targets=targets)
        made = Simulator(recipe, UTTERANCES, read, rirs=[echo]).mixture(0)
        assert made.in_room
        assert made.utterances == dry.utterances
        left = np.abs(made.mixture - made.sources.sum(0)).max() > 100
        assert left == expected


def test_a_simulated_room_is_the_same_every_time() -> None:
    pytest.importorskip("pyroomacoustics")
    recipe = replace(RECIPE, room_share=1.0, sample_rate=RATE)
    first, second = (simulator(recipe).mixture(3) for _ in range(2))
    np.testing.assert_array_equal(first.sources, second.sources)


def test_pauses_are_drawn_again() -> None:
    def half_silent(utterance: Utterance) -> NDArray[np.float32]:
        samples = read(utterance)
        samples[: len(samples) // 2] = 0
        return samples

    made = Simulator(replace(RECIPE, seconds=0.2), UTTERANCES, half_silent)
    for number in range(20):
        assert all(rms(source / 32768) > 1e-3 for source in made.mixture(number).sources)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (replace(RECIPE, seconds=60.0), "none of the 15 utterances lasts 60.0 s"),
        (replace(RECIPE, n_src=6), "wants 6 different speakers"),
        (replace(RECIPE, n_src=3, pair_types=("MMM",)), "wants 3 speakers of gender M"),
    ],
)
def test_speech_that_does_not_suffice_is_an_error(recipe: SimulationRecipe, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulator(recipe)


def test_a_silent_speaker_is_an_error() -> None:
    silent = Simulator(RECIPE, UTTERANCES, lambda utterance: np.zeros(utterance.n_samples, np.float32))
    with pytest.raises(ConfigError, match="all silent"):
        silent.mixture(0)


def test_adding_noise_to_a_recipe_keeps_its_voices() -> None:
    for number in range(5):
        clean, noisy = simulator().mixture(number), simulator(noisy=True).mixture(number)
        assert clean.utterances == noisy.utterances
        assert np.corrcoef(clean.sources.ravel(), noisy.sources.ravel())[0, 1] > 0.9999
