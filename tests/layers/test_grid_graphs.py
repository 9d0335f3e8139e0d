"""Parts of networks on the grid as exported graphs: what was not traced has to come out right too."""

import logging
import warnings

import pytest
import torch
from torch import nn

from unmingle.layers.frame_attention import CrossFrameAttention
from unmingle.layers.grid import GridBlock, SequencePath, deviation
from unmingle.layers.recurrent import TapLSTM

pytestmark = pytest.mark.slow  # tracing takes from seconds to a minute


class Deviation(nn.Module):
    def forward(self, signal):
        return deviation(signal)


def graph_of(module, example, path):
    """Run a module as a graph whose two first axes may have any length."""
    onnxruntime = pytest.importorskip("onnxruntime")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)
        torch.onnx.export(module, (example,), dynamic_shapes=shapes, dynamo=True, verbose=False).save(path)
    session = onnxruntime.InferenceSession(path)
    return lambda x: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def test_a_block_keeps_every_frame(tmp_path):
    torch.manual_seed(0)

    def path():
        return SequencePath(TapLSTM(8, 4, bidirectional=True), 4, kernel=2, stride=2)

    block = GridBlock(path(), path(), CrossFrameAttention(4, 9, n_heads=2, query_channels=1)).eval()
    graph = graph_of(block, torch.randn(3, 21, 9, 4), tmp_path / "block.onnx")
    for n_items, n_frames in ((1, 5), (1, 16), (4, 31), (2, 100)):
        x = torch.randn(n_items, n_frames, 9, 4)
        with torch.inference_mode():
            torch.testing.assert_close(graph(x), block(x), rtol=1e-4, atol=1e-5)


def test_a_single_sample_deviates_from_nothing(tmp_path):
    graph = graph_of(Deviation(), torch.randn(2, 97), tmp_path / "deviation.onnx")
    for time in (1, 2, 500):
        signal = torch.randn(3, time)
        torch.testing.assert_close(graph(signal), deviation(signal))
