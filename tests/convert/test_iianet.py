import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from unmingle.checkpoint import load_checkpoint, save_checkpoint
from unmingle.convert import iianet, import_checkpoint, lip_reading
from unmingle.convert.check import check_file
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models import build_model
from unmingle.presets import PRESETS, IIANetConfig
from unmingle.presets.iianet import LipReadingConfig

VECTORS = sorted((Path(__file__).parents[1] / "vectors").glob("iianet_*.safetensors"))
LIPS = LipReadingConfig(stem=3, widths=(4, 6), blocks=(1, 2), crop=88)
TINY = IIANetConfig(channels=8, hidden=12, visual_channels=6, video_channels=5, depth=3, n_iterations=2, lips=LIPS)
ARGUMENTS = {"num_blocks": 2, "enc_kernel_size": 1, "sample_rate": 16_000, "upsampling_depth": 3, "num_sources": 1}
TCN = {"tcn.mb_ms_tcn.network.0.weight": torch.zeros(2), "tcn.tcn_output.bias": torch.zeros(3)}


def network(config=TINY):
    """A network with every number moved away from where it began."""
    torch.manual_seed(0)
    model = build_model(config).eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            value.add_(0.2 * torch.rand_like(value))
        assert name
    return model


def published(config=TINY):
    model = network(config)
    state = {iianet.published_key(name): value.clone() for name, value in model.state_dict().items()}
    video = {key.removeprefix("video_model."): state.pop(key) for key in list(state) if key.startswith("video_model.")}
    return model, state, video


def inputs(config=TINY):
    crop = config.lips.crop
    draw = torch.Generator().manual_seed(3)
    return torch.randn(1, 3200, generator=draw), torch.randn(1, 5, crop, crop, generator=draw)


@torch.inference_mode()
def assert_same(model, other, config=TINY):
    torch.testing.assert_close(model(*inputs(config)), other(*inputs(config)), rtol=1e-5, atol=1e-6)


@pytest.fixture
def files(tmp_path):
    """The authors' two files: the separator as they publish it, and a lip reader with the rest of its training."""
    model, state, video = published()
    content = {"model_name": "IIANet", "state_dict": state, "model_args": ARGUMENTS, "infos": []}
    torch.save(content, tmp_path / "best_model.pth")
    lips = {"model_state_dict": {**video, **TCN}, "epoch_idx": 80, "optimizer_state_dict": {"state": {}}}
    torch.save(lips, tmp_path / "lrw.pth.tar")
    return model, tmp_path / "best_model.pth", tmp_path / "lrw.pth.tar"


# --- Parity vectors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_published_network_is_reproduced(path):
    verdict = check_file(path)
    assert verdict.ok, verdict.reason or verdict
    assert verdict.max_abs_error < 1e-6


def test_every_kind_of_vector_is_here():
    kinds = [json.loads(read(path)[1]["config"])["kind"] for path in VECTORS]
    assert set(kinds) == set(iianet.families)
    assert len(kinds) == 10


def read(path):
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 (not a dict)


@pytest.mark.parametrize(
    ("stem", "key"),
    [
        *(("iianet_01_depth5_cycles6", key) for key in ("output", "loss_neg_snr", "loss_neg_sisdr")),
        *(("iianet_01_depth5_cycles6", f"mid/{name}") for name in ("encoder", "cycle0_global_v", "cycle0_video_out")),
        ("iianet_e2e_01", "embedding"),
        ("iianet_video_03_frontend3D_fullwidth", "output"),
    ],
)
def test_any_stored_value_that_differs_is_a_failure(tmp_path, stem, key):
    tensors, metadata = read(VECTORS[0].with_name(f"{stem}.safetensors"))
    tensors[key].view(-1)[0] += float("nan") if stem == "iianet_e2e_01" else 1e-2 * tensors[key].abs().max()
    save_file(tensors, tmp_path / "v.safetensors", metadata=metadata)
    verdict = check_file(tmp_path / "v.safetensors")
    assert not verdict.ok
    assert verdict.reason == f"{key} differs"


