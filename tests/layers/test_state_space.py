import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from unmingle.layers.selective_scan import BACKENDS
from unmingle.layers.state_space import BMamba, MambaMixer

FOLDER = Path(__file__).parents[1] / "vectors"


def read(name):
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return file.metadata(), tensors


def block_of(name, dtype=torch.float64):
    metadata, tensors = read(name)
    bidirectional = metadata["bidirectional"] == "True"
    sizes = json.loads(metadata["mamba"])
    block = BMamba(int(metadata["in_channels"]), n_units=int(metadata["n_layer"]), bidirectional=bidirectional, **sizes)
    state = {key: value for key, value in tensors.items() if key.startswith("state/")}
    block.load_state_dict({key[6:].replace("_blocks.", "_units."): value for key, value in state.items()})
    return block.to(dtype), {key: tensors[key].to(dtype) for key in ("input", "output", "mixer0_output")}


@torch.inference_mode()
@pytest.mark.parametrize("name", ["mamba_block_bidir", "mamba_block_unidir"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-6)], ids=str)
def test_the_published_blocks_are_reproduced(name, dtype, tolerance):
    block, stored = block_of(name, dtype)
    assert block.out_features == stored["output"].shape[-1]
    torch.testing.assert_close(block(stored["input"]), stored["output"], rtol=0, atol=tolerance)
    mixed = block.forward_units[0].mixer(stored["input"])
    torch.testing.assert_close(mixed, stored["mixer0_output"], rtol=0, atol=tolerance)


@torch.inference_mode()
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name in ("plain", "stepwise", "compiled")])
def test_a_block_computes_the_same_whatever_computes_the_scan(backend):
    if backend == "compiled":
        pytest.importorskip("numba")
    block, stored = block_of("mamba_block_bidir", torch.float32)
    block.use_backend(backend)
    torch.testing.assert_close(block(stored["input"]), stored["output"], rtol=0, atol=1e-5)


@torch.no_grad()
def test_units_follow_each_other_and_the_way_back_is_the_way_there_reversed():
    torch.manual_seed(0)
    both, x = BMamba(6, n_units=2, d_state=3, expand=2), torch.randn(2, 7, 6)
    forwards = both.forward_units[1](both.forward_units[0](x))
    backwards = both.backward_units[1](both.backward_units[0](x.flip(1))).flip(1)
    torch.testing.assert_close(both(x), torch.cat([forwards, backwards], dim=-1))
    one_way = BMamba(6, n_units=2, bidirectional=False, d_state=3, expand=2)
    one_way.load_state_dict({k: v for k, v in both.state_dict().items() if k.startswith("forward")})
    torch.testing.assert_close(one_way(x), forwards)


def test_a_mixer_knows_no_future():
    torch.manual_seed(0)
    mixer, x = MambaMixer(5, d_state=3, expand=2), torch.randn(1, 9, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(mixer(x)[0, 4].sum(), x)
    assert gradient[0, :5].any(dim=1).all()
    assert not gradient[0, 5:].any()


def test_it_begins_as_published():
    torch.manual_seed(0)
    mixer = MambaMixer(32, d_state=4, expand=4)
    assert mixer.dt_proj.weight.shape == (128, 2)
    torch.testing.assert_close(mixer.A_log.exp(), torch.arange(1.0, 5).repeat(128, 1))
    assert (mixer.D == 1).all()
    steps = torch.nn.functional.softplus(mixer.dt_proj.bias)
    assert steps.min() >= 1e-3 * 0.999
    assert steps.max() <= 0.1 * 1.001
    assert abs(steps.log().mean() - math.log(1e-2)) < 0.4  # evenly in the logarithm
    assert mixer.dt_proj.weight.abs().max() <= 2**-0.5


def test_under_autocast_the_scan_stays_in_float32_and_gradients_flow():
    torch.manual_seed(0)
    mixer, x = MambaMixer(8, d_state=4, expand=2), torch.randn(2, 20, 8)
    expected = mixer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = mixer(x)
    y.sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in mixer.parameters())
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.02)
