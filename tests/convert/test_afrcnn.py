"""Published weights of the A-FRCNN family: the stored vectors, and random weights in every published layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from unmingle.convert import import_checkpoint
from unmingle.convert.afrcnn import config_from_published, convert_state, infer_config, recognises
from unmingle.errors import CheckpointError, ConfigError
from unmingle.models.afrcnn import AFRCNN
from unmingle.presets.afrcnn import AFRCNNConfig

VECTORS = sorted(
    path
    for prefix in ("afrcnn", "control", "sfrcnn", "unet")
    for path in (Path(__file__).parents[1] / "vectors").glob(f"{prefix}*.safetensors")
)
TOLERANCE = 5e-6  # the specification allows 2e-5


def _read(path):
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        spec = json.loads(file.metadata()["spec"])
    return spec, {key.removeprefix("state/"): value for key, value in tensors.items() if "state/" in key}, tensors


def _gln(name, width):
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _conv(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": (shape[0],)}


class Layout:
    """Published names and shapes, written down from their tables rather than from the converter."""

    def __init__(self, network, *, old, channels, hidden, n_basis, window, n_src, depth, mode="SC"):
        self.network, self.old, self.mode = network, old, mode
        self.C0, self.C, self.N, self.K, self.M, self.S = channels, hidden, n_basis, window, n_src, depth

    def unit(self, name, out, fan_in=None, kernel=1, norm=None, act=True):
        conv, gln, prelu = (f"{name}.net.{i}" for i in range(3)) if self.old else (f"{name}.{p}" for p in _PARTS)
        if fan_in is None:  # gLN and PReLU alone
            gln, prelu = (conv, gln) if self.old else (gln, prelu)
            return {**_gln(gln, out), f"{prelu}.weight": (1,)}
        return {
            **_conv(conv, out, fan_in, kernel),
            **_gln(gln, norm or out),
            **({f"{prelu}.weight": (1,)} if act else {}),
        }

    def depthwise(self, name, act=False):
        return self.unit(name, self.C, 1, 5, act=act)

    def shuffle(self, name):
        return self.unit(name, 2 * self.C, 1, 5, norm=self.C, act=False)

    def shapes(self):
        outside = {
            "encoder.weight": (self.N, 1, self.K),
            **_gln("ln", self.N),
            **_conv("bottleneck", self.C0, self.N, 1),
            "mask_net.0.weight": (1,),
            **_conv("mask_net.1", self.M * self.N, self.C0, 1),
            "decoder.weight": (self.M * self.N, self.M, self.K),
        }
        if self.mode != "DC":
            outside |= _conv("sm.concat_block.0", self.C0, 2 if self.mode == "CC" else 1, 1)
            outside |= {"sm.concat_block.1.weight": (1,)}
        prefix = {"concat": "blocks", "sum": "block"}.get(self.network, "hrnet")
        prefix = f"sm.{'msrnn' if self.old else prefix}."
        return outside | {prefix + key: shape for key, shape in self.block().items()}

    def block(self):
        first, stages = ("first", "bottom_up") if self.old else ("proj_1x1", "spp_dw")
        shapes = self.unit(first, self.C, self.C0) | _conv("res_conv", self.C0, self.C, 1)
        for k in range(self.S):
            shapes |= self.depthwise(f"{stages}.{k}")
        return shapes | getattr(self, self.network)()

    def concat(self, summed=False):
        local, last = ("top_down", "top_down_skip.0") if self.old else ("concat_layer", "last_layer.0")
        shapes = self.unit(last, self.C, self.S * self.C)
        for i in range(self.S):
            n = 2 if i in (0, self.S - 1) else 3
            shapes |= self.unit(f"{local}.{i}", self.C, None if summed else n * self.C)
            shapes |= self.depthwise(f"fuse_layers.{i}.0") if i else {}
        return shapes

    def sum(self):
        return self.concat(summed=True)

    def control1(self, reach=99):
        shapes = self.unit("last_layer.0", self.C)
        for i in range(self.S):
            sources = [j for j in range(self.S) if j >= i - reach]
            shapes |= self.unit(f"concat_layer.{i}", self.C, len(sources) * self.C)
            shapes |= self.shuffle(f"upsample_layers.{i}") if i < self.S - 1 else {}
            for j in sources:
                op = self.depthwise if j < i else self.shuffle
                for k in range(abs(i - j)):
                    shapes |= op(f"fuse_layers.{i}.{j}.{k}")
        return shapes

    def control2(self):
        return self.control1(reach=1)

    def sfrcnn(self):
        return self.unit("final_norm", self.C)

    def unet(self):
        shapes = self.unit("top_down_skip.0", self.C, (self.S - 1) * self.C)
        for t in range(self.S - 1):
            shapes |= self.depthwise(f"latlayer.{t}")
        return shapes

    def delay(self):
        shapes = self.unit("top_down_skip.0", self.C, self.S * self.C)
        for t in range(self.S - 1):
            shapes |= _conv(f"latlayer.{t}", self.C, self.C, 1) | self.unit(f"bottom_up_con.{t}", self.C, 2 * self.C)
            for n in range(t + 1):
                shapes |= self.depthwise(f"bottom_up_skip.downsample.{t}.{n}", act=True)
        return shapes


_PARTS = ("conv", "norm", "act")
NETWORKS = {
    "concat": ("afrcnn/concat", False),
    "sum": ("afrcnn/sum", False),
    "control1": ("control1", False),
    "control2": ("control2", False),
    "concat-v1": ("afrcnn/concat-v1", True),
    "sfrcnn": ("sfrcnn-code", True),
    "unet": ("unet-code", True),
    "delay": ("unet-delay-code", True),
}
SIZES = [
    {"channels": 6, "hidden": 10, "n_basis": 7, "window": 21, "n_src": 2, "depth": 3},
    {"channels": 8, "hidden": 4, "n_basis": 9, "window": 41, "n_src": 3, "depth": 4},
    {"channels": 4, "hidden": 4, "n_basis": 4, "window": 21, "n_src": 4, "depth": 6},
]
CASES = [
    (name, sizes, mode)
    for name, (_, old) in NETWORKS.items()
    for sizes in SIZES
    for mode in (("SC", "CC", "DC") if old else ("SC",))
]


def _published(name, sizes, mode="SC"):
    generator = torch.Generator().manual_seed(0)
    shapes = Layout(name.removesuffix("-v1"), old=NETWORKS[name][1], mode=mode, **sizes).shapes()
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def _spec(name, sizes, mode="SC", n_iterations=3):
    family, old = NETWORKS[name]
    arguments = {
        "out_channels": sizes["channels"],
        "in_channels": sizes["hidden"],
        "num_blocks": n_iterations,
        "states" if old else "upsampling_depth": sizes["depth"],
        "enc_kernel_size": sizes["window"],
        "enc_num_basis": sizes["n_basis"],
        "num_sources": sizes["n_src"],
        **({"recurrent_mode": mode} if old else {}),
    }
    return {"family": family, "config": arguments, "sample_rate": 8000 if sizes["window"] == 21 else 16_000}


def test_all_vectors_are_here():
    assert len(VECTORS) == 13


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
@torch.inference_mode()
def test_a_published_network_computes_what_it_computed_when_it_was_published(path):
    spec, state, tensors = _read(path)
    config = config_from_published(spec)
    model = AFRCNN(config).eval()
    model.load_state_dict(convert_state(state, config))
    blocks, whole = [], []
    model.separator.block.register_forward_hook(lambda _module, _input, output: blocks.append(output))
    model.separator.register_forward_hook(lambda _module, _input, output: whole.append(output))
    mixture = tensors["input"].reshape(-1, tensors["input"].shape[-1])
    estimates = model(mixture).reshape(tensors["output"].shape)
    torch.testing.assert_close(estimates, tensors["output"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(blocks[0], tensors["inter/block1"], rtol=1e-5, atol=TOLERANCE)
    torch.testing.assert_close(whole[0], tensors["inter/sm"], rtol=1e-5, atol=TOLERANCE)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_sizes_of_a_vector_are_seen_from_its_tensors(path):
    spec, state, _ = _read(path)
    stated = config_from_published(spec)
    assert infer_config(state, overrides={"n_iterations": stated.n_iterations}) == stated
    assert recognises(state, None)


@pytest.mark.parametrize(("name", "sizes", "mode"), CASES)
def test_any_published_layout_becomes_a_whole_network(name, sizes, mode):
    state = _published(name, sizes, mode)
    config = config_from_published(_spec(name, sizes, mode))
    converted = convert_state(state, config)
    assert len(converted) == len(state) == len({value.data_ptr() for value in converted.values()})
    AFRCNN(config).load_state_dict(converted)
    assert infer_config(state, overrides={"n_iterations": config.n_iterations}) == config


def test_the_public_direct_connection_runs_once_and_has_no_phi():
    config = config_from_published(_spec("concat-v1", SIZES[0], "DC", n_iterations=8))
    assert (config.unfolding, config.phi, config.n_iterations) == ("DC", "none", 1)


def test_defaults_are_those_of_the_public_classes():
    config = config_from_published({"family": "afrcnn/concat", "config": {}, "sample_rate": 8000})
    assert config == AFRCNNConfig(channels=128, depth=4)


def test_a_full_size_state_has_the_published_number_of_tensors():
    sizes = {"channels": 2, "hidden": 2, "n_basis": 2, "window": 21, "n_src": 2, "depth": 5}
    assert [len(_published(name, sizes)) for name in ("concat", "sum")] == [85, 75]


@pytest.mark.parametrize("name", ["AFRCNN", "Control1", "U_Net_Delay"])
def test_a_class_name_is_enough_to_be_recognised(name):
    assert recognises(["weight"], name)
    assert not recognises(["sm.unet.proj_1x1.conv.weight"], "TDANet")


def test_unfolding_counts_come_from_the_caller_or_the_file_but_never_from_a_guess():
    state = _published("concat", SIZES[0])
    with pytest.raises(ConfigError, match="n_iterations"):
        infer_config(state, model_name="AFRCNN", model_args={"n_src": 2})
    assert infer_config(state, model_args={"num_blocks": 12}).n_iterations == 12
    assert infer_config(state, model_args={"num_blocks": 12}, overrides={"n_iterations": 4}).n_iterations == 4


def test_the_sample_rate_follows_the_published_windows_unless_it_is_given():
    for sizes, rate in ((SIZES[0], 8000), (SIZES[1], 16_000)):
        assert infer_config(_published("sum", sizes), overrides={"n_iterations": 1}).sample_rate == rate
    odd = _published("sum", {**SIZES[0], "window": 17})
    with pytest.raises(ConfigError, match="pass sample_rate"):
        infer_config(odd, overrides={"n_iterations": 1})
    assert infer_config(odd, overrides={"n_iterations": 1, "sample_rate": 11_025}).sample_rate == 11_025


@pytest.mark.parametrize(
    ("overrides", "said"),
    [({"n_iteration": 3}, "did you mean 'n_iterations'"), ({"n_iterations": 3, "depth": 5}, "weights are of 3")],
)
def test_overrides_that_cannot_be_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=said):
        infer_config(_published("concat", SIZES[0]), overrides=overrides)


def test_a_setting_of_a_wrong_kind_is_named_as_given(tmp_path):
    torch.save({key: value.clone() for key, value in _published("sum", SIZES[0]).items()}, tmp_path / "net.pth")
    with pytest.raises(ConfigError, match=r"given beside it, {'n_iterations': 'four'}, makes no network"):
        import_checkpoint(tmp_path / "net.pth", overrides={"n_iterations": "four"})


def test_missing_and_surplus_tensors_are_listed_together_in_published_words():
    state = _published("concat-v1", SIZES[0])
    config = config_from_published(_spec("concat-v1", SIZES[0]))
    state["left.over"] = state.pop("sm.msrnn.top_down.1.net.0.weight")
    with pytest.raises(
        CheckpointError, match=r"1 missing: sm\.msrnn\.top_down\.1\.net\.0\.weight; 1 surplus: left\.over"
    ):
        convert_state(state, config)


def test_tensors_of_another_network_are_refused_in_words():
    with pytest.raises(CheckpointError, match="no block of an A-FRCNN"):
        infer_config({"weight": torch.zeros(1)})
    headless = _published("concat", SIZES[0])
    del headless["encoder.weight"]
    with pytest.raises(CheckpointError, match=r"encoder\.weight .* is missing"):
        infer_config(headless)


def test_an_unknown_kind_or_argument_names_the_near_one():
    with pytest.raises(ConfigError, match="did you mean 'unet'"):
        config_from_published({"family": "unett", "config": {}})
    with pytest.raises(ConfigError, match="did you mean 'num_blocks'"):
        config_from_published({"family": "unet-code", "config": {"num_block": 3}})
