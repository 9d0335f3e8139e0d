"""`unmingle export`: what is printed and what is left; the graphs themselves are tested where they are made."""

import json
from dataclasses import replace

import onnx_ir
import pytest
import torch
from onnx import TensorProto, helper

from unmingle.presets import PRESETS


@pytest.fixture
def graph(monkeypatch):
    """Instead of tracing: a graph that gives half of its mixture twice, as the network here does."""
    halves = helper.make_tensor("halves", TensorProto.FLOAT, [1, 2, 1], [0.5, 0.5])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Unsqueeze", ["mixture", "axis"], ["wide"]),
        helper.make_node("Mul", ["wide", "halves"], ["estimates"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("mixture", ["b", "t"]), ("estimates", ["b", 2, "t"]))
    ]
    made = helper.make_graph(nodes, "halves", ends[:1], ends[1:], [halves, axis])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)

    class Program:
        def __init__(self):
            self.model = onnx_ir.from_proto(model)

    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: Program())


@pytest.fixture
def agreeing(monkeypatch):
    """Every network gives half of its mixture twice."""
    from unmingle.models import TDANet

    monkeypatch.setattr(TDANet, "forward", lambda self, mixture: 0.5 * mixture.unsqueeze(1).expand(-1, 2, -1))


@pytest.mark.usefixtures("graph", "agreeing")
def test_what_was_written_is_printed_in_words_and_as_json(cli, tiny, tmp_path):
    out = tmp_path / "tiny.onnx"
    ran = cli("export", tiny, "-o", out)
    assert (ran.code, ran.err) == (0, "")
    for part in ("tiny: 7,055 parameters -> ", "(batch, time) float32 at 8000 Hz", "(batch, 2, time)", "max abs error"):
        assert part in ran.out
    ran = cli("export", tiny, "-o", out, "--overwrite", "--json")
    report = json.loads(ran.out)
    assert (report["name"], report["output"], report["sample_rate"], report["random_weights"]) == (
        "tiny",
        str(out),
        8000,
        False,
    )
    assert report["agreement"]["max_abs_error"] < 1e-7
    assert len(report["agreement"]["shapes"]) == 6


@pytest.mark.usefixtures("graph", "agreeing")
def test_the_written_file_separates(cli, tiny, tmp_path, recording):
    assert cli("export", tiny, "-o", tmp_path / "tiny.onnx").code == 0
    before = torch.get_num_threads()
    ran = cli("separate", recording, "-m", tmp_path / "tiny.onnx", "-o", tmp_path / "tracks", "--threads", before + 1)
    assert torch.get_num_threads() == before  # they are onnxruntime's
    assert ran.code == 0
    assert len(list((tmp_path / "tracks").glob("*.wav"))) == 2


@pytest.mark.usefixtures("graph")
def test_a_graph_that_disagrees_is_one_message_and_leaves_nothing(cli, tiny, tmp_path):
    ran = cli("export", tiny, "-o", tmp_path / "tiny.onnx")
    assert (ran.code, ran.out) == (1, "")
    assert "differs from torch" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("graph", "agreeing")
def test_a_preset_is_exported_with_random_weights_and_says_so(cli, tmp_path, monkeypatch, tiny):
    from unmingle.checkpoint import read_card

    monkeypatch.setitem(PRESETS, "tdanet", read_card(tiny).config)
    ran = cli("export", "tdanet", "-o", tmp_path / "preset.onnx")
    assert ran.code == 0
    assert ran.err == "tdanet is a preset without weights: the file gets random ones, which separate nothing.\n"


def test_networks_that_cannot_be_exported_are_one_message(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "ahead", replace(PRESETS["tfacm-live"], output="spectrum", deconv_lookahead=1))
    ran = cli("export", "ahead", "-o", tmp_path / "out.onnx")
    assert ran.code == 1
    assert "looks a frame ahead" in ran.err
    assert "Traceback" not in ran.err
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_refused_before_the_model_is_looked_for(cli, tmp_path):
    (tmp_path / "out.onnx").write_bytes(b"precious")
    ran = cli("export", "no-such-model", "-o", tmp_path / "out.onnx")
    assert (ran.code, (tmp_path / "out.onnx").read_bytes()) == (1, b"precious")
    assert "--overwrite" in ran.err
    assert cli("export", "no-such-model", "-o", tmp_path / "new.onnx").code == 1


def test_misuse_is_exit_code_2(cli):
    assert cli("export", "tdanet").code == 2
    assert cli("export").code == 2
