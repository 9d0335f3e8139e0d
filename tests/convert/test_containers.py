"""Published wrappings: all of them open, none of them runs."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unmingle.convert.containers import read_published, strip_prefixes
from unmingle.errors import CheckpointError, MissingFileError

STATE = {"encoder.weight": torch.arange(6.0).reshape(2, 3), "sm.block.bias": torch.ones(2)}


class Runs:
    """A pickle of this object runs a command when it is opened carelessly."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


def prefixed(prefix: str) -> dict:
    return {prefix + key: value for key, value in STATE.items()}


def saved(tmp_path: Path, content: object, **options) -> Path:
    path = tmp_path / "model.pth"
    torch.save(content, path, **options)
    return path


VERSIONS = {"software_versions": {"torch_version": torch.__version__, "pytorch_lightning_version": "2.6.6"}}
CONTAINERS = {
    "state dict": STATE,
    "trainer": {"epoch": 3, "model_state_dict": STATE, "optim_state_dict": {"state": {}, "param_groups": []}},
    "look2hear": {"model_name": "TDANetBest", "state_dict": STATE, "model_args": {"n_src": 2}, "infos": VERSIONS},
    "lightning": {"epoch": 3, "state_dict": prefixed("audio_model."), "hyper_parameters": {"lr": 1e-3}},
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_tensors(tmp_path, container, legacy):
    path = saved(tmp_path, CONTAINERS[container], _use_new_zipfile_serialization=not legacy)
    published = read_published(path)
    assert published.container == container
    assert list(published.state) == list(STATE)
    assert all(torch.equal(published.state[key], STATE[key]) for key in STATE)


def test_a_safetensors_state_dict_is_a_container_too_whatever_its_name(tmp_path):
    path = tmp_path / "weights.bin"
    save_file(STATE, path)
    assert read_published(path).container == "safetensors"
    assert read_published(path).state.keys() == STATE.keys()


def test_a_look2hear_file_names_its_class_and_arguments(tmp_path):
    published = read_published(saved(tmp_path, CONTAINERS["look2hear"]))
    assert (published.model_name, published.model_args) == ("TDANetBest", {"n_src": 2})


@pytest.mark.parametrize("place", ["training_config", "hyper_parameters"])
def test_a_lightning_file_may_carry_the_whole_training_config(tmp_path, place):
    config = {"audionet": {"audionet_name": "TDANet", "audionet_config": {"num_blocks": 16}}}
    published = read_published(saved(tmp_path, {**CONTAINERS["lightning"], place: config}))
    assert (published.model_name, published.model_args) == ("TDANet", {"num_blocks": 16})


@pytest.mark.parametrize(
    "prefix", ["", "module.", "audio_model.", "audio_model.module.", "module.audio_model.", "module.module."]
)
def test_wrapper_prefixes_come_off_in_any_order(prefix):
    assert list(strip_prefixes(prefixed(prefix))) == list(STATE)


def test_two_models_in_one_state_dict_are_refused():
    with pytest.raises(CheckpointError, match=r"encoder\.weight is there twice"):
        strip_prefixes({**STATE, **prefixed("module.")})


def test_half_and_double_precision_become_float32_and_counters_stay(tmp_path):
    state = {
        "a": torch.ones(2).half(),
        "b": torch.ones(2).double(),
        "c": torch.ones(2).bfloat16(),
        "n": torch.tensor(3),
    }
    dtypes = [value.dtype for value in read_published(saved(tmp_path, state)).state.values()]
    assert dtypes == [torch.float32] * 3 + [torch.int64]


def test_parameters_and_ordered_dicts_are_plain_tensors_afterwards(tmp_path):
    module = torch.nn.Linear(2, 2)
    published = read_published(saved(tmp_path, OrderedDict(module.named_parameters())))
    assert [type(value) for value in published.state.values()] == [torch.Tensor] * 2
    assert not any(value.requires_grad for value in published.state.values())


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_wants_to_run_code_is_refused_and_does_not_run(tmp_path, legacy):
    witness = tmp_path / "witness"
    content = {"state_dict": STATE, "model_name": Runs(f"touch '{witness}'")}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"wants to run code .*\.system"):
        read_published(path)
    assert not witness.exists()


def test_a_whole_pickled_module_names_the_class_it_asks_for(tmp_path):
    with pytest.raises(CheckpointError, match=r"wants to run code .*torch\.nn\.modules\.linear\.Linear"):
        read_published(saved(tmp_path, torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2, 3], "holds a list"),
        ({}, "holds an empty dict"),
        (torch.zeros(3), "holds a Tensor"),
        ({"epoch": 1, "weights": STATE}, "epoch, weights are not tensors"),
        ({"model_name": "TDANet", "state_dict": None}, "holds a NoneType where its tensors were wanted"),
        ({"model_state_dict": {}}, "holds an empty dict where"),
        ({"state_dict": {3: torch.zeros(1)}}, "3 are not tensors"),
        ({"a": torch.tensor([1.0, float("nan")])}, "a holds NaN"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "complex64"),
        ({"a": torch.eye(2).to_sparse()}, "sparse"),
    ],
)
def test_contents_that_are_no_weights_are_described(tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        read_published(saved(tmp_path, content))


@pytest.mark.parametrize(
    "content", [b"", b"hello\n" * 99, b"PK\x03\x04" + b"\0" * 99, bytes(range(256)), pickle.dumps({"a": 1})]
)
def test_damaged_and_foreign_files_are_one_clear_error(tmp_path, content):
    path = tmp_path / "odd.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"odd\.pth"):
        read_published(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_files_are_one_clear_error(tmp_path, share, legacy):
    path = saved(tmp_path, CONTAINERS["look2hear"], _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="damaged or not a checkpoint"):
        read_published(path)


def test_missing_files_folders_and_our_own_files_are_told_apart(tmp_path):
    with pytest.raises(MissingFileError):
        read_published(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_published(tmp_path)
    save_file(STATE, tmp_path / "ours.safetensors", metadata={"family": "tdanet", "config": "{}"})
    with pytest.raises(CheckpointError, match="already"):
        read_published(tmp_path / "ours.safetensors")
