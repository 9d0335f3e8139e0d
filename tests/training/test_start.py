import dataclasses
import logging
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from fakes import recipe

from unmingle.checkpoint import save_checkpoint
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models import build_model
from unmingle.presets.afrcnn import AFRCNNConfig
from unmingle.training.start import first_network


@pytest.fixture
def two_voices(tmp_path):
    """Weights of the tiny network, and their file."""
    torch.manual_seed(7)
    network = build_model(recipe().model)
    save_checkpoint(tmp_path / "two.safetensors", network, name="two")
    return network.state_dict(), str(tmp_path / "two.safetensors")


def three_voices(**training):
    wanted = recipe(**training)
    model, data = dataclasses.replace(wanted.model, n_src=3), dataclasses.replace(wanted.data, n_src=3)
    return dataclasses.replace(wanted, model=model, data=data)


def test_what_fits_is_taken_and_the_rest_begins_anew(two_voices, caplog):
    given, path = two_voices
    wanted = three_voices(init_from=path, init_partly=True)
    with caplog.at_level(logging.WARNING):
        state = first_network(wanted).state_dict()
    fresh = first_network(three_voices()).state_dict()
    changed = {key for key, value in state.items() if given[key].shape != value.shape}
    assert changed
    assert len(changed) < len(state)
    for key, value in state.items():
        assert torch.equal(value, fresh[key] if key in changed else given[key]), key
    assert all(key in caplog.text for key in changed)


def test_every_step_of_an_untied_network_begins_with_the_one_block(tmp_path):
    config = AFRCNNConfig(sample_rate=8000, window=20, n_basis=6, channels=4, hidden=4, depth=2, n_iterations=3)
    tied = build_model(config)
    save_checkpoint(tmp_path / "tied.safetensors", tied, name="tied")
    wanted = recipe(init_from=str(tmp_path / "tied.safetensors"))
    untied = first_network(dataclasses.replace(wanted, model=dataclasses.replace(config, tied=False)))
    mixture = torch.randn(1, 500)
    with torch.no_grad():
        assert torch.equal(untied(mixture), tied.eval()(mixture))
    save_checkpoint(tmp_path / "untied.safetensors", untied, name="untied")
    with pytest.raises(CheckpointError, match="do not fit"):
        first_network(dataclasses.replace(recipe(init_from=str(tmp_path / "untied.safetensors")), model=config))


def test_other_weights_are_refused_unless_a_part_is_asked_for(two_voices):
    with pytest.raises(CheckpointError, match="do not fit"):
        first_network(three_voices(init_from=two_voices[1]))


def test_a_part_of_nothing_or_of_another_network_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no training\.init_from"):
        first_network(three_voices(init_partly=True))
    other = AFRCNNConfig(sample_rate=8000, window=20, n_basis=6, channels=4, hidden=4, depth=2, n_iterations=1)
    save_checkpoint(tmp_path / "other.safetensors", build_model(other), name="other")
    with pytest.raises(CheckpointError, match="of another network"):
        first_network(recipe(init_from=str(tmp_path / "other.safetensors"), init_partly=True))
