from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unmingle.errors import ConfigError, ShapeError, SignalError
from unmingle.metrics.cost import count_macs, count_parameters, frozen_front_end
from unmingle.models import build_model
from unmingle.presets import PRESETS, IIANetConfig, config_from_dict, config_to_dict, is_audio_visual
from unmingle.presets.iianet import LipReadingConfig

LIPS = LipReadingConfig(stem=3, widths=(4, 6), blocks=(1, 1), crop=24)
TINY = IIANetConfig(
    channels=8, hidden=12, visual_channels=6, video_channels=5, depth=3, n_iterations=3, n_fusion=2, lips=LIPS
)

# Of the published code: parameters without the lip reader, and 10^9 multiply-adds for one second.
TABLE = {"iianet": (3_036_670, 17.10), "iianet-fast": (3_036_670, 10.75)}
PARTS = {
    "encoder": 144,
    "norm": 18,
    "bottleneck": 1_280,
    "video_bottleneck": 98_368,
    "separator.inter_top": 2_200_640,
    "separator.inter_bottom_audio": 257,
    "separator.inter_bottom_video": 128,
    "mask": 1_162,
    "decoder": 144,
}


def tiny(**changes):
    torch.manual_seed(0)
    return build_model(replace(TINY, **changes)).eval()


def build_on_meta(config):
    with torch.device("meta"):
        return build_model(config).eval()


@cache
def cycle_costs():
    """10^9 multiply-adds for one second: of a fusion cycle, of one for audio alone, of what is around the cycles."""
    config = replace(PRESETS["iianet"], lips=None)
    one, two, one_and_one = (
        count_macs(build_on_meta(replace(config, n_iterations=n, n_fusion=n_fusion))) / 1e9
        for n, n_fusion in ((1, 1), (2, 2), (2, 1))
    )
    return two - one, one_and_one - one, 2 * one - two


def a_second(n_faces=1, frames=25):
    draw = torch.Generator().manual_seed(1)
    mixture = torch.randn(1, 16_000, generator=draw).expand(n_faces, -1)
    return mixture, torch.randn(n_faces, TINY.visual_channels, frames, generator=draw)


def test_the_table_has_every_preset():
    assert TABLE.keys() == {name for name, config in PRESETS.items() if config.family == "iianet"} - {"iianet-small"}


def test_the_small_one_has_fewer_than_a_million_parameters_lips_that_learn_included():
    network = build_on_meta(PRESETS["iianet-small"])
    assert network.config.lips.learns == "everything"
    assert count_parameters(network) == sum(value.numel() for value in network.parameters()) < 1_000_000


@pytest.mark.parametrize("name", TABLE)
def test_a_preset_has_the_published_parameters_and_cost(name):
    parameters, giga_macs = TABLE[name]
    assert count_parameters(build_on_meta(PRESETS[name])) == parameters
    both, hearing, rest = cycle_costs()
    n_fusion, n_iterations = PRESETS[name].n_fusion, PRESETS[name].n_iterations
    assert rest + n_fusion * both + (n_iterations - n_fusion) * hearing == pytest.approx(giga_macs, abs=0.005)


def test_each_part_has_the_published_parameters():
    network = build_on_meta(PRESETS["iianet"])
    found = {part: count_parameters(network.get_submodule(part)) for part in PARTS}
    assert found == PARTS


def test_a_frozen_lip_reader_is_counted_apart_and_one_that_learns_is_not():
    frozen, learning = tiny(), tiny(lips=replace(LIPS, learns="everything"))
    lips = count_parameters(frozen.lips)
    assert frozen_front_end(frozen) is frozen.lips
    assert frozen_front_end(learning) is None
    assert count_parameters(learning) == count_parameters(frozen) + lips
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        learning.lips.embed(torch.zeros(1, 25, 24, 24))
    assert count_macs(learning) == count_macs(frozen) + counter.get_total_flops() // 2


@torch.inference_mode()
def test_crops_and_their_embedding_give_the_same():
    network, (mixture, _) = tiny(), a_second()
    crops = torch.randn(1, 25, 24, 24)
    assert torch.equal(network(mixture, crops), network(mixture, network.read_lips(crops)))


@torch.inference_mode()
def test_swapping_the_faces_swaps_the_voices():
    network, (mixture, faces) = tiny(), a_second(n_faces=2)
    voices = network(mixture, faces)
    assert (voices[0] - voices[1]).abs().max() > 1e-3 * voices.abs().max()
    torch.testing.assert_close(network(mixture, faces.flip(0)), voices.flip(0), rtol=1e-4, atol=1e-6)


@torch.inference_mode()
def test_the_level_passes_through_and_silence_stays_silent():
    network, (mixture, faces) = tiny(), a_second()
    torch.testing.assert_close(network(4 * mixture, faces), 4 * network(mixture, faces), rtol=1e-4, atol=1e-5)
    assert not network(torch.zeros_like(mixture), faces).any()


@torch.inference_mode()
def test_a_network_stopped_early_is_the_network_with_fewer_cycles():
    longer, shorter = tiny(n_iterations=5), tiny()
    shorter.load_state_dict(longer.state_dict())
    mixture, faces = a_second()
    assert not torch.allclose(longer(mixture, faces), shorter(mixture, faces))
    longer.separator.n_iterations = 3
    assert torch.equal(longer(mixture, faces), shorter(mixture, faces))


