"""Training a network that watches the speakers."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from fakes import LIPS, TIME, Faces, KilledError, av_recipe, faces, same_weights

from unmingle.checkpoint import load_checkpoint, save_checkpoint
from unmingle.config import read_values
from unmingle.convert.lip_reading import published_lip_key
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models import build_model
from unmingle.models.lipreading import prepare_crops
from unmingle.training.recipe import recipe_from_values
from unmingle.training.trainer import train
from unmingle.training.validation import answer, validate

VALIDATION = [faces(1000), faces(1001)]


def run(folder, *, batches=None, resume=False, lips=None, **settings):
    recipe = av_recipe(lips=lips, **settings)
    return train(recipe, folder, batches=batches or Faces(), validation=VALIDATION, resume=resume)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, run(folder)


def test_the_weights_hold_the_lip_reader_that_was_trained(finished):
    folder, result = finished
    assert result.finished
    network = load_checkpoint(folder / "last.safetensors")
    state = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[f"average.{key}"]) for key, value in network.state_dict().items())
    first = build_model(av_recipe().model).state_dict()
    assert not torch.equal(network.state_dict()["lips.stem.0.weight"], first["lips.stem.0.weight"])
    batch = VALIDATION[0]
    assert network(batch.mixture, prepare_crops(batch.video, size=12)).shape == (2, 1, TIME)
    assert recipe_from_values(read_values(folder / "recipe.yaml")) == av_recipe()


def test_a_killed_run_resumes_to_the_same_weights_bit_by_bit(tmp_path, finished):
    with pytest.raises(KilledError):
        run(tmp_path, batches=Faces(dies_at=5), checkpoint_steps=2)
    assert run(tmp_path, checkpoint_steps=2, resume=True).standing.step == 6
    assert same_weights(tmp_path / "last.safetensors", finished[0] / "last.safetensors")


def test_the_network_learns_to_follow_the_picture(tmp_path):
    run(tmp_path, max_steps=40, validate_steps=40, lr=2e-2, ema_decay=0.0)
    network = load_checkpoint(tmp_path / "last.safetensors")
    right = validate(network, VALIDATION, device=torch.device("cpu")).improvement
    swapped = [batch._replace(video=batch.video.flip(0)) for batch in VALIDATION]
    wrong = validate(network, swapped, device=torch.device("cpu")).improvement
    assert right > 3.5  # the best answer that is the same for both faces gains 3 dB at most
    assert wrong < -3.5


@pytest.fixture
def reader(tmp_path):
    """Weights of another network with the same lip reader, its statistics moved."""
    torch.manual_seed(3)
    network = build_model(replace(av_recipe().model, channels=4))
    network.train()
    network.read_lips(torch.randn(2, 5, 12, 12))
    save_checkpoint(tmp_path / "reader.safetensors", network, name="reader")
    return tmp_path / "reader.safetensors"


def lips_of(path, prefix="lips."):
    return {key.removeprefix(prefix): value for key, value in load_file(path).items() if key.startswith(prefix)}


@pytest.mark.parametrize("learns", ["nothing", "statistics"])
def test_a_frozen_lip_reader_stays_as_it_came(tmp_path, reader, learns):
    run(tmp_path / "run", lips={"learns": learns}, lip_reader=str(reader), max_steps=2, ema_decay=0.0)
    before, after = lips_of(reader), lips_of(tmp_path / "run" / "last.safetensors")
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert all("running" in key or "num_batches" in key for key in moved)
    assert bool(moved) == (learns == "statistics")


def test_a_published_lip_reader_is_read_by_its_own_names(tmp_path, reader):
    published = {published_lip_key(key): value for key, value in lips_of(reader).items()}
    published = {k: v + 0.5 if k.endswith("bn1.weight") else v for k, v in published.items()}
    torch.save({"model_state_dict": {**published, "tcn.ms_tcn.weight": torch.ones(2)}}, tmp_path / "lrw.pth.tar")
    run(
        tmp_path / "run",
        lips={"learns": "nothing"},
        lip_reader=str(tmp_path / "lrw.pth.tar"),
        max_steps=1,
        ema_decay=0.0,
    )
    after = lips_of(tmp_path / "run" / "last.safetensors")
    assert all(torch.equal(after[key], published[published_lip_key(key)]) for key in after)
    assert str(tmp_path) not in (tmp_path / "run" / "last.safetensors").read_bytes()[:20_000].decode("latin1")


def test_a_lip_reader_that_learns_nothing_must_come_from_somewhere(tmp_path):
    with pytest.raises(ConfigError, match=r"weights are random.*training\.lip_reader"):
        run(tmp_path, lips={"learns": "nothing"})


def test_another_lip_reader_is_refused(tmp_path, reader):
    with pytest.raises(CheckpointError, match=r"not the one that the recipe wants.*tensors do not fit"):
        run(tmp_path / "run", lips={"stem": 5}, lip_reader=str(reader))


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ({}, {"video": None}, r"data\.video is None, but a iianet network wants to see a face"),
        ({"lips": None}, {}, "wants? .*lip reader|lip reader"),
        ({"n_src": 2}, {}, "set n_src=1"),
        ({"lips": {**LIPS, "crop": 10}}, {}, r"model\.lips\.crop is 10 but data\.video\.crop is 12"),
        ({"family": "tdanet"}, {}, "sees nobody"),
    ],
)
def test_a_network_and_data_that_do_not_fit_are_refused(model, data, message):
    from unmingle.training.recipe import recipe_values

    values = recipe_values(av_recipe())
    values["model"] = model if "family" in model else {**values["model"], **model}
    values["data"] = {**values["data"], **data}
    if "family" in model:
        values["model"]["sample_rate"] = 8000
    with pytest.raises(ConfigError, match=message):
        recipe_from_values(values)


def test_sound_alone_is_answered_without_a_picture():
    class Echo(torch.nn.Module):
        def forward(self, mixture):
            return mixture.unsqueeze(1)

    mixture = torch.ones(1, 4)
    assert torch.equal(answer(Echo(), mixture, None), mixture.unsqueeze(1))
