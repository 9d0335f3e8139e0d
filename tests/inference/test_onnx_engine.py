"""Graphs run by onnxruntime: here one that gives 0.6 and 0.4 of its mixture, so that nothing has to be traced."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from unmingle.errors import CheckpointError, ConfigError, MissingExtraError, MissingFileError
from unmingle.inference import onnx_engine
from unmingle.inference.handle import load_model
from unmingle.inference.onnx_engine import OnnxEngine
from unmingle.presets import TDANetConfig, config_to_dict

CONFIG = TDANetConfig(sample_rate=8000)
METADATA = {
    "name": "sharer",
    "family": "tdanet",
    "config": json.dumps(config_to_dict(CONFIG)),
    "unmingle_version": "0.1",
    "licence": "CC0-1.0",
    "parameters": "2",
}


def write(path, *, output="estimates", metadata=METADATA):
    shares = helper.make_tensor("shares", TensorProto.FLOAT, [1, 2, 1], [0.6, 0.4])
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Unsqueeze", ["mixture", "axis"], ["wide"]),
        helper.make_node("Mul", ["wide", "shares"], [output]),
    ]
    mixture = helper.make_tensor_value_info("mixture", TensorProto.FLOAT, ["batch", "time"])
    estimates = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", 2, "time"])
    graph = helper.make_graph(nodes, "sharer", [mixture], [estimates], [shares, axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.fixture
def sharer(tmp_path):
    return write(tmp_path / "sharer.onnx")


def test_an_onnx_file_becomes_a_handle_like_any_other(sharer):
    model = load_model(sharer)
    assert (model.name, model.sample_rate, model.n_src, model.causal) == ("sharer", 8000, 2, False)
    assert (model.config, model.card.licence, model.card.parameters) == (CONFIG, "CC0-1.0", 2)
    assert load_model(str(sharer)).name == "sharer"


def test_its_engine_runs_without_torch_through_the_front_door(sharer):
    code = f"""
import sys
sys.modules["torch"] = None  # importing it fails
import numpy as np, unmingle
model = unmingle.load_model({str(sharer)!r})
mixture = np.random.default_rng(0).normal(size=20_000).astype(np.float32) * 0.1
tracks = unmingle.separate(model, mixture, sample_rate=16_000)
print(tracks.shape, float(abs(tracks.sum(axis=0) - mixture)[4000:-4000].max() < 0.2))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "(2, 20000) 1.0\n", ran.stderr


def test_any_batch_and_length_runs_in_float32(sharer):
    engine = OnnxEngine(sharer, threads=1)
    for shape in ((1, 1), (3, 777)):
        mixture = np.random.default_rng(0).normal(size=shape)
        estimates = engine(mixture)
        assert estimates.dtype == np.float32
        np.testing.assert_allclose(estimates, mixture[:, None] * [[[0.6], [0.4]]], atol=1e-6)


def test_threads_are_the_callers_choice(sharer):
    def threads(engine):
        return engine._session.get_session_options().intra_op_num_threads

    engine = OnnxEngine(sharer)
    assert (threads(engine), threads(engine.with_threads(1)), threads(OnnxEngine(sharer, threads=2))) == (0, 1, 2)
    assert threads(load_model(sharer).with_threads(2).engine) == 2


def test_a_damaged_description_of_a_stream_is_one_error(tmp_path):
    path = write(tmp_path / "odd.onnx", metadata=METADATA | {"stream": '{"hop": 8}'})
    with pytest.raises(CheckpointError, match=r"odd\.onnx has .*hop.* as 'stream'"):
        load_model(path)


def test_it_has_no_torch_network_and_stays_on_its_device(sharer):
    model = load_model(sharer)
    with pytest.raises(CheckpointError, match="no torch network"):
        _ = model.network
    with pytest.raises(ConfigError, match="load it with device='cuda'"):
        model.to("cuda")
    with pytest.raises(ConfigError, match="cannot use the device 'nonsense'"):
        load_model(sharer, device="nonsense")


@pytest.mark.parametrize("content", [b"", b"some text", None])
def test_what_is_no_graph_is_one_error(tmp_path, content, sharer):
    path = tmp_path / "odd.onnx"
    path.write_bytes(sharer.read_bytes()[:150] if content is None else content)
    with pytest.raises(CheckpointError, match=r"odd\.onnx is not a graph"):
        load_model(path)


def test_graphs_of_others_are_refused_with_what_they_lack(tmp_path):
    with pytest.raises(CheckpointError, match="without name, family, config, unmingle_version"):
        load_model(write(tmp_path / "foreign.onnx", metadata={}))
    with pytest.raises(CheckpointError, match="graph of mixture, voices; wanted"):
        load_model(write(tmp_path / "voices.onnx", output="voices"))


def test_a_missing_file_and_a_missing_package_say_so(tmp_path, sharer, monkeypatch):
    with pytest.raises(MissingFileError, match=r"none\.onnx"):
        load_model("none.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"unmingle\[export\]"):
        onnx_engine.OnnxEngine(sharer)
