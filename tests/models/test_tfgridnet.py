from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from unmingle.errors import ConfigError
from unmingle.layers.recurrent import TapLSTM
from unmingle.metrics.cost import count_macs, count_parameters
from unmingle.models import build_model
from unmingle.presets import PRESETS, TFGridNetConfig

TINY = TFGridNetConfig(window=32, hop=8, channels=4, kernel=3, hidden=5, n_blocks=1, n_heads=2, query_width=20)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("tfgridnet", 14.52),
        ("tfgridnet-16k", 14.71),
        ("tfgridnet-65-bins", 14.44),
        ("tfgridnet-48", 8.24),
        ("tfgridnet-48-short", 8.18),
        ("tfgridnet-fast", 7.63),
        ("tfgridnet-causal", 1.146),
    ],
)
def test_sizes_are_the_published_ones(name, millions):
    with torch.device("meta"):
        model = build_model(PRESETS[name])
    assert count_parameters(model) / 1e6 == pytest.approx(millions, abs=0.005 if millions > 2 else 5e-4)


@pytest.fixture
def macs(monkeypatch):
    """What a second costs; the LSTMs by the formula, since without memory torch would go through them step by step."""
    monkeypatch.setattr(TapLSTM, "forward", lambda self, x: x.new_empty(*x.shape[:2], self.out_features))
    return count


def count(config):
    frames, bins = 1 + config.sample_rate // config.hop, config.n_bins
    directions = 1 if config.causal else 2
    along_bins = frames * ((bins - config.kernel) // config.stride + 1)
    along_frames = bins * (frames if config.causal else (frames - config.kernel) // config.stride + 1)
    per_step = directions * 4 * config.hidden * (config.channels * config.kernel + config.hidden)
    with torch.device("meta"):
        model = build_model(config)
    return count_macs(model) + config.n_blocks * (along_bins + along_frames) * per_step


@pytest.mark.parametrize(
    ("name", "gigamacs"),
    [
        ("tfgridnet", 226.7),
        ("tfgridnet-16k", 453.9),
        ("tfgridnet-65-bins", 113.1),
        ("tfgridnet-48", 127.8),
        ("tfgridnet-48-short", 63.8),
        ("tfgridnet-fast", 117.8),
        ("tfgridnet-causal", 18.16),
    ],
)
def test_costs_are_the_published_ones(name, gigamacs, macs):
    assert macs(PRESETS[name]) / 1e9 == pytest.approx(gigamacs, rel=0.01)


def test_the_small_one_is_small(macs):
    with torch.device("meta"):
        model = build_model(PRESETS["tfgridnet-small"])
    assert count_parameters(model) <= 1_500_000
    assert macs(PRESETS["tfgridnet-small"]) <= 6_000_000_000


def lstm(x, weights, suffix):
    """(L, features) through one direction, a step at a time."""
    hidden = cell = torch.zeros(5, dtype=x.dtype)
    outputs = []
    for step in x.flip(0) if suffix else x:
        gates = F.linear(step, weights[f"weight_ih_l0{suffix}"], weights[f"bias_ih_l0{suffix}"])
        gates = gates + F.linear(hidden, weights[f"weight_hh_l0{suffix}"], weights[f"bias_hh_l0{suffix}"])
        enter, keep, new, leave = gates.chunk(4)
        cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs[::-1] if suffix else outputs)


def by_the_formula(path, x):
    """One sequence, (L, C): norm, vectors, LSTM, transposed convolution, residual, each written out."""
    y = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    y = y * path.norm.weight + path.norm.bias
    vectors = torch.stack([y[start : start + 3].T.flatten() for start in range(len(y) - 2)])
    weights = dict(path.network.lstm.named_parameters())
    features = torch.cat([lstm(vectors, weights, ""), lstm(vectors, weights, "_reverse")], dim=1)
    folded = path.fold.conv.bias.repeat(len(x), 1)
    for start, vector in enumerate(features):
        for tap in range(3):
            folded[start + tap] += vector @ path.fold.conv.weight[:, :, tap]
    return x + folded


@torch.no_grad()
def test_a_block_is_the_formula_along_bins_then_along_frames():
    torch.manual_seed(0)
    block = build_model(TINY).double().blocks[0]
    x = torch.randn(6, 17, 4, dtype=torch.float64)
    after_bins = torch.stack([by_the_formula(block.spectral, frame) for frame in x])
    after_frames = torch.stack([by_the_formula(block.temporal, column) for column in after_bins.transpose(0, 1)])
    expected = block.attention(after_frames.permute(2, 1, 0).unsqueeze(0)).permute(0, 2, 3, 1)
    torch.testing.assert_close(block(x.unsqueeze(0)), expected, rtol=0, atol=1e-12)


@torch.inference_mode()
@pytest.mark.parametrize("config", [TINY, replace(TINY, causal=True)], ids=["usual", "causal"])
@pytest.mark.parametrize("time", [1, 16, 17, 20])
def test_mixtures_shorter_than_the_window_and_the_kernel_come_back_whole(config, time):
    torch.manual_seed(0)
    estimates = build_model(replace(config, kernel=6)).eval()(torch.randn(2, time))
    assert estimates.shape == (2, 2, time)
    assert estimates.isfinite().all()


@torch.inference_mode()
def test_silence_gives_silence():
    assert (build_model(TINY).eval()(torch.zeros(1, 100)) == 0).all()


@pytest.mark.parametrize("context", [None, 4])
def test_the_causal_one_hears_no_more_than_a_window_ahead(context):
    torch.manual_seed(0)
    model = build_model(replace(TINY, causal=True, attn_context=context, n_blocks=2)).eval()
    mixture = torch.randn(1, 300, requires_grad=True)
    for sample in (60, 133, 200):
        (gradient,) = torch.autograd.grad(model(mixture)[0, :, sample].sum(), mixture)
        assert gradient[0, sample].any()
        assert gradient[0, : sample - 40].any()
        assert not gradient[0, sample + TINY.window :].any()


def test_samples_where_frames_only_meet_stay_finite():
    estimates = build_model(replace(TINY, hop=32))(torch.randn(1, 300))
    assert estimates.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"causal": True, "stride": 2}, "a vector at every frame"),
        ({"attn_context": 4}, "causal is False"),
        ({"causal": True, "attn_context": 0}, "from 1 up"),
        ({"hidden": 0}, "hidden is 0"),
    ],
)
def test_numbers_that_make_no_network_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)
