"""Graphs made by hand, in place of traced ones: what is tested with them is what happens around the tracing."""

import onnx_ir
import pytest
import torch
from onnx import TensorProto, helper

from unmingle.inference.handle import Model
from unmingle.models.base import SeparationModel
from unmingle.presets import TDANetConfig


class Sharer(SeparationModel):
    """Gives shares of its mixture."""

    def __init__(self, shares=(0.6, 0.4)):
        super().__init__()
        self.config = TDANetConfig(sample_rate=8000, n_src=len(shares))
        self.shares = torch.nn.Parameter(torch.tensor(shares))

    def forward(self, mixture):
        return mixture.unsqueeze(1) * self.shares[:, None]


def make_graph(shares=(0.6, 0.4)):
    """The same in ONNX."""
    scale = helper.make_tensor("shares", TensorProto.FLOAT, [1, len(shares), 1], shares)
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Unsqueeze", ["mixture", "axis"], ["wide"]),
        helper.make_node("Mul", ["wide", "shares"], ["estimates"]),
    ]
    mixture = helper.make_tensor_value_info("mixture", TensorProto.FLOAT, ["batch", "time"])
    estimates = helper.make_tensor_value_info("estimates", TensorProto.FLOAT, ["b", "n", "t"])
    graph = helper.make_graph(nodes, "sharer", [mixture], [estimates], [scale, axis])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


class Program:
    """What torch's exporter returns."""

    def __init__(self, shares=(0.6, 0.4)):
        self.model = onnx_ir.from_proto(make_graph(shares))


@pytest.fixture
def sharer():
    return Model.from_network(Sharer(), name="sharer")


@pytest.fixture
def program():
    return Program


@pytest.fixture
def trace(monkeypatch):
    """Let torch's exporter give this: a program, or an exception that it raises."""

    def answer_with(answer):
        def export(*args, **kwargs):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(torch.onnx, "export", export)

    return answer_with


@pytest.fixture
def written(tmp_path):
    """A file with a graph of these shares and enough metadata to be opened."""

    def write(shares):
        from unmingle.export.form import form_of
        from unmingle.export.onnx import _described

        path = tmp_path / "graph.onnx"
        model = Model.from_network(Sharer(shares))
        onnx_ir.save(_described(Program(shares).model, model, form_of(model)), str(path))
        return path

    return write
