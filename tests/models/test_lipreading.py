from dataclasses import replace

import pytest
import torch
from torch import nn

from unmingle.errors import ConfigError, ShapeError, SignalError
from unmingle.models.lipreading import LipReading, prepare_crops
from unmingle.presets.iianet import LipReadingConfig

TINY = LipReadingConfig(stem=3, widths=(4, 4, 6), blocks=(1, 2, 1), crop=24)


def tiny(**changes):
    torch.manual_seed(0)
    return LipReading(replace(TINY, **changes)).eval()


def test_the_published_size_has_the_published_parameters_and_cost():
    with torch.device("meta"):
        lips = LipReading(LipReadingConfig())
    assert sum(parameter.numel() for parameter in lips.parameters()) == 11_186_688
    assert sum(buffer.numel() for buffer in lips.buffers()) == 9_620
    assert lips.embed(torch.empty(1, 2, 88, 88, device="meta")).shape == (1, 512, 2)


@torch.inference_mode()
def test_each_frame_sees_two_before_and_two_after():
    lips, video = tiny(), torch.randn(1, 11, 24, 24)
    changed = video.clone()
    changed[0, 5] += 1
    moved = (lips(changed) - lips(video)).abs().amax(dim=1)[0] > 0
    assert moved.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


@torch.inference_mode()
def test_faces_do_not_see_each_other():
    lips, video = tiny(), torch.randn(3, 4, 24, 24)
    alone = torch.cat([lips(one) for one in video.split(1)])
    torch.testing.assert_close(lips(video), alone, rtol=1e-5, atol=1e-6)


def test_the_first_stage_has_a_shortcut_only_where_the_width_changes():
    assert len(tiny().trunk[0][0].shortcut) == 2
    assert len(tiny(stem=4).trunk[0][0].shortcut) == 0


def test_relu_has_no_slopes():
    assert not any(isinstance(part, nn.PReLU) for part in tiny(activation="relu").modules())
    slopes = [part.weight.numel() for part in tiny().modules() if isinstance(part, nn.PReLU)]
    assert slopes == [3, 4, 4, 4, 4, 4, 4, 6, 6]


def test_crops_are_cut_to_the_centre_and_brought_to_unit_deviation():
    crops = torch.zeros(1, 2, 96, 96, dtype=torch.uint8)
    crops[..., 4:92, 4:92] = 255
    video = prepare_crops(crops)
    assert video.shape == (1, 2, 88, 88)
    torch.testing.assert_close(video, torch.full_like(video, (1 - 0.421) / 0.165))
    assert torch.equal(prepare_crops(crops.float()), video)
    assert prepare_crops(crops[:, :, :90, :91], size=24).shape == (1, 2, 24, 24)


@pytest.mark.parametrize("shape", [(2, 96, 96), (1, 2, 80, 96), (1, 2, 96, 80)])
def test_crops_that_are_too_small_are_refused(shape):
    with pytest.raises(ShapeError, match=r"at least 88 x 88"):
        prepare_crops(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(4, 24, 24), (1, 1, 4, 24, 24), (1, 4, 24, 26), (1, 0, 24, 24), (1, 4, 96, 96)])
def test_anything_but_crops_of_its_size_is_refused_with_its_shape(shape):
    with pytest.raises(ShapeError, match=r"\(batch, frames, 24, 24\)") as refusal:
        tiny()(torch.zeros(shape))
    assert str(shape) in str(refusal.value)


def test_gray_levels_as_integers_are_refused():
    with pytest.raises(SignalError, match=r"uint8.*prepare_crops"):
        tiny()(torch.zeros(1, 4, 24, 24, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("learns", "weights", "statistics"),
    [("nothing", False, False), ("statistics", False, True), ("everything", True, True)],
)
def test_training_changes_what_the_configuration_says(learns, weights, statistics):
    lips = tiny(learns=learns).train()
    before = {name: value.clone() for name, value in lips.state_dict().items()}
    optimizer = torch.optim.SGD(lips.parameters(), lr=0.1)
    embedding = lips(torch.randn(2, 3, 24, 24))
    if embedding.requires_grad:
        (embedding * torch.randn_like(embedding)).sum().backward()
    optimizer.step()
    moved = {name for name, value in lips.state_dict().items() if not torch.equal(value, before[name])}
    assert bool(moved & {name for name, _ in lips.named_parameters()}) == weights
    assert bool(moved & {name for name, _ in lips.named_buffers()}) == statistics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (4, 6)}, r"one of each per stage"),
        ({"widths": (), "blocks": ()}, r"one of each per stage"),
        ({"blocks": (1, 0, 1)}, "at least 1"),
        ({"stem": 0}, "at least 1"),
        ({"activation": "swish"}, "'swish'; wanted prelu, relu"),
        ({"learns": "anything"}, "'anything'"),
    ],
)
def test_numbers_that_make_no_lip_reader_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)
