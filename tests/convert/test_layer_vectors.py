from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from unmingle.convert.check import check_file

FOLDER = Path(__file__).parents[1] / "vectors"
NAMES = ["mamba_block_bidir", "mamba_block_unidir", "selective_scan", "spmamba_model_a", "spmamba_model_b"]


def read(name):
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)


@pytest.mark.parametrize("name", NAMES)
def test_the_vectors_are_ok(name):
    verdict = check_file(FOLDER / f"{name}.safetensors")
    assert verdict.ok, verdict.reason


@pytest.mark.parametrize(
    ("name", "key", "where"),
    [
        ("mamba_block_bidir", "output", "output differs"),
        ("mamba_block_unidir", "mixer0_output", "mixer0_output differs"),
        ("selective_scan", "L7/last_state", "L7/last_state differs"),
        ("selective_scan", "L500_large_delta/output", "L500_large_delta/output differs"),
    ],
)
@pytest.mark.parametrize("wrong", [float("nan"), 0.1])
def test_one_wrong_number_fails_and_is_named(tmp_path, name, key, where, wrong):
    metadata, tensors = read(name)
    tensors[key].flatten()[3] += wrong
    save_file(tensors, tmp_path / "wrong.safetensors", metadata)
    verdict = check_file(tmp_path / "wrong.safetensors")
    assert not verdict.ok
    assert verdict.reason == where


@pytest.mark.parametrize("name", ["mamba_block_bidir", "selective_scan"])
def test_missing_tensors_and_wrong_shapes_fail_in_words(tmp_path, name):
    metadata, tensors = read(name)
    key = "state/forward_blocks.0.mixer.D" if name == "mamba_block_bidir" else "L7/last_state"
    tensors[key] = torch.zeros(3)
    save_file(tensors, tmp_path / "wrong.safetensors", metadata)
    verdict = check_file(tmp_path / "wrong.safetensors")
    assert not verdict.ok
    assert "mixer.D" in verdict.reason or "is stored" in verdict.reason
