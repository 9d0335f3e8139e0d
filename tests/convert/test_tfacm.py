"""Published TFACM files: names, sizes, and what is said when they do not fit."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from unmingle.checkpoint import fit
from unmingle.convert import import_checkpoint, tfacm
from unmingle.convert.check import check_file
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models import build_model
from unmingle.presets import PRESETS, TFACMConfig

VECTORS = sorted(Path(__file__).parents[1].joinpath("vectors").glob("tfacm_model_*.safetensors"))
CONFIG = TFACMConfig(window=32, hop=4, channels=8, n_blocks=2, kernel=4, n_heads=4, query_width=17, form="published")


def as_published(model):
    """The tensors of a network under published names and in published shapes (singleton axes left out)."""
    state = {}
    for name, value in model.state_dict().items():
        keys = tfacm.published_keys(name, n_heads=model.config.n_heads)
        if name == "decoder.conv.weight":
            value = value.flip(2, 3).transpose(0, 1)
        for key, part in zip(keys, value.chunk(len(keys)), strict=True):
            state[key] = part.clone().contiguous()
    for key in [key for key in state if key.endswith(("gamma", "beta")) and ".attn_" in key]:
        state[key] = state[key].reshape(1, -1, 1, model.config.n_bins)
    return state


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(CONFIG).eval()


def test_the_parity_command_compares_both_forms():
    for path in VECTORS:
        verdict = check_file(path)
        assert verdict.ok
        assert 0 < verdict.max_abs_error < 1e-5


@pytest.mark.parametrize("form", ["published", "strict"])
def test_a_wrong_output_of_either_form_fails_the_parity_command(form, tmp_path):
    path = tmp_path / "v.safetensors"
    tensors = load_file(VECTORS[1])
    tensors[f"output_{form}"][0, 0, 100] += 1e-3
    with safe_open(VECTORS[1], "pt") as file:
        save_file(tensors, path, metadata=file.metadata())
    verdict = check_file(path)
    assert not verdict.ok
    assert verdict.max_abs_error == pytest.approx(1e-3, rel=0.01)


def test_the_names_are_those_of_the_published_file():
    with torch.device("meta"):
        model = build_model(PRESETS["tfacm"])
    keys = {key: name for name in model.state_dict() for key in tfacm.published_keys(name, n_heads=2)}
    assert len(keys) == 234
    some = {
        "conv.0.conv.weight", "conv.1.gamma", "blocks.2.intra_norm.beta", "blocks.0.intra_rnn.weight_hh_l0",
        "blocks.0.intra_linear.bias", "blocks.1.inter_rnn.lstm.bias_ih_l0", "blocks.1.inter_rnn.proj.weight",
        "blocks.1.inter_rnn.norm.gamma", "blocks.1.inter_linear.conv_transpose.weight",
        "blocks.0.attn_conv_Q_1.0.conv.bias", "blocks.0.attn_conv_K_0.1.weight", "blocks.0.attn_conv_V_1.2.beta",
        "blocks.2.attn_concat_proj.2.gamma", "blocks.0.gcfn_left.1.depthwise.weight",
        "blocks.0.gcfn_right.1.pointwise.bias", "blocks.0.gcfn_right.2.weight", "blocks.2.gcfn_final.conv.weight",
        "mems.0.h_net.rnn.weight_ih_l0", "mems.0.c_net.proj.bias", "mems.0.h_norm.gamma", "mems.0.c_norm.beta",
        "deconv.weight", "cln.gain", "cln.bias",
    }  # fmt: skip
    assert some <= keys.keys()


@torch.inference_mode()
def test_a_published_file_is_imported_as_it_was(network, tmp_path, caplog):
    state = {f"audio_model.{key}": value for key, value in as_published(network).items()}
    torch.save({"model_name": "TFACMCausal", "state_dict": state, "model_args": {"n_src": 2}}, tmp_path / "best.pth")
    with caplog.at_level(logging.WARNING):
        imported = import_checkpoint(tmp_path / "best.pth")
    assert imported.config == replace(CONFIG, query_width=17)
    assert "sample_rate, hop, stride, segment_size" in caplog.text
    mixture = torch.randn(2, 700)
    torch.testing.assert_close(imported(mixture), network(mixture), rtol=0, atol=1e-6)
    strict = import_checkpoint(tmp_path / "best.pth", overrides={"form": "strict", "sample_rate": 16_000})
    assert strict.config.causal
    assert strict.config.sample_rate == 16_000


def test_missing_surplus_and_misshapen_tensors_come_in_one_message(network):
    state = as_published(network)
    del state["mems.0.h_norm.gamma"]
    state["blocks.0.strange"] = torch.zeros(1)
    state["deconv.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as refusal:
        fit(CONFIG, tfacm.convert_state(state, CONFIG), where="file")
    for part in ("3 differences", "missing mems.0.h_norm.gamma", "surplus blocks.0.strange", "deconv.bias is (3,)"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"channels": 4}, "channels is given as 4 but the weights show 8"), ({"hops": 4}, "did you mean 'hop'")],
)
def test_overrides_cannot_contradict_the_weights_or_be_misspelt(network, overrides, message):
    with pytest.raises(ConfigError, match=message):
        tfacm.infer_config(as_published(network), overrides=overrides)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_layer": 2}, "did you mean 'n_layers'"),
        ({"activation": "relu"}, "only 'prelu' is known"),
        ({"emb_dim": 16, "lstm_hidden_units": 24}, "lstm_hidden_units differs"),
    ],
)
def test_a_vector_that_asks_for_another_network_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        tfacm.config_from_published({"config": arguments})


def test_half_a_file_is_refused_by_the_name_of_what_it_lacks():
    assert tfacm.recognises(["mems.0.h_net.proj.bias"], None)
    assert tfacm.recognises([], "TFACMCausal")
    assert not tfacm.recognises(["blocks.0.intra_rnn.weight_ih_l0"], "TFGridNet")
    with pytest.raises(CheckpointError, match=r"attn_conv_Q_0.*missing"):
        tfacm.infer_config({"mems.0.h_net.proj.bias": torch.zeros(8)})
