from pathlib import Path

import pytest

from unmingle.errors import ConfigError, UnknownModelError
from unmingle.training.recipe import load_recipe, public_recipe_text, recipe_from_values, recipe_text

RECIPES = Path(__file__).parents[2] / "recipes"
PUBLISHED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {preset: tdanet, n_iterations: 4}\ntraining: {max_steps: 10}\n")
    return path


def test_a_preset_is_the_base_of_the_model(path):
    recipe = load_recipe(path, ["model.channels=64"])
    assert recipe.name == "mine"
    assert (recipe.model.family, recipe.model.n_iterations, recipe.model.channels) == ("tdanet", 4, 64)


def test_a_preset_may_be_named_alone_and_still_be_overridden(path):
    path.write_text("model: tdanet")
    assert load_recipe(path, ["model.n_iterations=2"]).model.n_iterations == 2


def test_a_recipe_written_back_is_the_same_recipe(path, tmp_path):
    recipe = load_recipe(path, ["training.lr=3e-4", "data.mixing.speed=[1, 1]", "training.schedule.kind=cosine_tail"])
    (tmp_path / "resolved.yaml").write_text(recipe_text(recipe))
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_no_folder_of_this_machine_travels_with_weights(path):
    recipe = load_recipe(path, ["data.speech=/data/speech/train.jsonl", "training.init_from=/runs/a/best.safetensors"])
    text = public_recipe_text(recipe)
    assert "train.jsonl" in text
    assert "best.safetensors" in text
    assert "/" not in text


@pytest.mark.parametrize(
    ("word", "error", "message"),
    [
        ("model.preset=tdanett", UnknownModelError, "did you mean 'tdanet'"),
        ("model.chanels=3", ConfigError, "did you mean 'channels'"),
        ("model.family=tdanet", ConfigError, "either preset"),
        ("modell.n_src=3", ConfigError, "did you mean 'model'"),
        ("data.batchsize=3", ConfigError, r"data\.batchsize; did you mean 'batch_size'"),
        ("data.n_src=3", ConfigError, r"model\.n_src is 2 but data\.n_src is 3"),
        ("training.loss.ordered_steps=9", ConfigError, "two voices of dynamic mixing"),
        ("training.lr=-1", ConfigError, "above 0"),
        ("training.betas=[1.0,0.9]", ConfigError, r"training\.betas is \[1\.0, 0\.9\]"),
        ("training.schedule.kind=cosine", ConfigError, r"training\.schedule\.kind"),
        ("training.schedule.every_epochs=0", ConfigError, r"training\.schedule\.every_epochs is 0.*1 or more"),
        ("training.schedule.floor=2", ConfigError, "1 or less"),
        ("training.loss.ordered_steps=-1", ConfigError, r"training\.loss\.ordered_steps"),
        ("training.validate_minutes=0", ConfigError, "above 0"),
        ("data.mixing.n_rooms=0", ConfigError, "n_rooms is 0"),
        ("name=3", ConfigError, "text was wanted"),
    ],
)
def test_what_is_wrong_is_named(path, word, error, message):
    with pytest.raises(error, match=message):
        load_recipe(path, [word])


def test_a_recipe_without_a_model_is_refused():
    with pytest.raises(ConfigError, match="names no model"):
        recipe_from_values({"name": "x"})


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_recipe_of_the_project_is_sound(name):
    recipe = load_recipe(RECIPES / f"{name}.yaml")
    assert recipe.name == name
    assert recipe.training.max_epochs or recipe.training.max_minutes


def test_the_recipes_hold_the_papers_numbers():
    afrcnn = load_recipe(RECIPES / "afrcnn-16-libri2mix.yaml")
    assert (afrcnn.data.segment_seconds, afrcnn.data.batch_size, afrcnn.data.sample_rate) == (3.0, 8, 8000)
    assert (afrcnn.training.max_epochs, afrcnn.training.loss.metric) == (200, "si_snr")
    tfacm = load_recipe(RECIPES / "tfacm-whamr.yaml")
    assert (tfacm.data.segment_seconds, tfacm.data.batch_size, tfacm.training.precision) == (4.0, 1, "float32")
    assert (tfacm.training.schedule.patience, tfacm.training.stop_patience, tfacm.training.max_epochs) == (10, 20, 500)
    tdanet = load_recipe(RECIPES / "tdanet-lrs2-2mix.yaml")
    assert (tdanet.data.segment_seconds, tdanet.data.batch_size, tdanet.data.sample_rate) == (2.0, 4, 16000)
    assert (tdanet.training.stop_patience, tdanet.training.loss.drop_above_db) == (30, 30)
