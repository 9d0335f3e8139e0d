from dataclasses import replace

import pytest
import torch
import yaml

from unmingle.convert import import_checkpoint, spmamba, tfgridnet
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models import build_model
from unmingle.presets import PRESETS, SPMambaConfig, TFGridNetConfig

GRID = {"window": 32, "channels": 4, "kernel": 3, "n_blocks": 2, "n_heads": 2, "query_width": 20}
SPMAMBA = SPMambaConfig(**GRID, hop=12, stride=2, expand=2, d_state=3, d_conv=2, n_units=2, n_src=3)
TFGRIDNET = TFGridNetConfig(**GRID, hop=12, stride=2, hidden=5, n_src=3)
FAMILIES = {"spmamba": (spmamba, SPMAMBA), "tfgridnet": (tfgridnet, TFGRIDNET)}
CONF = {
    "audionet": {
        "audionet_name": "TFGridNetMamba",
        "audionet_config": {"n_fft": 32, "stride": 12, "emb_hs": 2, "attn_approx_qk_dim": 20, "lstm_hidden_units": 9},
    },
    "datamodule": {"data_name": "Libri2MixDataModule", "data_config": {"sample_rate": 1000, "segment": 3.0}},
}


def published(family):
    """A network with random weights, and its state under published names and in published shapes."""
    module, config = FAMILIES[family]
    torch.manual_seed(0)
    model = build_model(config).eval()
    state = {}
    for name, value in model.state_dict().items():
        keys = module.published_keys(name, n_heads=config.n_heads)
        state |= {key: spelt(key, part) for key, part in zip(keys, value.chunk(len(keys)), strict=True)}
    return model, state


def spelt(key, value):
    """A gain or offset with the axes of length 1 that the published ones have."""
    if not key.endswith((".gamma", ".beta")):
        return value.clone()
    return value.reshape(1, -1, 1, 1) if value.ndim == 1 else value.reshape(1, value.shape[-2], 1, value.shape[-1])


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def same(model, other):
    mixture = torch.randn(2, 150)
    with torch.inference_mode():
        return torch.equal(model(mixture), other(mixture))


WRAPPINGS = {
    "lightning": lambda state: {"epoch": 1, "state_dict": {f"audio_model.{key}": v for key, v in state.items()}},
    "exported": lambda state: {
        "model_name": "TFGridNetMamba",
        "state_dict": state,
        "model_args": {"n_src": 2},
        "infos": {"software_versions": {"torch_version": "2.1.0"}},
    },
    "parallel": lambda state: {f"module.audio_model.{key}": value for key, value in state.items()},
    "bare": lambda state: dict(state),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_form_of_file_is_read_with_the_settings_beside_it_whatever_class_it_names(tmp_path, family, wrapping):
    model, state = published(family)
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "best_model.pth")
    (tmp_path / "conf.yml").write_text(yaml.safe_dump(CONF))
    imported = import_checkpoint(tmp_path / "best_model.pth")
    assert imported.config == replace(model.config, sample_rate=1000)
    assert same(imported, model)


def test_without_settings_it_takes_the_published_ones_and_says_which(tmp_path, family, caplog):
    model, state = published(family)
    torch.save(state, tmp_path / "weights.pth")
    imported = import_checkpoint(tmp_path / "weights.pth", overrides={"stride": 2})
    assert imported.config == replace(model.config, sample_rate=1000, hop=8, query_width=34)
    assert "sample_rate 1000, hop 8" in caplog.text
    assert "stride" not in caplog.text


def test_what_the_caller_says_wins_but_cannot_contradict_the_tensors(family):
    module, config = FAMILIES[family]
    _, state = published(family)
    arguments = {"sample_rate": 16_000, "stride": 16, "emb_hs": 1, "n_layers": 77}
    found = module.infer_config(state, model_args=arguments, overrides={"sample_rate": 8000})
    assert (found.sample_rate, found.hop, found.stride, found.n_blocks) == (8000, 16, 1, config.n_blocks)
    with pytest.raises(ConfigError, match="channels is given as 5 but the weights show 4"):
        module.infer_config(state, overrides={"channels": 5})
    with pytest.raises(ConfigError, match="did you mean 'stride'"):
        module.infer_config(state, overrides={"strides": 5})


def test_settings_that_cannot_be_read_are_refused(tmp_path, family):
    torch.save(published(family)[1], tmp_path / "weights.pth")
    (tmp_path / "conf.yml").write_text("audionet: [")
    with pytest.raises(CheckpointError, match=r"conf\.yml cannot be read"):
        import_checkpoint(tmp_path / "weights.pth")


