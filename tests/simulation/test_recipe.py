"""Recipes are read strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmingle.errors import ConfigError, MissingFileError
from unmingle.simulation.conversation import ConversationSettings
from unmingle.simulation.recipe import SimulationRecipe, load_simulation_recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("speech: voices\nn_mixtures: 3\nlevel_db: [-3, 3]\nroom: {rt60: [0.2, 0.3]}\n")
    return path


def test_a_recipe_is_read_with_its_overrides(recipe: Path) -> None:
    loaded = load_simulation_recipe(recipe, ["seed=4", "room.height=[3, 3]", "mode=max", "seconds=null"])
    assert (loaded.seed, loaded.mode, loaded.seconds, loaded.level_db) == (4, "max", None, (-3.0, 3.0))
    assert (loaded.room.height, loaded.room.rt60) == ((3.0, 3.0), (0.2, 0.3))


def test_the_recipes_of_the_repository_load() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "data"
    for path in folder.glob("*.yaml"):
        assert load_simulation_recipe(path).n_mixtures > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("n_mixture=3", "n_mixture; did you mean 'n_mixtures'"),
        ("room.rt6=[1, 2]", "did you mean 'rt60'"),
        ("n_src=1", "2 or more"),
        ("n_mixtures=many", "n_mixtures"),
        ("noise_share=1.5", "between 0 and 1"),
        ("snr_db=[10, 0]", "lower bound comes first"),
        ("pair_types=[MX]", "letters of F and M"),
        ("mode=middle", "mode"),
        ("seconds=0", "above 0"),
        ("seed=-1", "0 or more"),
        ("speech=null", "speech must be given"),
        ("room.rt60=[0.5, 0.2]", "lower bound comes first"),
        ("room.height=[0, 3]", "above 0"),
    ],
)
def test_what_no_mixture_can_be_made_from_is_an_error(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("'", ".")):
        load_simulation_recipe(recipe, [override])


def test_a_recipe_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_simulation_recipe(tmp_path / "no.yaml")


def test_the_rooms_of_a_conversation_stay_in_its_targets() -> None:
    with pytest.raises(ConfigError, match="keep their rooms"):
        SimulationRecipe("a", 1, targets="early", conversation=ConversationSettings())