@pytest.mark.parametrize("submodule", ["frontend3D", "frontend3D.0", "trunk", "trunk.layer2", "trunk.layer1.0"])
def test_any_part_of_a_lip_reader_can_be_checked(tmp_path, submodule):
    model, _, video = published()
    part = {"frontend3D": "stem", "frontend3D.0": "stem.0", "trunk": "trunk", "trunk.layer2": "trunk.1"}
    part = model.lips.get_submodule(part.get(submodule, "trunk.0.0"))
    shape = (
        (1, 1, 5, 24, 24) if submodule.startswith("frontend") else (2, 3 if submodule != "trunk.layer2" else 4, 7, 7)
    )
    given = torch.randn(shape)
    with torch.inference_mode():
        output = part(given).mean(dim=(2, 3)) if submodule == "trunk" else part(given)
    tensors = {f"state/{key}": value for key, value in video.items() if key.startswith(f"{submodule}.")}
    tensors |= {"input_video": given, "output": output.clone()}
    metadata = {"config": json.dumps({"kind": "video_submodule", "submodule": submodule})}
    save_file(tensors, tmp_path / "v.safetensors", metadata=metadata)
    verdict = check_file(tmp_path / "v.safetensors")
    assert verdict.ok, verdict.reason


def test_a_vector_of_two_video_widths_says_that_they_must_be_one():
    spec = {"model": {"vin_channels": 8, "vout_channels": 12}}
    with pytest.raises(ConfigError, match=r"vin_channels is 8 but vout_channels 12"):
        iianet.config_from_published(spec)


# --- Published files --------------------------------------------------------------------------------------------------


def test_the_names_and_shapes_are_those_of_the_published_files():
    with torch.device("meta"):
        state = build_model(PRESETS["iianet"]).state_dict()
    shapes = {iianet.published_key(ours): tuple(value.shape) for ours, value in state.items()}
    assert sum(key.startswith("video_model.") for key in shapes) == 137
    assert len(shapes) == 137 + 277
    some = {
        "ln.weight": (9,),
        "pre_v.weight": (64, 512, 3),
        "sm.audio_blocks.0.proj_1x1.act.weight": (1,),
        "sm.audio_blocks.0.spp_dw.4.conv.weight": (512, 1, 5),
        "sm.audio_blocks.1.res_conv.weight": (128, 512, 1),
        "sm.audio_blocks.1.loc_glo_fus.4.global_act.conv.weight": (512, 1, 1),
        "sm.audio_blocks.1.last_layer.3.local_embedding.norm.bias": (512,),
        "sm.video_blocks.0.spp_dw.0.conv.weight": (64, 1, 3),
        "sm.video_blocks.1.video_res.4.conv.weight": (512, 64, 3),
        "sm.InterA_T.W_wav.conv.bias": (512,),
        "sm.InterA_T.W_video.conv.weight": (64, 512, 1),
        "sm.InterA_T.M_wav.conv.weight": (64, 512, 3),
        "sm.InterA_T.M_video.conv.weight": (512, 64, 5),
        "sm.InterA_T.amlp.attn.conv.weight": (512, 512, 3),
        "sm.InterA_T.amlp.mlp.fc1.conv.weight": (1024, 512, 1),
        "sm.InterA_T.amlp.mlp.dwconv.bias": (1024,),
        "sm.InterA_T.vmlp.mlp.norm.weight": (64,),
        "sm.InterA_B_A.1.weight": (1,),
        "sm.InterA_B_V.0.weight": (64, 1, 1),
        "mask_net.1.weight": (9, 128, 1),
        "decoder.weight": (9, 1, 16),
        "video_model.frontend3D.0.weight": (64, 1, 5, 7, 7),
        "video_model.frontend3D.2.weight": (64,),
        "video_model.trunk.layer4.1.relu2.weight": (512,),
        "video_model.trunk.layer2.0.downsample.1.running_var": (128,),
    }
    assert {key: shapes[key] for key in some} == some


def test_the_authors_two_files_make_one_network(files, tmp_path):
    model, separator, lips = files
    imported = import_checkpoint(separator, lip_reading=lips)
    assert imported.config == TINY
    assert_same(imported, model)
    save_checkpoint(tmp_path / "ours.safetensors", imported, name="ours")
    assert_same(load_checkpoint(tmp_path / "ours.safetensors"), model)


def test_without_a_lip_reading_file_the_network_takes_embeddings_and_says_so(files, caplog):
    model, separator, _ = files
    imported = import_checkpoint(separator)
    assert imported.config == replace(TINY, lips=None)
    assert "--lip-reading" in caplog.text
    mixture, crops = inputs()
    with torch.inference_mode():
        torch.testing.assert_close(imported(mixture, model.read_lips(crops)), model(mixture, crops))


