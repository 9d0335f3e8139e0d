import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from unmingle.errors import ConfigError, UnknownModelError
from unmingle.presets import CONFIGS, PRESETS, TDANetConfig, config_from_dict, config_to_dict, find_preset
from unmingle.presets.counts import PARAMETERS


def test_presets_are_read_without_torch():
    code = "import sys, unmingle.presets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_preset_is_of_a_known_family_and_survives_a_round_trip():
    for name, config in PRESETS.items():
        assert type(config) is CONFIGS[config.family], name
        assert config_from_dict(config.family, config_to_dict(config)) == config, name


def test_the_promised_names_are_there():
    promised = {"afrcnn-16", "afrcnn-16-sum", "sfrcnn-light", "tdanet", "tdanet-large", "iianet", "iianet-fast"}
    assert promised <= PRESETS.keys()


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        PRESETS["tdanet"].n_src = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_a_preset_is_found_by_name_and_a_near_name_is_offered():
    assert find_preset("tdanet") is PRESETS["tdanet"]
    with pytest.raises(UnknownModelError, match=r"'tdanett'.*did you mean 'tdanet'"):
        find_preset("tdanett")


def test_fields_left_out_have_their_defaults():
    assert config_from_dict("tdanet", {"n_src": 3}) == TDANetConfig(n_src=3)


def test_whole_numbers_stand_for_fractions_and_nothing_for_none():
    config = config_from_dict("tdanet", {"window_ms": 2, "attention_axis": None})
    assert config == TDANetConfig(window_ms=2.0)
    assert type(config_to_dict(config)["window_ms"]) is float


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("tdane", {}, r"'tdane'.*did you mean 'tdanet'"),
        ("tdanet", {"n_sources": 2}, r"'n_sources'.*did you mean 'n_src'"),
        ("tdanet", {"depth": 5.0}, r"depth is 5\.0 \(float\); wanted int"),
        ("tdanet", {"depth": "5"}, r"depth is '5' \(str\); wanted int"),
        ("tdanet", {"n_src": True}, r"n_src is True \(bool\); wanted int"),
        ("tdanet", {"window_ms": False}, r"window_ms is False \(bool\); wanted float"),
        ("tdanet", {"form": "releases"}, r"form is 'releases'.*'released'"),
        ("tdanet", {"attention_axis": "frequency"}, r"attention_axis is 'frequency'.*'batch' or nothing"),
        ("tdanet", {"depth": None}, r"depth is None"),
        ("tdanet", {"depth": 1}, "depth is 1"),
        ("afrcnn", {"scheme": "asynchronous-"}, "scheme is 'asynchronous-'"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(family, values, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict(family, values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_ms": 4.1}, r"65\.6 samples.*multiple of 4"),
        ({"window_ms": 0.0}, "0 samples"),
        ({"window_ms": -4.0}, "-64 samples"),
        ({"window_ms": float("inf")}, "inf samples"),
        ({"hidden": 20}, r"hidden is 20.*multiple of 8"),
        ({"n_src": 0}, "n_src is 0"),
        ({"n_iterations": 0}, "n_iterations is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"form": "pape"}, r"'pape'.*did you mean 'paper'"),
        ({"attention_axis": "item "}, r"'item '.*did you mean 'item'"),
    ],
)
def test_a_tdanet_that_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TDANetConfig(), **changes)


@pytest.mark.parametrize(
    ("sample_rate", "window_ms", "window", "n_basis"),
    [(16_000, 4.0, 64, 33), (16_000, 2.0, 32, 17), (8_000, 4.0, 32, 17), (8_000, 2.0, 16, 9), (16_000, 8.0, 128, 65),
     (44_100, 4.0, 176, 89), (16_000, 1000 * 52 / 16_000, 52, 27), (48_000, 1000 * 44 / 48_000, 44, 23)],
)  # fmt: skip
def test_a_window_in_milliseconds_becomes_samples_as_published(sample_rate, window_ms, window, n_basis):
    config = TDANetConfig(sample_rate=sample_rate, window_ms=window_ms)
    assert (config.window, config.hop, config.n_basis) == (window, window // 4, n_basis)


def test_the_listed_counts_are_those_of_the_networks():
    import torch

    from unmingle.metrics.cost import count_parameters
    from unmingle.models import build_model

    with torch.device("meta"):
        assert {name: count_parameters(build_model(config)) for name, config in PRESETS.items()} == PARAMETERS
