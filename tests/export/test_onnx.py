import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

import unmingle
from unmingle.checkpoint import save_checkpoint
from unmingle.errors import ExportError, MissingExtraError, OutputError, OutputExistsError
from unmingle.export import onnx as export_room
from unmingle.export.form import form_of
from unmingle.export.onnx import export_onnx
from unmingle.inference.handle import Model, load_model
from unmingle.inference.onnx_engine import OnnxEngine
from unmingle.layers.state import named_tensors
from unmingle.models import build_model
from unmingle.presets import (
    AFRCNNConfig,
    ConvTasNetConfig,
    DPRNNConfig,
    IIANetConfig,
    TDANetConfig,
    TFACMConfig,
    config_to_dict,
)
from unmingle.presets.iianet import LipReadingConfig

TDANET = TDANetConfig(sample_rate=8000, window_ms=4, channels=4, hidden=8, depth=2, n_iterations=1)
AFRCNN = AFRCNNConfig(window=16, n_basis=8, channels=4, hidden=8, depth=3, n_iterations=2, scheme="asynchronous-sum")
LIVE = TFACMConfig(window=32, hop=8, channels=4, n_heads=2, query_width=34, n_blocks=2, segment_size=6, attn_context=7)
CONV_TASNET = ConvTasNetConfig(window=8, n_basis=10, channels=6, skip=5, hidden=8, depth=3, n_repeats=2)
DPRNN = DPRNNConfig(window=4, n_basis=6, hidden=5, chunk=8, n_blocks=2)
CONFIGS = [
    pytest.param(TDANET, id="tdanet"),
    pytest.param(replace(TDANET, form="released", depth=4), id="tdanet-released", marks=pytest.mark.slow),
    pytest.param(AFRCNN, id="afrcnn", marks=pytest.mark.slow),
    pytest.param(replace(AFRCNN, method="A", scheme="control-1"), id="control-1", marks=pytest.mark.slow),
    pytest.param(CONV_TASNET, id="conv-tasnet", marks=pytest.mark.slow),
    pytest.param(DPRNN, id="dprnn", marks=pytest.mark.slow),
    pytest.param(replace(LIVE, attn_context=None), id="tfacm", marks=pytest.mark.slow),
    pytest.param(replace(LIVE, attn_context=None, form="published"), id="tfacm-published", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CONFIGS)
def tiny(request, tmp_path_factory):
    """Weights of a tiny network and the graph made of them: (handle, path, report)."""
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    metadata = {"licence": "CC0-1.0", "training_data": "noise", "scores": {"si_snr": 1.5}}
    save_checkpoint(folder / "tiny.safetensors", build_model(request.param), name="tiny", metadata=metadata)
    model = load_model(folder / "tiny.safetensors")
    return model, folder / "tiny.onnx", export_onnx(model, folder / "tiny.onnx")


def test_a_graph_gives_what_torch_gives_at_any_length_and_batch(tiny):
    model, path, _ = tiny
    engine = load_model(path)
    rng = np.random.default_rng(0)
    for batch, length in [(1, 1), (2, 7), (1, 33), (4, 240), *((1, length) for length in range(600, 1500, 37))]:
        mixture = rng.normal(size=(batch, length)).astype(np.float32)
        wanted = model.run(mixture)
        np.testing.assert_allclose(engine.run(mixture), wanted, rtol=0, atol=2e-6 * max(1, abs(wanted).max()))


def test_a_graph_gives_the_same_tracks_through_the_front_door(tiny):
    model, path, _ = tiny
    mixture = 0.1 * np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    tracks = [unmingle.separate(one, mixture, sample_rate=16_000) for one in (model, load_model(path))]
    np.testing.assert_allclose(tracks[1], tracks[0], rtol=0, atol=1e-5)


def test_input_output_and_metadata_are_as_promised(tiny):
    model, path, report = tiny
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    ends = [*graph.graph.input, *graph.graph.output]
    shapes = [[axis.dim_param or axis.dim_value for axis in end.type.tensor_type.shape.dim] for end in ends]
    assert [end.name for end in ends] == ["mixture", "estimates"]
    assert shapes == [["batch", "time"], ["batch", 2, "time"]]
    metadata = {one.key: one.value for one in graph.metadata_props}
    assert {key: metadata[key] for key in ("name", "sample_rate", "n_src", "licence", "weights")} == {
        "name": "tiny",
        "sample_rate": "8000",
        "n_src": "2",
        "licence": "CC0-1.0",
        "weights": "trained",
    }
    assert json.loads(metadata["config"]) == config_to_dict(model.config)
    assert metadata["unmingle_version"] == unmingle.__version__
    assert (report.name, report.n_src, report.random_weights) == ("tiny", 2, False)
    assert report.n_bytes == path.stat().st_size


def test_a_graph_tells_nothing_of_the_machine_it_was_made_on(tiny):
    content = tiny[1].read_bytes()
    assert b"stack_trace" not in content
    assert b".py" not in content


def test_the_card_survives(tiny):
    model, path, _ = tiny
    ours, theirs = model.card, load_model(path).card
    assert (ours.licence, ours.training_data, ours.scores, ours.parameters) == (
        theirs.licence,
        theirs.training_data,
        theirs.scores,
        theirs.parameters,
    )


def test_only_the_graph_is_left_beside_the_weights(tiny):
    assert sorted(path.name for path in tiny[1].parent.iterdir()) == ["tiny.onnx", "tiny.safetensors"]


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Weights of a tiny network that streams, and its graph of one hop: (handle, path, report)."""
    folder = tmp_path_factory.mktemp("live")
    torch.manual_seed(0)
    save_checkpoint(folder / "live.safetensors", build_model(LIVE), name="live")
    model = load_model(folder / "live.safetensors")
    return model, folder / "live.onnx", export_onnx(model, folder / "live.onnx")


def test_a_network_that_streams_takes_a_hop_and_its_state_and_gives_both(live):
    model, path, report = live
    graph = onnx.load(path)
    onnx.checker.check_model(graph)
    inputs, outputs = ([end.name for end in ends] for ends in (graph.graph.input, graph.graph.output))
    assert (inputs[0], outputs[0]) == ("mixture", "estimates")
    assert [name.removeprefix("state.") for name in inputs[1:]] == [name.removeprefix("next.") for name in outputs[1:]]
    state = [name for name, _ in named_tensors(model.network.init_state(1))]
    assert inputs[1:] == [f"state.{name}" for name in state]
    assert report.inputs["mixture"] == ["batch", LIVE.hop]
    assert report.outputs["estimates"] == ["batch", 2, LIVE.hop]
    assert b".py" not in path.read_bytes()


def test_a_stream_and_a_file_through_the_graph_are_what_torch_makes_of_them(live):
    model, path, _ = live
    graph = load_model(path)
    mixture = 0.1 * np.random.default_rng(0).normal(size=5001).astype(np.float32)
    outs = []
    for one in (model, graph):
        stream = unmingle.Stream(one, sample_rate=8000)
        outs.append(np.concatenate([stream.push(mixture[:1234]), stream.push(mixture[1234:]), stream.flush()], axis=1))
    np.testing.assert_allclose(outs[1], outs[0], rtol=0, atol=1e-5 * abs(outs[0]).max())
    np.testing.assert_allclose(graph.run(mixture[None])[0], outs[0], rtol=0, atol=1e-5 * abs(outs[0]).max())
    assert graph.causal
    assert graph.latency_seconds == model.latency_seconds


def test_a_stream_that_looks_ahead_is_refused_in_words(trace, tmp_path):
    trace(AssertionError("traced"))
    model = Model.from_network(build_model(replace(LIVE, deconv_lookahead=1)), name="odd")
    with pytest.raises(ExportError, match=r"odd looks a frame ahead.*deconv_lookahead to 0"):
        export_onnx(model, tmp_path / "out.onnx")


def test_a_memory_that_grows_makes_a_graph_of_whole_mixtures():
    form = form_of(Model.from_network(build_model(replace(LIVE, attn_context=None)), name="growing"))
    assert form.inputs == {"mixture": ["batch", "time"]}
    assert form.metadata == {}


WATCHING = IIANetConfig(
    sample_rate=8000,
    window_ms=4.0,
    channels=8,
    hidden=12,
    visual_channels=8,
    video_channels=4,
    depth=3,
    n_iterations=2,
    n_fusion=1,
    dropout=0.0,
    lips=None,
)
LIPS = LipReadingConfig(stem=2, widths=(4, 8), blocks=(1, 1), crop=24)


@pytest.mark.parametrize("lips", [None, pytest.param(LIPS, marks=pytest.mark.slow)], ids=["embedding", "crops"])
def test_a_network_that_watches_takes_its_video_as_a_second_input(lips, tmp_path):
    torch.manual_seed(0)
    model = Model.from_network(build_model(replace(WATCHING, lips=lips)), name="watching")
    report = export_onnx(model, tmp_path / "out.onnx")
    pictures = ["frames", 24, 24] if lips else [8, "frames"]
    assert report.inputs == {"mixture": ["batch", "time"], "video": ["batch", *pictures]}
    mixture = torch.randn(2, 2001)
    video = torch.randn(2, *(6 if axis == "frames" else axis for axis in pictures))
    with torch.inference_mode():
        wanted = model.network(mixture, video).numpy()
    given = OnnxEngine(tmp_path / "out.onnx")(mixture.numpy(), video.numpy())
    np.testing.assert_allclose(given, wanted, rtol=0, atol=1e-5 * abs(wanted).max())


def test_a_graph_that_differs_from_torch_is_not_written(sharer, trace, program, tmp_path):
    trace(program((0.6, 0.5)))
    with pytest.raises(ExportError, match="differs from torch"):
        export_onnx(sharer, tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_what_torch_cannot_trace_is_one_error_and_leaves_what_was_there(sharer, trace, tmp_path):
    (tmp_path / "out.onnx").write_bytes(b"precious")
    trace(RuntimeError("no such operator\nand a page of details"))
    with pytest.raises(ExportError, match=r"sharer \(tdanet\) cannot be written .*no such operator$"):
        export_onnx(sharer, tmp_path / "out.onnx", overwrite=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


def test_an_existing_file_is_replaced_only_when_told_to(sharer, trace, program, tmp_path):
    out = tmp_path / "out.onnx"
    out.write_bytes(b"precious")
    trace(program())
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export_onnx(sharer, out)
    assert out.read_bytes() == b"precious"
    assert export_onnx(sharer, out, overwrite=True).random_weights
    assert load_model(out).card.other["weights"] == "random"


def test_a_place_that_cannot_be_written_is_refused_before_the_work(sharer, trace, tmp_path):
    trace(AssertionError("traced"))
    for output in (tmp_path, tmp_path / "none" / "out.onnx"):
        with pytest.raises(OutputError):
            export_onnx(sharer, output)


def test_a_missing_package_names_the_extra(sharer, monkeypatch, tmp_path):
    monkeypatch.setattr(export_room, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"unmingle\[export\]"):
        export_onnx(sharer, tmp_path / "out.onnx")
