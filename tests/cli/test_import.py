"""`unmingle import`: a published file in, one of ours out."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch

from unmingle.checkpoint import load_checkpoint, read_card
from unmingle.convert import families, import_checkpoint
from unmingle.errors import ConfigError
from unmingle.models import build_model
from unmingle.presets import TDANetConfig

TINY = TDANetConfig(sample_rate=8000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)


def infer_config(state, *, model_name, model_args, overrides):
    if "num_blocks" not in model_args and "n_iterations" not in overrides:
        raise ConfigError("the file does not say how often the block is repeated; try --n-iterations 16")
    return TINY


def renamed(state, config):
    return {key.removeprefix("their."): value for key, value in state.items()}


@pytest.fixture(autouse=True)
def family(monkeypatch):
    """One family of published networks: the tiny TDANet, its tensors called `their.*`."""
    module = SimpleNamespace(
        recognises=lambda keys, model_name: all(key.startswith("their.") for key in keys),
        infer_config=infer_config,
        convert_state=renamed,
    )
    monkeypatch.setattr(families, "FAMILIES", (families.Row(module, tolerance=2e-5),))


@pytest.fixture
def published(tmp_path):
    torch.manual_seed(0)
    state = {f"module.their.{key}": value for key, value in build_model(TINY).state_dict().items()}
    content = {"model_name": "Theirs", "state_dict": state, "model_args": {"num_blocks": 2}, "infos": []}
    torch.save(content, tmp_path / "best_model.pth")
    torch.save(state, tmp_path / "bare.pth")
    return tmp_path / "best_model.pth"


def test_the_written_file_rebuilds_the_published_network(cli, published, tmp_path):
    out = tmp_path / "mine.safetensors"
    ran = cli("import", published, "-o", out, "--licence", "CC-BY-4.0", "--training-data", "LRS2")
    assert (ran.code, ran.err) == (0, "")
    mixture = torch.randn(1, 900)
    with torch.inference_mode():
        assert torch.equal(load_checkpoint(out)(mixture), import_checkpoint(published)(mixture))
    card = read_card(out)
    assert (card.name, card.licence, card.training_data, card.source) == ("mine", "CC-BY-4.0", "LRS2", "best_model.pth")


def test_what_was_inferred_is_printed(cli, published, tmp_path):
    ran = cli("import", published, "-o", tmp_path / "mine.safetensors", "--name", "theirs-8k")
    for part in ("theirs-8k: tdanet", "look2hear", "Theirs", "n_iterations", "sample_rate      8000"):
        assert part in ran.out


def test_what_had_to_be_guessed_is_a_warning(cli, published, tmp_path, monkeypatch):
    def guess(state, **known):
        logging.getLogger("unmingle.convert.theirs").warning("taken: 8000 Hz")
        return infer_config(state, **known)

    monkeypatch.setattr(families.FAMILIES[0].module, "infer_config", guess)
    ran = cli("import", published, "-o", tmp_path / "mine.safetensors", "--json")
    assert (ran.code, ran.err) == (0, "Warning: taken: 8000 Hz\n")
    json.loads(ran.out)


def test_what_was_inferred_is_printed_as_json(cli, published, tmp_path):
    out = tmp_path / "mine.safetensors"
    report = json.loads(cli("import", published, "-o", out, "--dtype", "float16", "--json").out)
    assert (report["name"], report["container"], report["published_class"]) == ("mine", "look2hear", "Theirs")
    assert (report["family"], report["config"]["depth"], report["dtype"]) == ("tdanet", 3, "float16")
    assert report["parameters"] == read_card(out).parameters


def test_the_number_of_iterations_is_asked_for_when_nobody_says_it(cli, published, tmp_path):
    out = tmp_path / "mine.safetensors"
    bare = tmp_path / "bare.pth"
    ran = cli("import", bare, "-o", out)
    assert (ran.code, ran.out) == (1, "")
    assert "--n-iterations 16" in ran.err
    assert not out.exists()
    assert cli("import", bare, "-o", out, "--n-iterations", "2").code == 0


def test_any_setting_of_the_network_can_be_given(cli, published, tmp_path, monkeypatch):
    taken = []
    module = families.FAMILIES[0].module
    monkeypatch.setattr(module, "infer_config", lambda state, **known: taken.append(known["overrides"]) or TINY)
    words = ("hop=64", "activation=prelu", "sample_rate=8000")
    assert cli("import", published, *words, "-o", tmp_path / "mine.safetensors").code == 0
    assert taken == [{"hop": 64, "activation": "prelu", "sample_rate": 8000}]
    ran = cli("import", published, "hop", "-o", tmp_path / "other.safetensors")
    assert (ran.code, "'hop' is not an override; write key=value" in ran.err) == (1, True)


def test_an_existing_output_is_kept_without_overwrite(cli, published, tmp_path):
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"precious")
    ran = cli("import", published, "-o", out)
    assert (ran.code, out.read_bytes()) == (1, b"precious")
    assert "--overwrite" in ran.err
    assert cli("import", published, "-o", out, "--overwrite").code == 0


@pytest.mark.parametrize("content", [b"", b"some text", None])
def test_a_file_that_is_no_checkpoint_is_one_message_and_leaves_nothing(cli, tmp_path, content):
    path = tmp_path / "odd.pth"
    if content is not None:
        path.write_bytes(content)
    ran = cli("import", path, "-o", tmp_path / "out.safetensors")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1
    assert "odd.pth" in ran.err
    assert not list(tmp_path.glob("*out*"))


def test_tensors_of_no_known_network_are_described(cli, tmp_path):
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "resnet.pth")
    ran = cli("import", tmp_path / "resnet.pth", "-o", tmp_path / "out.safetensors")
    assert ran.code == 1
    assert "such as conv.weight" in ran.err


def test_misuse_is_exit_code_2(cli, published):
    assert cli("import", published).code == 2
    assert cli("import").code == 2
