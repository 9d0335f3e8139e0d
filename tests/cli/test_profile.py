import json
import pickle
import subprocess

import pytest
import torch

from unmingle.metrics import cost
from unmingle.metrics.probe import Observation
from unmingle.models import build_model
from unmingle.presets import PRESETS, IIANetConfig, TDANetConfig
from unmingle.presets.iianet import LipReadingConfig

TINY = TDANetConfig(sample_rate=8_000, window_ms=4, channels=8, hidden=16, depth=3, n_iterations=2)


@pytest.fixture
def preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny-preset", TINY)
    return "tiny-preset"


@pytest.fixture
def clock(monkeypatch):
    """A machine on which a pass takes half a second per thread less than three."""

    def observe(model, *, seconds, threads, **_):
        return Observation(0.5 / threads, 1e9 * threads, 3_000_000, 300_000_000)

    monkeypatch.setattr(cost, "observe", observe)


def test_a_preset_is_profiled_for_machines(cli, preset, clock):
    ran = cli("profile", preset, "--json", "--seconds", "2")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    network = build_model(TINY)
    assert found["name"] == preset
    assert found["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    assert found["macs_per_second"] == cost.count_macs(network, 1.0)
    assert found["real_time_factor"] == {"1": 0.25, "2": 0.125}
    assert found["matmul_gflops_per_second"] == {"1": 1.0, "2": 2.0}
    assert found["peak_memory_bytes"] == 3_000_000
    assert found["latency_seconds"] is None
    operations = 2 * (cost.count_macs(network, 2.0) + cost.count_fused_macs(network, 2.0))
    assert found["gflops_per_second"]["1"] == pytest.approx(operations / 0.5 / 1e9)


@pytest.fixture
def seeing(monkeypatch):
    lips = LipReadingConfig(stem=2, widths=(4, 6), blocks=(1, 1), crop=16)
    sizes = {"channels": 4, "hidden": 4, "visual_channels": 6, "video_channels": 4, "depth": 2, "n_iterations": 1}
    monkeypatch.setitem(PRESETS, "seeing", IIANetConfig(**sizes, lips=lips))
    return "seeing"


def test_a_lip_reader_is_profiled_apart(cli, seeing, clock):
    ran = cli("profile", seeing, "--json", "--seconds", "2")
    assert ran.code == 0, ran.err
    found, network = json.loads(ran.out), build_model(PRESETS[seeing])
    lips = sum(parameter.numel() for parameter in network.lips.parameters())
    assert found["parameters"] == sum(parameter.numel() for parameter in network.parameters()) - lips
    assert found["macs_per_second"] == cost.count_macs(network)
    assert found["front_end"]["parameters"] == lips
    assert found["front_end"]["macs_per_second"] == cost.count_macs(network.lips, sample_rate=16_000)
    assert found["front_end"]["real_time_factor"] == {"1": 0.25, "2": 0.125}
    assert f"front end        {lips:,} parameters" in cli("profile", seeing).out


def test_a_network_that_sees_is_measured_with_a_video(cli, seeing, monkeypatch):
    given = []

    def measuring_process(command, *, input, **_):  # noqa: A002
        network, inputs, warm_up, _threads, _repeats = pickle.loads(input)
        with torch.inference_mode():
            network(*warm_up)
        given.append([tuple(one.shape) for one in inputs])
        return subprocess.CompletedProcess(
            command, 0, json.dumps(vars(Observation(0.5, 1e9, None, None))).encode(), b""
        )

    monkeypatch.setattr(cost.subprocess, "run", measuring_process)
    assert cli("profile", seeing, "--threads", "1", "--seconds", "2").code == 0
    assert given == [[(1, 32_000), (1, 6, 50)], [(1, 50, 16, 16)]]  # the separator, then its lip reader


def test_a_weights_file_is_profiled_in_words(cli, tiny, clock):
    ran = cli("profile", tiny, "--threads", "2")
    assert ran.code == 0, ran.err
    assert "name             tiny" in ran.out
    assert "2 threads        real-time factor 0.062" in ran.out
    assert "3 MB for 4 s" in ran.out


def test_the_measuring_process_takes_our_networks(cli, preset):
    ran = cli("profile", preset, "--json", "--threads", "1", "--repeats", "1", "--seconds", "0.5")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["real_time_factor"]["1"] > 0


def test_unknown_names_and_counts_are_refused(cli, clock):
    ran = cli("profile", "tdanett")
    assert ran.code == 1
    assert "tdanet" in ran.err
    assert cli("profile", "tdanet", "--threads", "none").code == 2
    assert cli("profile", "tdanet", "--threads", "0").code == 2
