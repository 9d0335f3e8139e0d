import subprocess
import sys

import numpy as np
import pytest
import torch

from unmingle.errors import CheckpointError, ConfigError, MissingFileError, UnknownModelError
from unmingle.inference import handle
from unmingle.inference.handle import Model, list_models, load_model
from unmingle.presets import PRESETS, TDANetConfig


@pytest.fixture
def shelf(tmp_path, tiny, monkeypatch):
    """A weights folder with one bundled model, the default one."""
    (tmp_path / "tiny-8k.safetensors").write_bytes(tiny.read_bytes())
    monkeypatch.setattr(handle, "WEIGHTS", tmp_path)
    monkeypatch.setattr(handle, "DEFAULT_MODEL", "tiny-8k")
    return tmp_path


def test_a_handle_knows_its_model_without_building_it(tiny):
    model = load_model(tiny)
    assert (model.name, model.sample_rate, model.n_src, model.causal) == ("tiny", 8000, 2, False)
    assert model.latency_seconds is None
    assert model.card.licence == "CC0-1.0"
    assert model._network is None


def test_the_network_is_built_once_and_runs(tiny):
    model = load_model(tiny)
    assert model.network is model.network
    assert not model.network.training
    estimates = model.run(np.zeros((3, 800), np.float32))
    assert estimates.shape == (3, 2, 800)
    assert estimates.dtype == np.float32


def test_loading_a_handle_does_not_import_torch(tiny):
    code = f"import sys, unmingle as u; u.load_model({str(tiny)!r}); u.list_models(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_bundled_model_is_loaded_by_name_and_by_default(shelf):
    assert load_model("tiny-8k").path == load_model().path == shelf / "tiny-8k.safetensors"


def test_bundled_models_are_listed_before_presets(shelf):
    first, *presets = list_models()
    assert (first.name, first.bundled, first.licence, first.n_src) == ("tiny-8k", True, "CC0-1.0", 2)
    assert first.parameters == 7055
    assert {entry.name for entry in presets} == set(PRESETS)
    assert not any(entry.bundled for entry in presets)


def test_an_unknown_name_brings_near_ones(shelf):
    with pytest.raises(UnknownModelError, match=r"bundled are tiny-8k.*did you mean 'tiny-8k'"):
        load_model("tiny-9k")


def test_a_preset_is_not_a_model_with_weights(shelf):
    with pytest.raises(UnknownModelError, match=r"tdanet-large is a preset.*no weights.*unmingle import"):
        load_model("tdanet-large")


def test_a_hub_repository_is_never_fetched_by_loading(shelf, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingFileError, match="unmingle models pull"):
        load_model("nobody/nothing-of-this-name")


@pytest.mark.parametrize("name", ["none.safetensors", "folder/none.safetensors"])
def test_a_path_that_is_not_there_is_called_missing(name, shelf):
    with pytest.raises(MissingFileError, match="no weights file"):
        load_model(name)


def test_damaged_and_foreign_weights_are_checkpoint_errors(tmp_path, tiny):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(tiny.read_bytes()[:100])
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_text("hello")
    for path in (damaged, foreign):
        with pytest.raises(CheckpointError, match=path.name):
            load_model(path)


def test_a_name_cannot_leave_the_weights_folder(shelf):
    with pytest.raises(MissingFileError):
        load_model("../tiny-8k.safetensors")


def test_a_device_that_is_not_there_is_an_error_of_ours(tiny):
    with pytest.raises(ConfigError, match="nonsense"):
        _ = load_model(tiny, device="nonsense").network


def test_a_network_at_hand_becomes_a_handle(tiny):
    network = load_model(tiny).network
    model = Model.from_network(network, name="mine")
    assert model.network is network
    assert model.to("cpu").run(np.zeros((1, 800), np.float32)).shape == (1, 2, 800)


def test_too_little_memory_is_an_error_in_words(tiny):
    model = load_model(tiny)
    model.network.forward = lambda mixture: torch.empty(10**16)
    with pytest.raises(MemoryError, match="more memory than there is"):
        model.run(np.zeros((1, 800), np.float32))


def test_an_engine_needs_no_network():
    model = Model("fake", TDANetConfig(), engine=lambda mixture: np.stack([mixture, 0 * mixture], axis=1))
    assert model.run(np.ones((1, 10), np.float32)).shape == (1, 2, 10)
    with pytest.raises(CheckpointError, match="no torch network"):
        _ = model.network
