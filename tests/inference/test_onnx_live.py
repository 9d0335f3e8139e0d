"""A stream through a graph of one hop. In place of onnxruntime torch runs the module that would be traced."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unmingle.errors import CheckpointError, ConfigError
from unmingle.export.live import LiveNetwork
from unmingle.inference.handle import Model
from unmingle.inference.onnx_live import LiveShape, OnnxLive
from unmingle.inference.stream import Stream
from unmingle.models import build_model
from unmingle.presets import TFACMConfig

CONFIG = TFACMConfig(
    window=32, hop=8, channels=4, n_heads=2, query_width=34, n_blocks=2, segment_size=6, attn_context=7
)


class Session:
    """What of an onnxruntime session is used."""

    def __init__(self, network):
        self._live = LiveNetwork(network, name="tiny")
        self.ran = 0
        self._state = self._live.tensors(1)
        self._n_src, self._hop = network.config.n_src, network.hop

    def get_inputs(self):
        def end(name, tensor):
            kind = "tensor(int64)" if tensor.dtype == torch.int64 else "tensor(float)"
            return SimpleNamespace(name=name, shape=["batch", *tensor.shape[1:]], type=kind)

        mixture = end("mixture", torch.zeros(1, self._hop))
        return [mixture, *(end(f"state.{name}", tensor) for name, tensor in self._state.items())]

    def get_outputs(self):
        return [SimpleNamespace(name="estimates", shape=["batch", self._n_src, self._hop])]

    def run(self, names, feed):
        assert names is None
        assert feed["mixture"].shape[1] == self._hop
        self.ran += 1
        with torch.inference_mode():
            mixture, *state = (torch.from_numpy(feed[end.name]) for end in self.get_inputs())
            estimates, after = self._live(mixture, state)
        return [estimates.numpy(), *(tensor.numpy() for tensor in after)]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(CONFIG).eval()


@pytest.fixture(scope="module")
def live(network):
    frames = network.live
    return OnnxLive(Session(network), LiveShape(frames.hop, frames.window, frames.delay, frames.least))


@pytest.fixture
def models(network, live):
    """The same network in torch and as a graph."""
    engine = SimpleNamespace(live=live)
    return Model.from_network(network, name="tiny"), Model("tiny", CONFIG, engine=engine)


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("length", [1, 16, 17, 31, 32, 33, 40, 200, 807])
def test_a_whole_signal_is_what_torch_makes_of_it_to_the_last_sample(live, network, length):
    mixture = noise(2, length)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(mixture)).numpy()
    np.testing.assert_allclose(live.whole(mixture), wanted, rtol=0, atol=2e-5 * abs(wanted).max())


@pytest.mark.parametrize("rate", [8000, 16_000])
@pytest.mark.parametrize("cuts", [[100, 7, 300, 1], [1000], [8] * 40])
def test_a_stream_of_blocks_is_the_same_on_both(models, rate, cuts):
    outs = []
    for model in models:
        stream = Stream(model, sample_rate=rate, hops=2)
        blocks = np.split(noise(sum(cuts)), np.cumsum(cuts)[:-1])
        outs.append(np.concatenate([*(stream.push(block) for block in blocks), stream.flush()], axis=1))
    assert outs[0].shape == outs[1].shape == (2, sum(cuts))
    np.testing.assert_allclose(outs[1], outs[0], rtol=0, atol=2e-5 * abs(outs[0]).max())


@pytest.mark.parametrize("before", [0, 5, 300])
@pytest.mark.parametrize("first", [0, 1])
def test_a_stream_begun_on_one_goes_on_on_the_other(models, first, before):
    mixture = noise(1000)
    whole = Stream(models[0], sample_rate=8000)
    wanted = np.concatenate([whole.push(mixture), whole.flush()], axis=1)
    begun, taken_up = (Stream(models[which], sample_rate=8000) for which in (first, 1 - first))
    out = begun.push(mixture[:before])
    taken_up.restore(begun.save())
    given = np.concatenate([out, taken_up.push(mixture[before:]), taken_up.flush()], axis=1)
    np.testing.assert_allclose(given, wanted, rtol=0, atol=2e-5 * abs(wanted).max())


def test_a_saved_stream_with_another_shape_inside_is_damaged(models, live, monkeypatch):
    stream = Stream(models[1], sample_rate=8000)
    stream.push(noise(100))
    arrays = live.to_arrays(stream.state.network)
    monkeypatch.setattr(live, "to_arrays", lambda state: arrays | {"frames.signal": np.zeros((1, 3), np.float32)})
    with pytest.raises(CheckpointError, match=r"damaged: 'frames\.signal'"):
        stream.restore(stream.save())


def test_an_engine_of_whole_windows_does_not_stream():
    engine = SimpleNamespace(live=None)
    with pytest.raises(ConfigError, match="does not stream"):
        Stream(Model("windows", CONFIG, engine=engine), sample_rate=8000)


def test_its_numbers_survive_as_json(live):
    shape = LiveShape(8, 32, 24, 17)
    assert LiveShape(**json.loads(json.dumps(shape.to_dict()))) == shape
    assert (live.hop, live.delay, live.least) == (8, 8 + 16, 17)
