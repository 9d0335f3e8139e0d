"""The parity command: one line per file, whatever the files are."""

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from unmingle.convert import check, families
from unmingle.models import build_model
from unmingle.presets import TDANetConfig

TINY = TDANetConfig(sample_rate=8000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)


def renamed(state, config):
    return {key.removeprefix("their."): value for key, value in state.items()}


@pytest.fixture(autouse=True)
def family(monkeypatch):
    """One family of published networks: the tiny TDANet, its tensors called `their.*`."""
    module = SimpleNamespace(families=("fake/",), config_from_published=lambda spec: TINY, convert_state=renamed)
    monkeypatch.setattr(families, "FAMILIES", (families.Row(module, tolerance=2e-5),))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(TINY).eval()


def contents(network, shape=(2, 900), prefix="their."):
    mixture = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        output = network(mixture.reshape(-1, shape[-1]))
    state = {f"state/{prefix}{key}": value.clone() for key, value in network.state_dict().items()}
    return {
        **state,
        "input": mixture,
        "output": output.clone().reshape(-1, shape[-1]) if len(shape) == 1 else output.clone(),
    }


def write(path, tensors, **spec):
    save_file(tensors, path, metadata={"spec": json.dumps({"family": "fake/tiny", "config": {}, **spec})})
    return path


@pytest.mark.parametrize("shape", [(900,), (1, 900), (2, 900), (1, 1, 900), (3, 1, 777)])
def test_input_of_every_published_rank_is_compared(network, tmp_path, shape):
    verdict = check.check_file(write(tmp_path / "v.safetensors", contents(network, shape)))
    assert verdict.ok
    assert verdict.max_abs_error < 1e-6


def test_networks_that_keep_the_batch_axis_of_a_single_mixture_are_compared(network, tmp_path):
    tensors = contents(network, (900,))
    tensors["output"] = tensors["output"].unsqueeze(0)
    assert check.check_file(write(tmp_path / "v.safetensors", tensors)).ok


@pytest.mark.parametrize("prefix", ["module.their.", "audio_model.their.", "audio_model.module.their."])
def test_wrapper_prefixes_do_not_matter(network, tmp_path, prefix):
    assert check.check_file(write(tmp_path / "v.safetensors", contents(network, prefix=prefix))).ok


def test_double_precision_weights_are_run_in_single(network, tmp_path):
    tensors = {key: value.double() for key, value in contents(network).items()}
    assert check.check_file(write(tmp_path / "v.safetensors", tensors)).ok


def test_the_command_prints_one_line_per_file_and_fails_when_any_does(network, tmp_path, capsys):
    good = contents(network)
    worse = {**good, "output": good["output"] + 1e-3}
    paths = [
        write(tmp_path / "good.safetensors", good),
        write(tmp_path / "worse.safetensors", worse),
        tmp_path / "gone",
    ]
    assert check.main([str(path) for path in paths]) == 1
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert [(row[0], row[2]) for row in rows] == [
        ("good.safetensors", "ok"),
        ("worse.safetensors", "FAIL"),
        ("gone", "FAIL"),
    ]
    assert float(rows[0][1]) < 1e-6
    assert float(rows[1][1]) == pytest.approx(1e-3, rel=1e-2)
    assert math.isnan(float(rows[2][1]))
    assert err.splitlines() == [f"gone: there is no file {tmp_path / 'gone'}; check the path"]


def test_the_command_succeeds_when_every_file_does(network, tmp_path):
    path = str(write(tmp_path / "good.safetensors", contents(network)))
    assert check.main([path, path]) == 0


@pytest.mark.parametrize("error", [1.5e-5, 2.5e-5])
def test_the_tolerance_is_the_familys(network, tmp_path, error):
    tensors = contents(network)
    verdict = check.check_file(write(tmp_path / "v.safetensors", {**tensors, "output": tensors["output"] + error}))
    assert verdict.ok == (error < 2e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_a_failure(network, tmp_path, value):
    tensors = contents(network)
    tensors["output"][0, 0, 0] = value
    assert not check.check_file(write(tmp_path / "v.safetensors", tensors)).ok


def spoiled(network, how):
    tensors = contents(network)
    key = "state/their.encoder.weight"
    match how:
        case "missing":
            del tensors[key]
        case "surplus":
            tensors["state/their.invented"] = torch.zeros(1)
        case "misshapen":
            tensors[key] = torch.zeros(1, 1, 1)
        case "no input":
            del tensors["input"]
        case "no state":
            tensors = {"input": tensors["input"], "output": tensors["output"]}
        case "two channels":
            tensors["input"] = torch.zeros(2, 2, 900)
        case "other length":
            tensors["output"] = tensors["output"][..., :-1].contiguous()
    return tensors


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "1 missing: encoder.weight"),
        ("surplus", "1 surplus: invented"),
        ("misshapen", "encoder.weight is (1, 1, 1) instead of"),
        ("no input", "holds no input"),
        ("no state", "holds no state/ tensors"),
        ("two channels", "(2, 2, 900)"),
        ("other length", "(2, 2, 899) is stored"),
    ],
)
def test_a_vector_that_does_not_fit_says_why(network, tmp_path, how, reason):
    verdict = check.check_file(write(tmp_path / "v.safetensors", spoiled(network, how)))
    assert not verdict.ok
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "it does not say"),
        ({"kind": "invented"}, "of kind 'invented', which is not known"),
        ({"kind": "mamba_block"}, "no mamba_block vector: without in_channels"),
        ({"config": '{"kind": "invented"}'}, "of kind 'invented', which is not known"),
        ({"config": '{"kind": "iianet", "model": {}}'}, "it holds no input_audio"),
        ({"spec": '{"family": "invented/x"}'}, "the kind 'invented/x' is not known; known are fake/"),
        ({"spec": "{"}, "not JSON"),
        ({"spec": "[]"}, "names no family"),
        ({"spec": '{"family": 3}'}, "'3' is not known"),
    ],
)
def test_an_unknown_kind_is_one_clear_line(network, tmp_path, metadata, reason):
    path = tmp_path / "v.safetensors"
    save_file(contents(network), path, metadata=metadata)
    verdict = check.check_file(path)
    assert str(verdict) == "v.safetensors  nan  FAIL"
    assert reason in verdict.reason


def test_whatever_a_family_stumbles_over_becomes_a_reason(network, tmp_path, monkeypatch):
    module = SimpleNamespace(families=("fake/",), config_from_published=lambda spec: spec["absent"])
    monkeypatch.setattr(families, "FAMILIES", (families.Row(module, tolerance=1.0),))
    assert "KeyError: 'absent'" in check.check_file(write(tmp_path / "v.safetensors", contents(network))).reason


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 100])
def test_damaged_files_and_folders_are_failures_without_a_traceback(tmp_path, content):
    path = tmp_path / "v.safetensors"
    path.write_bytes(content)
    assert "v.safetensors" in check.check_file(path).reason
    assert "is a folder" in check.check_file(tmp_path).reason


def test_the_module_runs_as_a_command(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "unmingle.convert.check"]
    ran = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stdout.split()[1:] == ["nan", "FAIL"]
    assert "Traceback" not in ran.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