def test_a_lightning_file_has_both(tmp_path):
    model, state, video = published()
    state = {f"audio_model.{key}": value for key, value in state.items()}
    state |= {f"video_model.module.{key}": value for key, value in {**video, **TCN}.items()}
    config = {"audionet": {"audionet_name": "IIANet", "audionet_config": ARGUMENTS}}
    torch.save({"state_dict": state, "training_config": config}, tmp_path / "epoch=9.ckpt")
    imported = import_checkpoint(tmp_path / "epoch=9.ckpt")
    assert imported.config == TINY
    assert_same(imported, model)


def test_a_lip_reading_file_wins_over_the_one_in_a_lightning_file(tmp_path, files):
    model, _, lips = files
    _, state, video = published()
    state |= {f"video_model.{key}": value + 1 for key, value in video.items()}
    torch.save({"model_name": "IIANet", "state_dict": state, "model_args": ARGUMENTS}, tmp_path / "both.pth")
    assert_same(import_checkpoint(tmp_path / "both.pth", lip_reading=lips), model)


def test_the_early_names_are_known_and_what_the_final_network_lacks_is_left_out(tmp_path, caplog):
    _, state, _ = published()
    early = {
        "sm.InterA_T.": "sm.mlp_avfusion.",
        "sm.InterA_B_A.": "sm.concat_block.",
        "sm.InterA_B_V.": "sm.video_concat.",
    }
    for today, then in early.items():
        state = {key.replace(today, then): value for key, value in state.items()}
    state["sm.audio_fusion.3.weight"] = torch.zeros(1)
    torch.save({"model_name": "IIANet", "state_dict": state, "model_args": ARGUMENTS}, tmp_path / "early.pth")
    imported = import_checkpoint(tmp_path / "early.pth")
    assert "left out 1 tensors" in caplog.text
    wanted = network().state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in imported.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [{"depth": 1}, {"depth": 5, "n_src": 2}, {"window_ms": 2.0}, {"lips": replace(LIPS, stem=4, activation="relu")}],
    ids=str,
)
def test_published_files_of_any_size_come_back_as_they_were(changes):
    config = replace(TINY, **changes)
    model, state, video = published(config)
    state |= {f"video_model.{key}": value for key, value in video.items()}
    inferred = iianet.infer_config(state, overrides={"n_iterations": 2, "sample_rate": 16_000})
    assert inferred == config
    back = iianet.convert_state(state, inferred)
    assert all(torch.equal(back[name], value) for name, value in model.state_dict().items())


def test_what_no_tensor_shows_must_be_given(tmp_path):
    _, state, _ = published()
    torch.save({"model_name": "IIANet", "state_dict": state, "model_args": {"n_src": 2}}, tmp_path / "raw.pth")
    with pytest.raises(ConfigError, match=r"--n-iterations.*16.*10 for IIANet-fast"):
        import_checkpoint(tmp_path / "raw.pth")
    imported = import_checkpoint(tmp_path / "raw.pth", overrides={"n_iterations": 2, "n_fusion": 1})
    assert imported.config == replace(TINY, n_fusion=1, lips=None)


def test_the_settings_beside_the_authors_file_say_what_no_tensor_shows(tmp_path):
    _, state, _ = published()
    torch.save({"model_name": "IIANet", "state_dict": state, "model_args": {"n_src": 2}}, tmp_path / "best_model.pth")
    settings = {
        "audionet": {"audionet_name": "IIANet", "audionet_config": ARGUMENTS},
        "videonet": {"videonet_name": "FRCNNVideoModel", "videonet_config": {"pretrain": "elsewhere/lrw.pth.tar"}},
        "datamodule": {"data_config": {"sample_rate": 16_000}},
    }
    (tmp_path / "conf.yml").write_text(json.dumps(settings))
    assert import_checkpoint(tmp_path / "best_model.pth").config == replace(TINY, lips=None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"depth": 4}, "depth is given as 4 but the weights show 3"),
        ({"n_fusions": 4}, r"'n_fusions'.*did you mean 'n_fusion'"),
        ({"sample_rate": 0}, "sample_rate is given as 0"),
        ({"form": "paper"}, "'form'"),
    ],
)
def test_what_contradicts_the_tensors_is_refused(overrides, message):
    _, state, _ = published()
    with pytest.raises(ConfigError, match=message):
        iianet.infer_config(state, overrides={"n_iterations": 2, **overrides})


