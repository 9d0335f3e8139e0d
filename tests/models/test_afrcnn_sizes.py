"""Parameters and multiplications of the published settings, to the last one where they were measured."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unmingle.models.afrcnn import AFRCNN
from unmingle.presets.afrcnn import PRESETS, AFRCNNConfig

# Measured on the public code, to the parameter.
MEASURED = {
    "afrcnn-4": 6_134_793,
    "afrcnn-8": 6_134_793,
    "afrcnn-16": 6_134_793,
    "afrcnn-4-sum": 1_739_785,
    "afrcnn-8-sum": 1_739_785,
    "afrcnn-16-sum": 1_739_785,
    "control-1-a": 8_206_857,
    "control-1-code": 8_206_857,
    "control-2-a": 6_568_457,
    "control-2-code": 6_568_457,
    "sfrcnn-code": 1_391_620,
    "unet-code": 2_457_092,
    "unet-delay-code": 5_897_746,
    "afrcnn-8-s3": 4_018_183,
    "afrcnn-8-s4": 5_076_488,
    "afrcnn-8-s6": 7_193_098,
    "afrcnn-8-dc": 6_134_793,
    "afrcnn-cc-code": 6_135_305,
    "afrcnn-dc-code": 6_133_768,
    "afrcnn-12-16k": 5_127_688,
    "afrcnn-16-16k": 5_127_688,
}
# Derived from the paper's text; millions, and the figure that the paper prints.
DERIVED = {
    "sfrcnn": (9.608, "9.6"),
    "sfrcnn-light": (6.382, "6.4"),
    "sfrcnn-no-skip": (6.396, "6.4"),
    "sfrcnn-a": (9.823, "9.8"),
    "control-1": (8.035, "8.0"),
    "control-2": (6.396, "6.4"),
    "afrcnn-8-a": (6.235, "6.2"),
    "unet": (4.019, "4.0"),
    "unet-large": (6.057, "6.1"),
    "unet-delay": (5.068, "5.1"),
    "unet-delay-large": (6.364, "6.4"),
    "afrcnn-8-cc": (6.659, "6.7"),
    "sudormrf": (2.72, "2.7"),  # as the papers of TDANet and SPMamba print it
}
PRINTED = {
    "afrcnn-8": "6.1",
    "afrcnn-8-sum": "1.7",
    "control-2-a": "6.6",
    "afrcnn-8-s3": "4.0",
    "afrcnn-8-s4": "5.1",
    "afrcnn-8-s6": "7.2",
    "afrcnn-8-dc": "6.1",
}
# Multiply-accumulates in convolutions, in 10^9: for one second, and for four.
MACS = {
    "afrcnn-4": (1, 10.55),
    "afrcnn-8": (1, 20.44),
    "afrcnn-16": (4, 160.80),
    "afrcnn-4-sum": (1, 4.84),
    "afrcnn-8-sum": (1, 9.48),
    "afrcnn-16-sum": (4, 75.00),
    "control-1-a": (1, 20.57),
    "control-2-a": (1, 19.36),
    "sfrcnn-code": (1, 4.06),
    "unet-code": (1, 10.80),
    "unet-delay-code": (1, 18.79),
    "afrcnn-8-s3": (4, 63.26),
    "afrcnn-8-s4": (4, 73.35),
    "afrcnn-8-s6": (4, 89.30),
    "afrcnn-cc-code": (4, 81.75),
}


def _parameters(config: AFRCNNConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in AFRCNN(config).parameters())


@pytest.mark.parametrize("name", MEASURED)
def test_a_preset_has_exactly_the_measured_parameters(name):
    assert _parameters(PRESETS[name]) == MEASURED[name]


@pytest.mark.parametrize("name", DERIVED)
def test_a_paper_form_has_the_size_that_its_text_gives(name):
    derived, printed = DERIVED[name]
    millions = _parameters(PRESETS[name]) / 1e6
    assert (round(millions, 3), f"{millions:.1f}") == (derived, printed)


@pytest.mark.parametrize("name", PRINTED)
def test_a_preset_has_the_size_that_the_paper_prints(name):
    assert f"{_parameters(PRESETS[name]) / 1e6:.1f}" == PRINTED[name]


def test_every_preset_has_a_published_size():
    assert set(MEASURED) | set(DERIVED) == set(PRESETS)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (replace(PRESETS["afrcnn-16-sum"], channels=512), 2_724_361),
        (replace(PRESETS["afrcnn-16"], channels=128), 5_150_217),
    ],
)
def test_other_measured_widths_have_their_size(config, parameters):
    assert _parameters(config) == parameters


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("sfrcnn", 9.346),
        ("sfrcnn-light", 6.213),
        ("sfrcnn-no-skip", 6.135),
        ("unet", 3.758),
        ("unet-large", 5.795),
        ("unet-delay", 4.806),
        ("unet-delay-large", 6.029),
    ],
)
def test_a_depthwise_phi_makes_the_paper_forms_as_much_smaller_as_it_should(name, millions):
    assert round(_parameters(replace(PRESETS[name], phi="depthwise")) / 1e6, 3) == millions


@pytest.mark.parametrize("name", MACS)
def test_a_preset_costs_the_measured_multiplications(name):
    seconds, billions = MACS[name]
    with torch.device("meta"):
        model, mixture = AFRCNN(PRESETS[name]), torch.empty(1, seconds * PRESETS[name].sample_rate)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(mixture)
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.01)
