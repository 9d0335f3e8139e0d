"""What every network promises, whatever its paper."""

from dataclasses import replace
from typing import get_args

import pytest
import torch

from unmingle.checkpoint import load_checkpoint, save_checkpoint
from unmingle.errors import ConfigError, ShapeError, SignalError
from unmingle.models import MODELS, AudioVisualModel, build_model
from unmingle.presets import (
    CONFIGS,
    AFRCNNConfig,
    ConvTasNetConfig,
    DPRNNConfig,
    IIANetConfig,
    SPMambaConfig,
    TDANetConfig,
    TFACMConfig,
    TFGridNetConfig,
)
from unmingle.presets.afrcnn import Scheme
from unmingle.presets.iianet import LipReadingConfig
from unmingle.presets.tdanet import Form

ATOL = 2e-6

_AFRCNN = AFRCNNConfig(window=9, n_basis=12, channels=8, hidden=8, depth=3, n_iterations=2)
_TDANET = TDANetConfig(sample_rate=8000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)
_TFACM = TFACMConfig(window=32, channels=8, n_blocks=2, kernel=4, query_width=32, segment_size=6)
_IIANET = IIANetConfig(
    sample_rate=8000,
    frame_rate=100,
    channels=8,
    hidden=8,
    visual_channels=6,
    video_channels=4,
    depth=3,
    n_iterations=3,
    n_fusion=2,
    lips=None,
)
_LIPS = LipReadingConfig(stem=2, widths=(4, 6), blocks=(1, 2), crop=2, learns="everything")
_SPMAMBA = SPMambaConfig(
    window=32, hop=8, channels=4, kernel=3, n_blocks=2, n_heads=2, query_width=20, expand=2, d_state=3
)
_CONVTASNET = ConvTasNetConfig(window=8, n_basis=10, channels=6, skip=5, hidden=8, depth=3, n_repeats=2)
_DPRNN = DPRNNConfig(window=4, n_basis=6, hidden=5, chunk=8, n_blocks=2)
_TFGRIDNET = TFGridNetConfig(window=32, hop=8, channels=4, kernel=3, hidden=5, n_blocks=2, n_heads=2, query_width=20)
TINY = {
    "afrcnn": [replace(_AFRCNN, scheme=scheme) for scheme in get_args(Scheme)]
    + [replace(_AFRCNN, depth=2), replace(_AFRCNN, n_src=3), replace(_AFRCNN, n_iterations=1)],
    "convtasnet": [_CONVTASNET, replace(_CONVTASNET, n_src=3, kernel=5, depth=1, n_repeats=1, window=2)],
    "dprnn": [_DPRNN, replace(_DPRNN, n_src=3, chunk=2, window=2, n_blocks=1)],
    "iianet": [
        _IIANET,
        replace(_IIANET, lips=_LIPS),
        replace(_IIANET, n_iterations=1, depth=1),
        replace(_IIANET, n_src=2, n_fusion=1, window_ms=2),
    ],
    "spmamba": [
        _SPMAMBA,
        replace(_SPMAMBA, n_src=3, stride=2, n_units=2, n_blocks=1, hop=12, d_conv=2, activation="relu"),
    ],
    "tdanet": [replace(_TDANET, form=form) for form in get_args(Form)]
    + [replace(_TDANET, form=form, depth=2) for form in get_args(Form)]
    + [replace(_TDANET, n_src=3, depth=6, window_ms=2), replace(_TDANET, n_iterations=1)],
    "tfacm": [
        _TFACM,
        replace(_TFACM, form="published"),
        replace(_TFACM, overlap=False, deconv_lookahead=1, attn_context=7, dc="remove"),
        replace(_TFACM, stride=2, gate="sigmoid", n_blocks=1, n_src=3),
    ],
    "tfgridnet": [
        _TFGRIDNET,
        replace(_TFGRIDNET, causal=True),
        replace(_TFGRIDNET, causal=True, attn_context=5),
        replace(_TFGRIDNET, n_src=3, stride=2, n_blocks=1, kernel=4, hop=16),
    ],
}


def _name(config):
    values = [f"{key}={value}" for key, value in vars(config).items() if value != getattr(type(config)(), key)]
    return f"{config.family}({','.join(values)})"


@pytest.fixture(params=[config for family in MODELS for config in TINY[family]], ids=_name)
def model(request):
    torch.manual_seed(0)
    return build_model(request.param).eval()


def separated(model, mixture):
    """What a network makes of mixtures; one that wants to see gets the same face for each of them."""
    if not isinstance(model, AudioVisualModel):
        return model(mixture)
    config, n_frames = model.config, model.config.n_frames(mixture.shape[-1])
    crop = config.lips and config.lips.crop
    shape = (n_frames, crop, crop) if crop else (config.visual_channels, n_frames)
    face = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return model(mixture, face.expand(mixture.shape[0], *shape))


def test_every_family_is_in_the_contract():
    assert MODELS.keys() == TINY.keys() == CONFIGS.keys()


@torch.inference_mode()
def test_any_length_from_one_window_up_comes_back_whole(model):
    for extra in (0, 1, 2, 7, 58, 331):
        mixture = torch.randn(2, model.config.window + extra)
        estimates = separated(model, mixture)
        assert estimates.shape == (2, model.config.n_src, mixture.shape[-1])
        assert estimates.isfinite().all()


def test_gradient_reaches_every_parameter_that_is_used(model):
    estimates = separated(model, torch.randn(2, 400))
    (estimates * torch.randn_like(estimates)).sum().backward()
    reached = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    every = {name for name, _ in model.named_parameters()}
    assert every - reached == model.unused_parameters()


@torch.inference_mode()
def test_evaluation_is_deterministic(model):
    mixture = torch.randn(1, 300)
    assert torch.equal(separated(model, mixture), separated(model, mixture))


@torch.inference_mode()
def test_silence_stays_finite(model):
    assert separated(model, torch.zeros(1, 300)).isfinite().all()


@torch.inference_mode()
def test_an_utterance_ignores_its_neighbours(model):
    batch = torch.randn(3, 301) * torch.tensor([[0.01], [1.0], [5.0]])
    alone = torch.cat([separated(model, one) for one in batch.split(1)])
    torch.testing.assert_close(separated(model, batch), alone, rtol=1e-5, atol=ATOL)


@torch.inference_mode()
def test_saving_and_loading_changes_nothing(model, tmp_path):
    save_checkpoint(tmp_path / "tiny.safetensors", model, name="tiny")
    loaded = load_checkpoint(tmp_path / "tiny.safetensors")
    mixture = torch.randn(1, 300)
    assert loaded.config == model.config
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    # Not to the last bit: matrix products may round otherwise where a weight lies at another address.
    torch.testing.assert_close(separated(loaded, mixture), separated(model, mixture), rtol=1e-5, atol=ATOL)


def test_anything_but_batch_and_time_is_refused_with_its_shape(model):
    for shape in [(300,), (1, 1, 300), (2, 0), (0, 300)]:
        with pytest.raises(ShapeError, match=r"\(batch, time\)") as refusal:
            separated(model, torch.zeros(shape))
        assert str(shape) in str(refusal.value)
    with pytest.raises(SignalError, match="int16"):
        separated(model, torch.zeros(1, 300, dtype=torch.int16))


def test_what_is_no_configuration_builds_nothing():
    with pytest.raises(ConfigError, match=r"dict .*AFRCNNConfig, .*TDANetConfig"):
        build_model({"n_src": 2})  # pyright: ignore[reportArgumentType]
