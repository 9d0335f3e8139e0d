import subprocess

import pytest
import torch
from torch import nn

from unmingle.errors import MeasurementError
from unmingle.metrics import cost as cost_room
from unmingle.metrics.cost import (
    count_fused_macs,
    count_macs,
    count_parameters,
    observe,
    peak_memory,
    profile,
    real_time_factor,
)
from unmingle.metrics.probe import Observation

RATE = 1_000  # Hz: one second is a thousand samples


def convolution():
    """(1, time) -> through 1 -> 4 channels, 5 taps, padded: 5 * 4 MACs a sample; 4 * 5 + 4 parameters."""
    return nn.Conv1d(1, 4, 5, padding=2)


class Memo(nn.Module):
    """Remembers whether it was in training mode, and how many samples it was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3))
        self.seen = []

    def forward(self, mixture):
        self.seen.append((self.training, mixture.shape))
        return self.weight @ mixture.new_ones(3, 7)


class SelfAttention(nn.Module):
    """(1, time) as time / 16 frames of width 16, attending to themselves."""

    def __init__(self, fused):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.fused = fused

    def forward(self, mixture):
        frames = mixture.view(1, -1, 16)
        if self.fused:
            return self.attention(frames, frames, frames, need_weights=False)[0]
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        query, key, value = nn.functional.linear(frames, weight, bias).chunk(3, dim=-1)
        weights = (query @ key.transpose(1, 2)).softmax(dim=-1)
        return self.attention.out_proj(weights @ value)


def test_parameters_are_counted_once_and_buffers_not():
    network = nn.Sequential(convolution(), nn.BatchNorm1d(4))
    network.append(network[0])
    assert count_parameters(network) == 24 + 8


def test_macs_of_a_convolution_are_its_products():
    assert count_macs(convolution(), seconds=1.0, sample_rate=RATE) == 20 * 1_000
    assert count_macs(convolution(), seconds=2.5, sample_rate=RATE) == 20 * 2_500


def test_macs_leave_out_normalisation_and_activation():
    network = nn.Sequential(convolution(), nn.BatchNorm1d(4, affine=False), nn.PReLU())
    batched = nn.Sequential(nn.Unflatten(1, (1, -1)), network)
    assert count_macs(batched, sample_rate=RATE) == 20 * 1_000


def test_the_rate_of_the_configuration_is_the_default():
    class Config:
        sample_rate = 16

    network = Memo()
    network.config = Config()
    assert count_macs(network, seconds=2.0) == 3 * 3 * 7
    assert network.seen == [(False, (1, 32))]
    assert network.training


class Listener(nn.Module):
    """Takes two of (1, time), which it says, and has a part that was trained elsewhere."""

    def __init__(self):
        super().__init__()
        self.frozen = convolution()
        self.own = convolution()

    def forward(self, mixture, hint):
        return self.own(mixture) + hint

    def example_inputs(self, seconds):
        return torch.zeros(1, round(seconds * RATE)), torch.ones(4, 1)

    def frozen_front_end(self):
        return self.frozen


def test_a_network_says_what_it_takes_and_what_does_not_count(monkeypatch):
    assert count_macs(Listener(), seconds=2.0, sample_rate=RATE) == 20 * 2_000
    assert count_parameters(Listener()) == 24
    monkeypatch.setattr(cost_room, "observe", lambda model, **_: Observation(0.5, 1.0, 2, 3))
    told: list[tuple[int, int]] = []
    cost = profile(Listener(), seconds=1.0, threads=(1,), sample_rate=RATE, progress=lambda *steps: told.append(steps))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert cost.front_end is not None
    assert (cost.front_end.parameters, cost.front_end.macs_per_second) == (24, 20_000)
    assert cost.to_dict()["front_end"]["real_time_factor"] == {"1": 0.5}


@pytest.mark.parametrize("frames", [4, 50])
def test_fused_attention_costs_what_its_written_out_form_costs(frames):
    seconds = frames * 16 / RATE
    plain = count_macs(SelfAttention(fused=False), seconds, sample_rate=RATE)
    fused = SelfAttention(fused=True)
    assert count_macs(fused, seconds, sample_rate=RATE) < plain
    assert count_macs(fused, seconds, sample_rate=RATE, include_fused=True) == plain
    assert count_macs(fused, seconds, sample_rate=RATE) + count_fused_macs(fused, seconds, sample_rate=RATE) == plain


def test_the_plain_attention_kernel_is_counted_by_its_shapes():
    class Kernel(nn.Module):
        def forward(self, mixture):
            query, key = mixture.view(1, 2, 10, 5), mixture.view(1, 2, 10, 5)[:, :, :4]
            return nn.functional.scaled_dot_product_attention(query, key, key)

    assert count_macs(Kernel(), seconds=0.1, sample_rate=RATE) == 0
    assert count_fused_macs(Kernel(), seconds=0.1, sample_rate=RATE) == 2 * 10 * 4 * (5 + 5)


def test_a_transformer_layer_is_attention_and_two_products():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    network = nn.Sequential(nn.Unflatten(1, (-1, 16)), layer)
    frames = 10
    expected = frames * 16 * (4 * 16 + 2 * frames) + 2 * frames * 16 * 32
    assert count_macs(network, frames * 16 / RATE, sample_rate=RATE, include_fused=True) == expected


def test_a_recurrent_layer_is_counted_per_frame_and_direction():
    network = nn.Sequential(nn.Unflatten(1, (-1, 10)), nn.LSTM(10, 6, bidirectional=True, batch_first=True))
    expected = 2 * 100 * 4 * 6 * (10 + 6)  # directions, frames, gates, hidden, (features + hidden)
    assert count_macs(network, sample_rate=RATE, include_fused=True) == expected


def test_a_profile_holds_figures_that_belong_together(monkeypatch):
    seen = {1: Observation(0.5, 3e9, 1_000, 2_000), 2: Observation(0.25, 6e9, 1_100, 2_200)}
    monkeypatch.setattr(cost_room, "observe", lambda model, *, threads, **_: seen[threads])
    cost = profile(convolution(), seconds=4.0, threads=(1, 2), sample_rate=RATE)
    assert (cost.parameters, cost.macs_per_second, cost.fused_macs_per_second) == (24, 20_000, 0)
    assert cost.real_time_factor == {"1": 0.125, "2": 0.0625}
    assert cost.gflops_per_second == {
        n: pytest.approx(2 * 80_000 / elapsed / 1e9) for n, elapsed in (("1", 0.5), ("2", 0.25))
    }
    assert cost.matmul_gflops_per_second == {"1": 3.0, "2": 6.0}
    assert (cost.peak_memory_bytes, cost.process_memory_bytes) == (1_000, 2_000)
    assert cost.to_dict()["real_time_factor"] == cost.real_time_factor


@pytest.mark.parametrize("repeats", [0, 2])
def test_measuring_sees_the_pass_and_leaves_this_process_alone(repeats):
    ballast = torch.ones(200, 1_000_000 // 4)  # 200 MB that the measuring process must not inherit
    threads, network = torch.get_num_threads(), nn.ConstantPad1d((0, 25_000_000), 1.0).train()
    seen = observe(network, seconds=3.0, threads=threads + 1, repeats=repeats, sample_rate=RATE)
    assert torch.get_num_threads() == threads
    assert network.training
    assert 0 < seen.forward_seconds < 5
    assert 1e8 < seen.matmul_flops_per_second < 1e14
    if seen.forward_memory_bytes is not None:  # where the system tells: 25 million float32 samples leave the pass
        assert 95e6 < seen.forward_memory_bytes < 160e6
    assert ballast.sum() > 0


def test_peak_memory_is_what_was_observed(monkeypatch):
    monkeypatch.setattr(cost_room, "observe", lambda model, **_: Observation(0.5, 1.0, 1_234, 5_678))
    assert peak_memory(convolution(), sample_rate=RATE) == 1_234


def test_the_real_time_factor_is_processing_time_over_signal_time(monkeypatch):
    monkeypatch.setattr(cost_room, "observe", lambda model, **_: Observation(0.5, 1.0, None, None))
    assert real_time_factor(convolution(), seconds=2.0, sample_rate=RATE) == 0.25


def test_a_network_that_cannot_run_says_why(monkeypatch):
    died = subprocess.CompletedProcess([], 1, b"", b"Traceback ...\nRuntimeError: shapes cannot be multiplied\n")
    monkeypatch.setattr(cost_room.subprocess, "run", lambda *_, **__: died)
    with pytest.raises(MeasurementError, match=r"exit code 1: RuntimeError: shapes cannot be multiplied$"):
        observe(convolution(), sample_rate=RATE)


def test_a_process_killed_without_a_word_suggests_memory(monkeypatch):
    died = subprocess.CompletedProcess([], -9, b"", b"")
    monkeypatch.setattr(cost_room.subprocess, "run", lambda *_, **__: died)
    with pytest.raises(MeasurementError, match="exit code -9: it said nothing; out of memory"):
        observe(convolution(), sample_rate=RATE)
