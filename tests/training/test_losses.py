from functools import partial
from itertools import permutations

import pytest
import torch

from unmingle.metrics.si_sdr import sd_sdr, si_sdr, snr
from unmingle.training.losses import TRAINING_METRICS, build_loss, conv_tasnet_si_snr, pit_losses
from unmingle.training.settings import LossSettings

EPS = 1e-8


def signals(n_src=2, batch=4, time=300, noise=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randn(batch, n_src, time, generator=generator)
    return sources + noise * torch.randn(batch, n_src, time, generator=generator) + 0.05, sources


def by_hand(metric, estimates, sources):
    """Minus the best mean over sources, item by item, permutation by permutation."""
    losses = []
    for estimate, source in zip(estimates, sources, strict=True):
        means = [
            sum(metric(estimate=estimate[i], reference=source[j]) for j, i in enumerate(order)) / len(order)
            for order in permutations(range(len(source)))
        ]
        losses.append(-max(means))
    return torch.stack(losses)


@pytest.mark.parametrize("name", ["si_snr", "snr", "sd_sdr", "conv_tasnet"])
@pytest.mark.parametrize("n_src", [2, 3, 4])
def test_the_loss_is_that_of_the_best_permutation(name, n_src):
    estimates, sources = signals(n_src)
    metric = partial(TRAINING_METRICS[name], zero_mean=True, eps=EPS)
    expected = by_hand(metric, estimates, sources).mean()
    torch.testing.assert_close(build_loss(LossSettings(metric=name))(estimates.flip(1), sources), expected)


def test_names_mean_what_they_say():
    estimates, sources = signals()
    pair = {"estimate": estimates, "reference": sources, "zero_mean": True, "eps": EPS}
    torch.testing.assert_close(TRAINING_METRICS["si_snr"](**pair), si_sdr(**pair))
    torch.testing.assert_close(TRAINING_METRICS["snr"](**pair), snr(**pair))
    torch.testing.assert_close(TRAINING_METRICS["sd_sdr"](**pair), sd_sdr(**pair))


def test_the_conv_tasnet_form_has_its_own_epsilons():
    estimate, reference, eps = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.5, 0.0]).double(), 0.25
    # a = (0.5, 0) with |t|^2 + eps = 0.5; |a| = 0.5, |e - a| = sqrt(0.25 + 4).
    expected = 20 * torch.log10(0.25 + 0.5 / (torch.tensor(4.25).double().sqrt() + 0.25))
    value = conv_tasnet_si_snr(estimate=estimate, reference=reference, zero_mean=False, eps=eps)
    torch.testing.assert_close(value, expected)


def test_all_metrics_agree_where_the_epsilons_do_not_matter():
    estimates, sources = signals()
    ours = conv_tasnet_si_snr(estimate=estimates, reference=sources)
    torch.testing.assert_close(ours, si_sdr(estimate=estimates, reference=sources, zero_mean=True))


def test_easy_items_are_left_out_of_the_mean():
    estimates, sources = signals()
    estimates[1] = sources[1] * 1.001  # 60 dB
    losses = pit_losses(partial(snr, zero_mean=True, eps=EPS), estimates=estimates, sources=sources)
    loss = build_loss(LossSettings(drop_above_db=30))(estimates, sources)
    torch.testing.assert_close(loss, losses[[0, 2, 3]].mean())


def test_when_every_item_is_easy_all_are_kept():
    _, sources = signals()
    estimates = sources * 1.001
    kept = build_loss(LossSettings(drop_above_db=30))(estimates, sources)
    torch.testing.assert_close(kept, build_loss(LossSettings())(estimates, sources))
    assert kept.item() == pytest.approx(-60, abs=0.1)


def test_a_clamped_loss_has_no_gradient_beyond_its_bounds():
    _, sources = signals()
    estimates = (sources * 1.0001).requires_grad_()
    loss = build_loss(LossSettings(metric="snr", clamp_db=30))(estimates, sources)
    loss.backward()
    assert loss.item() == -30
    assert not estimates.grad.any()


def test_the_gradient_is_that_of_the_chosen_pairs_alone():
    estimates, sources = signals(batch=1)
    swapped = estimates.flip(1).clone().requires_grad_()
    build_loss(LossSettings())(swapped, sources).backward()
    straight = estimates.clone().requires_grad_()
    (-snr(estimate=straight, reference=sources, zero_mean=True, eps=EPS).mean()).backward()
    torch.testing.assert_close(swapped.grad, straight.grad.flip(1))


@pytest.mark.parametrize("name", ["si_snr", "snr", "sd_sdr", "conv_tasnet"])
def test_silence_has_a_finite_gradient(name):
    estimates = (torch.randn(2, 2, 100, generator=torch.Generator().manual_seed(0)) * 1e-3).requires_grad_()
    sources = torch.randn(2, 2, 100, generator=torch.Generator().manual_seed(1))
    sources[:, 1] = 0
    build_loss(LossSettings(metric=name, drop_above_db=30))(estimates, sources).backward()
    assert estimates.grad.isfinite().all()


def test_half_precision_estimates_are_scored_in_single_precision():
    estimates, sources = signals()
    loss = build_loss(LossSettings())(estimates.bfloat16(), sources)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, build_loss(LossSettings())(estimates.bfloat16().float(), sources))


def test_an_item_in_order_is_scored_as_it_stands_and_the_others_at_their_best():
    estimates, sources = signals()
    swapped = estimates.flip(1)
    in_order = torch.tensor([True, False, True, False])
    metric = partial(snr, zero_mean=True, eps=EPS)
    free = pit_losses(metric, estimates=swapped, sources=sources)
    held = pit_losses(metric, estimates=swapped, sources=sources, in_order=in_order)
    torch.testing.assert_close(held[~in_order], free[~in_order])
    torch.testing.assert_close(held[in_order], -metric(estimate=swapped, reference=sources).mean(-1)[in_order])
    assert (held[in_order] > free[in_order] + 3).all()
