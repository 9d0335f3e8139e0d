import dataclasses
import logging
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from fakes import recipe

from unmingle.checkpoint import save_checkpoint
from unmingle.errors import CheckpointError, ConfigError, UnknownModelError
from unmingle.inference import handle
from unmingle.models import build_model
from unmingle.presets import AFRCNNConfig, TDANetConfig
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


def test_bundled_weights_are_known_by_name(two_voices, monkeypatch):
    given, path = two_voices
    monkeypatch.setattr(handle, "WEIGHTS", Path(path).parent)
    state = first_network(recipe(init_from="two")).state_dict()
    assert all(torch.equal(state[key], value) for key, value in given.items())
    with pytest.raises(UnknownModelError, match="'three'"):
        first_network(recipe(init_from="three"))


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


SMALL = {
    "afrcnn": AFRCNNConfig(
        sample_rate=8000, window=20, n_basis=6, channels=4, hidden=4, depth=2, n_iterations=3, tied=False
    ),
    "tdanet": TDANetConfig(sample_rate=8000, window_ms=4, channels=4, hidden=16, depth=2, n_iterations=2),
}


def wider(path, config, **sizes):
    wanted = recipe(init_from=str(path), init_wider=True)
    return dataclasses.replace(wanted, model=dataclasses.replace(config, **sizes))


@pytest.mark.parametrize("family", SMALL)
def test_a_wider_network_begins_by_computing_what_the_narrow_one_does_and_can_learn_more(family, tmp_path):
    torch.manual_seed(8)
    narrow = build_model(SMALL[family]).eval()
    save_checkpoint(tmp_path / "narrow.safetensors", narrow, name="narrow")
    wide = first_network(wider(tmp_path / "narrow.safetensors", SMALL[family], channels=7)).eval()
    mixture = torch.randn(2, 500)
    torch.testing.assert_close(wide(mixture), narrow(mixture), rtol=0, atol=1e-6)
    wide(mixture).square().mean().backward()
    grown = [value for key, value in wide.named_parameters() if key in narrow.state_dict()]
    grown = [value for value in grown if value.dim() == 3 and value.shape[1] == 7]
    assert grown
    assert all(value.grad is not None and bool(value.grad[:, 4:].any()) for value in grown)


def test_only_fewer_channels_fit_inside(tmp_path):
    config, path = SMALL["afrcnn"], tmp_path / "narrow.safetensors"
    save_checkpoint(path, build_model(config), name="narrow")
    for sizes in ({"channels": 3}, {"channels": 8, "n_iterations": 2}):
        with pytest.raises(CheckpointError, match=r"does not fit inside.*it has channels=4"):
            first_network(wider(path, config, **sizes))
    with pytest.raises(ConfigError, match="for tdanet from afrcnn"):
        first_network(wider(path, SMALL["tdanet"]))
    joined = dataclasses.replace(config, unfolding="CC")
    save_checkpoint(tmp_path / "joined.safetensors", build_model(joined), name="joined")
    with pytest.raises(ConfigError, match="only 'SC' and 'DC' can grow"):
        first_network(wider(tmp_path / "joined.safetensors", joined, channels=8))
    with pytest.raises(ConfigError, match="two ways to begin"):
        first_network(recipe(init_from=str(path), init_wider=True, init_partly=True))