def test_missing_surplus_and_misshapen_tensors_are_listed_in_one_error(tmp_path):
    _, state, video = published()
    del state["mask_net.1.bias"], video["trunk.layer2.0.bn2.running_var"]
    state["sm.extra.weight"] = torch.zeros(1)
    state["sm.InterA_B_V.0.bias"] = torch.zeros(4)
    state |= {f"video_model.{key}": value for key, value in video.items()}
    torch.save({"model_name": "IIANet", "state_dict": state, "model_args": ARGUMENTS}, tmp_path / "torn.pth")
    with pytest.raises(CheckpointError, match="4 differences") as refusal:
        import_checkpoint(tmp_path / "torn.pth")
    for key in (
        "missing mask_net.1.bias",
        "trunk.layer2.0.bn2.running_var",
        "surplus sm.extra.weight",
        "(4,), not (5,)",
    ):
        assert key in str(refusal.value)


# --- Lip-reading files ------------------------------------------------------------------------------------------------


def spoiled(video, state, how):
    match how:
        case "a separator":
            return state
        case "colour":
            return {**video, "frontend3D.0.weight": torch.zeros(3, 3, 5, 7, 7)}
        case "ShuffleNet":
            return {key.replace("trunk.layer", "trunk.stage"): value for key, value in video.items()}
        case "untrained":
            return {
                key: torch.ones_like(value) if ".bn" in key or "3D.1" in key else value for key, value in video.items()
            }
        case "wide":
            return published(replace(TINY, visual_channels=7, lips=replace(LIPS, widths=(4, 7))))[2]
        case "torn":
            return {key: value for key, value in video.items() if key != "trunk.layer1.0.bn1.bias"}
        case "surplus":
            return {**video, "fc.weight": torch.zeros(3)}
        case "blind":
            return {**video, "frontend3D.0.weight": torch.zeros_like(video["frontend3D.0.weight"])}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a separator", r"wrong\.pth holds no lip-reading network.*such as .*lrw_resnet18_mstcn_adamw_s3"),
        ("colour", r"wrong\.pth is a lip-reading network of another make.*\(3, 5, 7, 7\)"),
        ("ShuffleNet", r"wrong\.pth holds no lip-reading network"),
        ("untrained", r"wrong\.pth was never trained"),
        ("wide", r"gives embeddings of 7 channels but the separator in .*best_model\.pth takes 6"),
        ("torn", r"missing video_model\.trunk\.layer1\.0\.bn1\.bias"),
        ("surplus", r"surplus video_model\.fc\.weight"),
        ("blind", r"does not see: two faces changed its voice by \S+ of it.*lip-reading file is not"),
    ],
)
def test_a_wrong_lip_reading_file_is_refused(files, tmp_path, how, message):
    _, separator, _ = files
    _, state, video = published()
    torch.save({"model_state_dict": spoiled(video, state, how)}, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(separator, lip_reading=tmp_path / "wrong.pth")


def test_a_lip_reader_with_another_network_behind_it_is_taken_with_a_warning(files, tmp_path, caplog):
    _, separator, lips = files
    import_checkpoint(separator, lip_reading=lips)
    assert not caplog.text
    _, _, video = published()
    torch.save({"model_state_dict": {**video, "tcn.tcn_trunk.weight": torch.zeros(1)}}, tmp_path / "dc.pth")
    import_checkpoint(separator, lip_reading=tmp_path / "dc.pth")
    assert "not by a multi-scale TCN" in caplog.text


def test_a_lip_reading_file_alone_is_no_separator(files):
    _, _, lips = files
    with pytest.raises(CheckpointError, match=r"lip-reading network and no separator.*--lip-reading"):
        import_checkpoint(lips)


def test_a_network_that_only_hears_takes_no_lip_reading_file(files, tmp_path):
    _, _, lips = files
    torch.save({"encoder.weight": torch.zeros(3, 1, 4)}, tmp_path / "audio.pth")
    with pytest.raises(CheckpointError, match=r"audio\.pth holds no audio-visual network"):
        import_checkpoint(tmp_path / "audio.pth", lip_reading=lips)


@pytest.mark.parametrize("keys", [["frontend3D.0.weight"], ["video_model.frontend3D.0.weight", "video_model.tcn.x"]])
def test_a_lip_reader_is_known_by_its_names(keys):
    assert lip_reading.is_lip_reading(keys)
    assert not lip_reading.is_lip_reading([*keys, "sm.audio_blocks.0.proj_1x1.conv.weight"])