def test_settings_of_the_wrong_kind_are_refused_with_the_name_of_their_file(tmp_path, family):
    torch.save(published(family)[1], tmp_path / "weights.pth")
    (tmp_path / "conf.yml").write_text("datamodule: {data_config: {sample_rate: fast}}")
    with pytest.raises(ConfigError, match=r"sample_rate.*'fast'.*conf\.yml"):
        import_checkpoint(tmp_path / "weights.pth")


def test_missing_surplus_and_misshapen_tensors_come_in_one_message(family):
    module, config = FAMILIES[family]
    _, state = published(family)
    del state["deconv.bias"]
    state["strange"] = torch.zeros(1)
    state["blocks.1.attn_conv_Q_1.0.weight"] = torch.zeros(4, 2, 1, 1)  # the axes exchanged
    with pytest.raises(CheckpointError) as refusal:
        module.convert_state(state, config)
    for part in ("3 differences", "missing deconv.bias", "surplus strange", "attn_conv_Q_1.0.weight is (4, 2, 1, 1)"):
        assert part in str(refusal.value)


def test_half_a_file_and_several_microphones_are_refused_in_words(family):
    module, _ = FAMILIES[family]
    _, state = published(family)
    with pytest.raises(CheckpointError, match="2 microphones"):
        module.infer_config({**state, "conv.0.weight": torch.zeros(4, 4, 3, 3)})
    with pytest.raises(CheckpointError, match="should have 4 axes"):
        module.infer_config({**state, "deconv.weight": torch.zeros(4, 6)})
    del state["blocks.0.intra_linear.weight"]
    with pytest.raises(CheckpointError, match="not a whole"):
        module.infer_config(state)


def test_each_is_recognised_by_its_own_tensors():
    keys = {name: published(name)[1].keys() for name in FAMILIES}
    for name, (module, _) in FAMILIES.items():
        assert [other for other in FAMILIES if module.recognises(keys[other], None)] == [name]
    assert spmamba.recognises([], "TFGridNetMamba")
    assert tfgridnet.recognises([], "TFGridNet")
    assert not spmamba.recognises(keys["tfgridnet"], "TFGridNetMamba")


def test_names_and_shapes_are_those_of_the_published_file():
    config = PRESETS["spmamba-16k"]
    with torch.device("meta"):
        state = build_model(config).state_dict()
    keys = [key for name in state for key in spmamba.published_keys(name, n_heads=config.n_heads)]
    assert len(keys) == len(set(keys)) == 684
    some = {
        "conv.0.weight",
        "conv.1.bias",
        "blocks.0.intra_norm.gamma",
        "blocks.5.inter_norm.beta",
        "blocks.0.intra_mamba.forward_blocks.0.norm.weight",
        "blocks.3.inter_mamba.backward_blocks.0.mixer.A_log",
        "blocks.3.inter_mamba.backward_blocks.0.mixer.dt_proj.bias",
        "blocks.0.intra_linear.weight",
        "blocks.0.attn_conv_V_3.1.weight",
        "blocks.0.attn_conv_K_2.2.gamma",
        "blocks.0.attn_concat_proj.0.bias",
        "blocks.0.attn_concat_proj.2.beta",
        "deconv.bias",
    }
    assert some <= set(keys)
    lstm = [key for key in published("tfgridnet")[1] if "_rnn." in key]
    assert "blocks.0.intra_rnn.weight_ih_l0" in lstm
    assert "blocks.1.inter_rnn.bias_hh_l0_reverse" in lstm


@pytest.mark.parametrize(
    ("argument", "message"),
    [({"n_ffts": 32}, "did you mean 'n_fft'"), ({"window": "hamming"}, "only 'hann'"), ({"n_imics": 2}, "only 1")],
)
def test_arguments_that_are_not_known_here_are_refused(family, argument, message):
    with pytest.raises(ConfigError, match=message):
        FAMILIES[family][0].config_from_published({"config": argument})


def test_the_published_arguments_make_the_configuration():
    arguments = {"n_fft": 64, "stride": 16, "emb_dim": 8, "emb_ks": 5, "emb_hs": 2, "lstm_hidden_units": 32}
    found = spmamba.config_from_published({"config": {**arguments, "activation": "PReLU"}, "mamba": {"d_state": 6}})
    wanted = SPMambaConfig(window=64, hop=16, channels=8, kernel=5, stride=2, d_state=6)
    assert found == wanted
    assert tfgridnet.config_from_published({"config": arguments}).hidden == 32