@torch.inference_mode()
def test_only_the_fusion_cycles_look_at_the_video():
    network, (mixture, faces) = tiny(n_iterations=6, n_fusion=2), a_second()
    seen = []
    network.separator.video_up.register_forward_hook(lambda *_: seen.append("video"))
    network.separator.audio_up.register_forward_hook(lambda *_: seen.append("audio"))
    network(mixture, faces)
    assert (seen.count("video"), seen.count("audio")) == (2, 6)


@pytest.mark.parametrize(
    ("samples", "frames", "fits"),
    [
        *((16_000, frames, frames == 25) for frames in (24, 25, 26)),
        *((16_001, frames, frames in (25, 26)) for frames in (24, 25, 26, 27)),
        *((15_999, frames, frames in (24, 25)) for frames in (23, 24, 25, 26)),
        *((8_000, frames, frames in (12, 13)) for frames in (12, 13, 25)),
        *((samples, frames, frames == 1) for samples in (1, 640) for frames in (1, 2)),
    ],
)
def test_a_video_is_as_long_as_its_mixture_to_the_frame(samples, frames, fits):
    network, mixture = tiny(n_iterations=1), torch.zeros(1, samples)
    for video in (torch.zeros(1, 6, frames), torch.zeros(1, frames, 24, 24)):
        if fits:
            assert network(mixture, video).shape == (1, 1, samples)
        else:
            wanted = max(1, samples // 640)
            with pytest.raises(ShapeError, match=rf"{frames} frames.* {samples} samples.*goes with {wanted}\b"):
                network(mixture, video)


def test_the_frames_of_a_mixture_always_fit_it():
    for samples in (1, 319, 320, 321, 8_000, 15_999, 16_000, 16_001, 24_000):
        mixture = torch.zeros(1, samples)
        tiny(n_iterations=1)(mixture, torch.zeros(1, 6, TINY.n_frames(samples)))


@torch.inference_mode()
def test_the_published_function_stretches_a_video_of_any_length():
    network, (mixture, _) = tiny(), a_second()
    short = torch.randn(1, 6, 7)
    estimates = network.separate(mixture, short)
    assert estimates.shape == (1, 1, 16_000)
    assert not torch.allclose(estimates, network.separate(mixture, short[..., :6]))


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (torch.zeros(25, 6), r"\(25, 6\).*or their embedding \(batch, 6, frames\)"),
        (torch.zeros(1, 7, 25), r"\(1, 7, 25\).*\(batch, 6, frames\)"),
        (torch.zeros(1, 6, 0), r"\(1, 6, 0\)"),
        (torch.zeros(1, 1, 25, 24, 24), r"\(1, 1, 25, 24, 24\)"),
        (torch.zeros(1, 25, 96, 96), r"\(1, 25, 96, 96\).*24, 24.*prepare_crops"),
        (torch.zeros(2, 6, 25), r"1 mixtures but 2 videos.*repeat the mixture"),
    ],
)
def test_what_is_no_video_is_refused_with_its_shape(video, message):
    with pytest.raises(ShapeError, match=message):
        tiny()(torch.zeros(1, 16_000), video)


def test_a_video_of_integers_is_refused():
    with pytest.raises(SignalError, match=r"uint8.*prepare_crops"):
        tiny()(torch.zeros(1, 16_000), torch.zeros(1, 25, 24, 24, dtype=torch.uint8))


def test_a_network_without_a_lip_reader_says_so_when_it_gets_crops():
    network = tiny(lips=None)
    with pytest.raises(ShapeError, match=r"carries no lip reader.*embedding \(batch, 6, frames\)"):
        network(torch.zeros(1, 16_000), torch.zeros(1, 25, 24, 24))
    assert network(torch.zeros(1, 16_000), torch.zeros(1, 6, 25)).shape == (1, 1, 16_000)


def test_a_frozen_lip_reader_stays_in_evaluation_mode_while_the_rest_trains():
    network = tiny().train()
    assert network.separator.training
    assert not any(part.training for part in network.lips.modules())
    assert not any(parameter.requires_grad for parameter in network.lips.parameters())


def test_dropout_acts_in_training_only():
    network, (mixture, faces) = tiny(dropout=0.5), a_second()
    assert torch.equal(network(mixture, faces), network(mixture, faces))
    network.train()
    assert not torch.equal(network(mixture, faces), network(mixture, faces))


@pytest.mark.parametrize("name", TABLE)
def test_a_configuration_with_a_lip_reader_survives_plain_values(name):
    values = config_to_dict(PRESETS[name])
    values["lips"] = {**values["lips"], "widths": list(values["lips"]["widths"])}  # as JSON and YAML have it
    assert config_from_dict("iianet", values) == PRESETS[name]
    assert config_from_dict("iianet", {**values, "lips": None}) == replace(PRESETS[name], lips=None)
    assert is_audio_visual(PRESETS[name])
    assert not is_audio_visual(PRESETS["tdanet"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lips": {"width": [512]}}, r"LipReadingConfig has no field 'width'.*did you mean 'widths'"),
        ({"lips": {"widths": [64, "128"]}}, r"lips\.widths is \[64, '128'\] \(list\); wanted a list of int"),
        ({"lips": {"stem": 64.0}}, r"lips\.stem is 64\.0 \(float\); wanted int"),
        ({"lips": 3}, r"lips is 3 \(int\); wanted LipReadingConfig or nothing"),
        ({"visual_channels": 256}, r"visual_channels is 256 but the lip reader gives 512"),
        ({"window_ms": 1.1}, r"17\.6 samples.*multiple of 4"),
        ({"n_fusion": 0}, "n_fusion is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(values, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict("iianet", values)
