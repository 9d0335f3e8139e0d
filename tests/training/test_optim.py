import copy

import pytest
import torch
from torch import nn

from unmingle.errors import ConfigError
from unmingle.training.ema import average_of, update_average
from unmingle.training.muon import MuonAndAdam
from unmingle.training.optim import Plateau, build_optimizer, rate_factor, run_progress
from unmingle.training.settings import ScheduleSettings, TrainingSettings


def test_the_optimizer_has_the_recipes_numbers():
    parameters = [nn.Parameter(torch.ones(2))]
    optimizer = build_optimizer(
        parameters, TrainingSettings(optimizer="adamw", lr=3e-4, betas=(0.8, 0.95), weight_decay=0.1)
    )
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {key: optimizer.defaults[key] for key in ("lr", "betas", "weight_decay")} == {
        "lr": 3e-4,
        "betas": (0.8, 0.95),
        "weight_decay": 0.1,
    }
    assert type(build_optimizer(parameters, TrainingSettings())) is torch.optim.Adam


def layers():
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"pointwise": nn.Conv1d(12, 8, 1), "depthwise": nn.Conv1d(8, 8, 5, groups=8), "linear": nn.Linear(6, 10)}
    )


def steps(network, optimizer, *, n_steps):
    """How far every weight moved in the last of some steps down random slopes."""
    torch.manual_seed(1)
    for _ in range(n_steps):
        before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        for weight in network.parameters():
            weight.grad = torch.randn_like(weight)
        optimizer.step()
    return {name: weight.detach() - before[name] for name, weight in network.named_parameters()}


def test_muon_moves_matrices_equally_far_in_every_direction_and_the_rest_as_adam_does():
    network, other = layers(), layers()
    moved = steps(
        network, build_optimizer(network.parameters(), TrainingSettings(optimizer="muon", lr=0.01)), n_steps=3
    )
    reference = steps(
        other, build_optimizer(other.parameters(), TrainingSettings(optimizer="adamw", lr=0.01)), n_steps=3
    )
    for name in ("pointwise.weight", "linear.weight"):
        matrix = moved.pop(name).flatten(1)
        lengths = torch.linalg.svdvals(matrix) / (0.01 * 0.2 * max(matrix.shape) ** 0.5)
        assert lengths.min() > 0.5, name
        assert lengths.max() < 1.4, name
    assert moved.keys() == {"pointwise.bias", "depthwise.weight", "depthwise.bias", "linear.bias"}
    for name, step in moved.items():
        torch.testing.assert_close(step, reference[name])


def test_muon_takes_the_rate_of_the_step_and_what_it_remembered():
    network, resumed = layers(), layers()
    first, second = (MuonAndAdam(each.parameters(), lr=0.01) for each in (network, resumed))
    steps(network, first, n_steps=4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    resumed.load_state_dict(network.state_dict())
    for optimizer in (first, second):
        optimizer.param_groups[0]["lr"] = 0.002
    moved, again = steps(network, first, n_steps=1), steps(resumed, second, n_steps=1)
    assert all(torch.equal(moved[name], again[name]) for name in moved)
    longest = 0.002 * 0.2 * 10**0.5 * 1.4  # of any direction: rate, scale, and what five iterations leave of a 1
    assert torch.linalg.matrix_norm(moved["linear.weight"], ord=2) < longest


def test_muon_leaves_weights_without_a_gradient_alone():
    network = layers()
    before = copy.deepcopy(network.state_dict())
    assert MuonAndAdam(network.parameters(), lr=0.01).step(lambda: 7.0) == 7.0
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


def test_warm_up_rises_in_a_straight_line_and_stays():
    schedule = ScheduleSettings(warmup_steps=4)
    assert [rate_factor(schedule, step=step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_a_third_of_the_rate_every_forty_epochs():
    schedule = ScheduleSettings(kind="step", factor=1 / 3, every_epochs=40)
    factors = [rate_factor(schedule, step=9, epoch=epoch) for epoch in (0, 39, 40, 79, 80, 199)]
    assert factors == pytest.approx([1, 1, 1 / 3, 1 / 3, 1 / 9, 1 / 81])


def test_a_cosine_tail_is_constant_then_falls_to_its_floor():
    schedule = ScheduleSettings(kind="cosine_tail", tail_from=0.5, floor=0.1)
    at = [rate_factor(schedule, step=0, progress=progress) for progress in (0, 0.5, 0.75, 1)]
    assert at == pytest.approx([1, 1, 0.55, 0.1])


def test_a_tail_that_begins_after_the_end_never_comes():
    assert rate_factor(ScheduleSettings(kind="cosine_tail", tail_from=2.0), step=0, progress=1.0) == 1


def test_the_plateau_cuts_the_rate_when_torchs_does():
    losses = [5.0, 4.0, 4.0, 4.1, 4.0, 3.9, 3.9999 * 3.9 / 4, 4.0, 4.0, 4.0, 4.0, 4.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    schedule = ScheduleSettings(kind="plateau", factor=0.5, patience=2)
    state = Plateau()
    for loss in losses:
        reference.step(loss)
        state = state.after(loss, patience=2)
        ours = rate_factor(schedule, step=0, reductions=state.reductions)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"])
    assert state.reductions == 4


def test_a_gain_of_a_negative_loss_is_a_lower_one():
    state = Plateau().after(-10.0, patience=1)
    assert state.after(-9.9995, patience=1).waited == 1
    assert state.after(-10.5, patience=1) == Plateau(best=-10.5)


def test_progress_is_the_larger_share_of_steps_and_minutes():
    settings = TrainingSettings(max_steps=100, max_minutes=10)
    assert run_progress(settings, step=50, minutes=2) == 0.5
    assert run_progress(settings, step=50, minutes=8) == 0.8
    assert run_progress(settings, step=50, minutes=80) == 1
    assert run_progress(TrainingSettings(), step=50, minutes=80) == 0
    assert run_progress(TrainingSettings(max_epochs=4, epoch_steps=25), step=50, minutes=0) == 0.5


def test_a_tail_without_an_end_is_refused():
    with pytest.raises(ConfigError, match="needs an end"):
        TrainingSettings(schedule=ScheduleSettings(kind="cosine_tail"))


def test_the_average_follows_the_weights_with_its_decay():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = average_of(network)
    nn.init.constant_(network.weight, 1.0)
    update_average(average, network, decay=0.9, step=10_000)
    assert average.weight.item() == pytest.approx(0.1)
    update_average(average, network, decay=0.9, step=10_000)
    assert average.weight.item() == pytest.approx(0.19)
    assert not average.weight.requires_grad


def test_the_average_forgets_the_first_weights_early_on():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = average_of(network)
    nn.init.constant_(network.weight, 1.0)
    update_average(average, network, decay=0.999, step=1)
    assert average.weight.item() == pytest.approx(1 - 2 / 11)


def test_buffers_are_copied_into_the_average():
    network = nn.BatchNorm1d(2)
    average = average_of(network)
    network(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))
    update_average(average, network, decay=0.9, step=1)
    assert torch.equal(average.running_mean, network.running_mean)
    assert average.num_batches_tracked == 1
