import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from unmingle.convert import spmamba
from unmingle.errors import ConfigError
from unmingle.metrics.cost import count_fused_macs, count_macs, count_parameters
from unmingle.models import build_model
from unmingle.presets import PRESETS, SPMambaConfig

TINY = SPMambaConfig(window=32, hop=8, channels=4, kernel=3, n_blocks=1, n_heads=2, query_width=20, expand=2, d_state=3)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["spmamba_model_a", "spmamba_model_b"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-7)], ids=str)
def test_a_published_network_is_reproduced(name, dtype, tolerance):
    with safe_open(Path(__file__).parents[1] / "vectors" / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        spec = {key: json.loads(file.metadata()[key]) for key in ("config", "mamba")}
    config = spmamba.config_from_published(spec)
    model = build_model(config).eval()
    state = {key.removeprefix("state/"): value for key, value in tensors.items() if key.startswith("state/")}
    model.load_state_dict(spmamba.convert_state(state, config))
    estimates = model.to(dtype)(tensors["input"].to(dtype))
    torch.testing.assert_close(estimates, tensors["output"].to(dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "parameters", "gigamacs"), [("spmamba-16k", 6_141_826, 235.0), ("spmamba-8k", 6_094_498, 116.4)]
)
def test_size_and_cost_are_the_published_ones(name, parameters, gigamacs):
    with torch.device("meta"):
        model = build_model(PRESETS[name])
    assert count_parameters(model) == parameters
    assert count_macs(model, include_fused=True) / 1e9 == pytest.approx(gigamacs, abs=0.05)


def test_a_scan_counts_every_operation():
    config = replace(TINY, n_blocks=1)
    with torch.device("meta"):
        model = build_model(config)
    frames, bins = 1 + 8000 // 8, 17
    steps = 2 * (frames * (bins - 2) + bins * (frames - 2))
    scans = steps * (2 * 4 * 3) * (9 * 3 + 2)
    attention = 2 * frames**2 * (2 * 17 + 2 * 17)
    fused = count_fused_macs(model)
    assert fused in (scans, scans + attention)  # whether torch fuses the attention is its affair


@torch.inference_mode()
def test_silence_gives_silence_and_speech_the_same_with_silence_beside_it():
    torch.manual_seed(0)
    model = build_model(TINY).eval()
    batch = torch.randn(2, 200)
    batch[0] = 0
    estimates = model(batch)
    assert (estimates[0] == 0).all()
    torch.testing.assert_close(estimates[1], model(batch[1:])[0], rtol=1e-5, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("time", [1, 2, 16, 17, 20])
def test_mixtures_shorter_than_the_window_and_the_kernel_come_back_whole(time):
    torch.manual_seed(0)
    estimates = build_model(replace(TINY, kernel=6, stride=4)).eval()(torch.randn(2, time))
    assert estimates.shape == (2, 2, time)
    assert estimates.isfinite().all()


@torch.inference_mode()
def test_the_level_passes_through():
    torch.manual_seed(0)
    model, mixture = build_model(TINY).eval(), torch.randn(1, 300)
    torch.testing.assert_close(model(1e-3 * mixture), 1e-3 * model(mixture), rtol=1e-4, atol=1e-8)


def test_the_small_one_is_small():
    with torch.device("meta"):
        model = build_model(PRESETS["spmamba-small"])
    assert count_parameters(model) <= 1_500_000
    assert count_macs(model, include_fused=True) <= 6_000_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 33}, "even number"),
        ({"hop": 40}, "more than the window of 32"),
        ({"stride": 4}, "more than the kernel of 3"),
        ({"channels": 5}, "multiple of n_heads, 2"),
        ({"expand": 0}, "expand is 0"),
        ({"eps": 0.0}, "above 0"),
    ],
)
def test_numbers_that_make_no_network_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)
