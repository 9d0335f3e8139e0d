import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors import safe_open

from unmingle.convert import tdanet
from unmingle.errors import CheckpointError, ConfigError
from unmingle.layers.attention import sinusoid_positions
from unmingle.models import build_model
from unmingle.presets import PRESETS, TDANetConfig
from unmingle.presets.tdanet import Form

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("tdanet-*.safetensors"))
FORMS = get_args(Form)
CLASSES = {"paper": "TDANetOld", "released": "TDANetBest", "code": "TDANet", "sonicsim": "TDANet"}
POSITIONS = "sm.unet.globalatt.attn.pos_enc.pe"
TINY = TDANetConfig(sample_rate=8000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
ARGUMENTS = {"sample_rate": 8000, "num_blocks": 2}


def read(path):
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        spec = json.loads(file.metadata()["spec"])
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    return spec, state, tensors["input"], tensors["output"]


def load(config, state):
    model = build_model(config).eval()
    model.load_state_dict(tdanet.convert_state(state, config))
    return model


def published(form, **changes):
    """A network with random weights, and its state under published names."""
    torch.manual_seed(0)
    model = build_model(replace(TINY, form=form, **changes)).eval()
    return model, {tdanet.published_key(name, form): value for name, value in model.state_dict().items()}


@torch.inference_mode()
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_published_network_is_reproduced(path):
    spec, state, mixture, output = read(path)
    model = load(tdanet.config_from_published(spec), state)
    estimates = model(mixture.reshape(-1, mixture.shape[-1]))
    torch.testing.assert_close(estimates, output, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_weights_that_act_on_nothing_are_the_ones_measured(path):
    spec, state, *_ = read(path)
    config = tdanet.config_from_published(spec)
    idle = {tdanet.published_key(name, config.form) for name in load(config, state).unused_parameters()}
    assert idle == set(spec["insensitive_parameters"])


def test_every_kind_of_vector_is_here():
    assert {read(path)[0]["family"] for path in VECTORS} == {
        f"tdanet/{kind}" for kind in ("best", "paper", "code", "sonicsim")
    }


def test_arguments_that_a_vector_leaves_out_are_those_of_the_published_class():
    config = tdanet.config_from_published({"family": "tdanet/code", "config": {"out_channels": 12}})
    assert (config.depth, config.window_ms, config.channels) == (4, 21, 12)


def test_an_unknown_argument_is_named_with_its_neighbour():
    with pytest.raises(ConfigError, match=r"'num_source'.*did you mean 'num_sources'"):
        tdanet.config_from_published({"family": "tdanet/best", "config": {"num_source": 2}})


@torch.inference_mode()
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("changes", [{}, {"depth": 2}, {"depth": 6, "n_src": 3}, {"window_ms": 2.5}], ids=str)
def test_published_files_of_any_size_come_back_as_they_were(form, changes):
    model, state = published(form, **changes)
    config = tdanet.infer_config(state, model_name=CLASSES[form], model_args=ARGUMENTS, overrides={})
    assert config == model.config
    mixture = torch.randn(2, 300)
    assert torch.equal(load(config, state)(mixture), model(mixture))


@pytest.mark.parametrize(("name", "n_tensors"), [("tdanet-released", 137), ("tdanet", 92), ("tdanet-code", 92)])
def test_the_names_and_shapes_are_those_of_the_published_files(name, n_tensors):
    with torch.device("meta"):
        state = build_model(PRESETS[name]).state_dict()
    shapes = {tdanet.published_key(ours, PRESETS[name].form): tuple(value.shape) for ours, value in state.items()}
    assert len(shapes) + 1 == n_tensors  # and the position encoding
    gain = "gamma" if name == "tdanet-released" else "weight"
    some = {
        "encoder.weight": (33, 1, 64),
        f"ln.{gain}": (33,),
        "bottleneck.weight": (128, 33, 1),
        f"sm.unet.proj_1x1.norm.{gain}": (512,),
        "sm.unet.proj_1x1.act.weight": (1,),
        "sm.unet.spp_dw.4.conv.weight": (512, 1, 5),
        "sm.unet.globalatt.attn.attn_in_norm.weight": (512,),
        "sm.unet.globalatt.attn.attn.in_proj_weight": (1536, 512),
        "sm.unet.globalatt.attn.attn.in_proj_bias": (1536,),
        "sm.unet.globalatt.attn.attn.out_proj.bias": (512,),
        "sm.unet.globalatt.attn.norm.bias": (512,),
        f"sm.unet.globalatt.mlp.fc1.norm.{gain}": (1024,),
        "sm.unet.globalatt.mlp.dwconv.bias": (1024,),
        "sm.unet.globalatt.mlp.fc2.conv.weight": (512, 1024, 1),
        f"sm.unet.last_layer.3.global_embedding.norm.{gain}": (512,),
        "sm.unet.res_conv.bias": (128,),
        "sm.concat_block.0.weight": (128, 1, 1),
        "sm.concat_block.1.weight": (1,),
        "mask_net.0.weight": (1,),
        "mask_net.1.weight": (66, 128, 1),
        "decoder.weight": (66, 2, 64),
    }
    assert {key: shapes.get(key) for key in some} == some


@torch.inference_mode()
@pytest.mark.parametrize("form", FORMS)
def test_either_spelling_of_a_norm_is_read(form):
    model, state = published(form)
    respelled = {tdanet.published_key(name, "released"): value for name, value in model.state_dict().items()}
    mixture = torch.randn(1, 300)
    assert torch.equal(load(model.config, respelled)(mixture), load(model.config, state)(mixture))


def test_the_position_encoding_is_dropped_when_it_is_the_published_one():
    model, state = published("paper")
    state[POSITIONS] = sinusoid_positions(10_000, 16).unsqueeze(0)
    assert tdanet.convert_state(state, model.config).keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    "positions", [torch.zeros(1, 100, 16), sinusoid_positions(50, 8).unsqueeze(0)], ids=["zeros", "narrow"]
)
def test_another_position_encoding_is_refused(positions):
    model, state = published("paper")
    with pytest.raises(CheckpointError, match="pos_enc"):
        tdanet.convert_state({**state, POSITIONS: positions}, model.config)


def test_missing_surplus_and_misshapen_tensors_come_in_one_message():
    model, state = published("released")
    del state["ln.gamma"]
    state["sm.unet.strange"] = torch.zeros(1)
    state["bottleneck.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as refusal:
        tdanet.convert_state(state, model.config)
    for part in ("3 differences", "missing ln.gamma", "surplus sm.unet.strange", r"bottleneck.bias is (3,), not (8,)"):
        assert part in str(refusal.value)


def test_paper_and_code_are_not_told_apart_by_guessing():
    _, state = published("paper")
    with pytest.raises(CheckpointError, match=r"--form paper .* --form code"):
        tdanet.infer_config(state, model_args=ARGUMENTS)
    for form in ("paper", "code"):
        assert tdanet.infer_config(state, model_args=ARGUMENTS, overrides={"form": form}).form == form


def test_an_early_layout_is_named_as_such():
    model, _ = published("code")
    state = {tdanet.published_key(name, "released"): value for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="early TDANet"):
        tdanet.infer_config(state, model_name="TDANet", model_args=ARGUMENTS)


def test_the_number_of_iterations_must_be_stated():
    _, state = published("released")
    with pytest.raises(ConfigError, match="n_iterations"):
        tdanet.infer_config(state, model_name="TDANetBest", model_args={"n_src": 2})
    overrides = {"n_iterations": 16}
    assert tdanet.infer_config(state, model_name="TDANetBest", overrides=overrides).n_iterations == 16


@pytest.mark.parametrize(
    "wrong", [{"num_blocks": "16"}, {"num_blocks": 0}, {"sample_rate": 8e3}, {"enc_kernel_size": 0}]
)
def test_what_a_file_states_wrongly_is_refused(wrong):
    _, state = published("released")
    with pytest.raises(ConfigError, match=r"is given as .* above 0"):
        tdanet.infer_config(state, model_args={"num_blocks": 2, **wrong})


def test_the_sample_rate_comes_from_the_caller_or_the_file_or_the_window_or_is_16_khz(caplog):
    _, state = published("released")

    def rate(arguments=None, **overrides):
        overrides["n_iterations"] = 2
        return tdanet.infer_config(state, model_args=arguments, overrides=overrides).sample_rate

    assert rate({"sample_rate": 8000}, sample_rate=16_000) == 16_000
    assert rate({"sample_rate": 8000}) == 8000
    assert rate({"enc_kernel_size": 4}) == 8000
    assert not caplog.records
    assert rate() == 16_000
    assert "16000 Hz" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [({"depth": 4}, "depth is given as 4 but the weights show 3"), ({"n_iteration": 4}, "did you mean 'n_iterations'")],
)
def test_overrides_cannot_contradict_the_weights_or_be_misspelt(overrides, message):
    _, state = published("released")
    with pytest.raises(ConfigError, match=message):
        tdanet.infer_config(state, model_args=ARGUMENTS, overrides=overrides)


def test_half_a_file_is_refused_by_the_name_of_what_it_lacks():
    with pytest.raises(CheckpointError, match=r"decoder\.weight.*missing"):
        tdanet.infer_config({"encoder.weight": torch.zeros(17, 1, 32)}, model_args=ARGUMENTS)


def test_it_is_recognised_by_its_tensors_or_by_its_class():
    _, state = published("code")
    assert tdanet.recognises(state.keys(), None)
    assert tdanet.recognises([], "TDANetBest")
    assert not tdanet.recognises(["encoder.weight", "sm.unet.spp_dw.0.conv.weight"], None)
