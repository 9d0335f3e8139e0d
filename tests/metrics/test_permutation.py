from functools import partial
from itertools import permutations

import pytest
import torch
from torchmetrics.functional.audio import permutation_invariant_training, scale_invariant_signal_noise_ratio

from unmingle.errors import ShapeError
from unmingle.metrics.permutation import best_permutation, matched_scores, pairwise, permute
from unmingle.metrics.si_sdr import si_sdr, snr


def signals(n_src, batch=5, time=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randn(batch, n_src, time, generator=generator)
    estimates = sources + 0.5 * torch.randn(batch, n_src, time, generator=generator)
    return estimates, sources


def test_pairwise_puts_estimates_in_rows_and_sources_in_columns():
    estimates, sources = signals(3)
    scores = pairwise(snr, estimates=estimates[:, :2], sources=sources)
    assert scores.shape == (5, 2, 3)
    torch.testing.assert_close(scores[3, 1, 2], snr(estimate=estimates[3, 1], reference=sources[3, 2]))


@pytest.mark.parametrize("n_src", [1, 2, 3, 4, 6])
def test_a_shuffled_set_is_put_back_into_order(n_src):
    _, sources = signals(n_src)
    order = torch.randperm(n_src, generator=torch.Generator().manual_seed(n_src))
    shuffled = sources[:, order] + 1e-3
    permutation = best_permutation(pairwise(si_sdr, estimates=shuffled, sources=sources))
    torch.testing.assert_close(permute(shuffled, permutation), sources + 1e-3)


@pytest.mark.parametrize("n_src", [2, 3, 4, 5])
def test_no_other_assignment_has_a_higher_mean(n_src):
    scores = torch.randn(20, n_src, n_src, generator=torch.Generator().manual_seed(1))
    best = matched_scores(scores, best_permutation(scores)).mean(-1)
    columns = torch.arange(n_src)
    every = torch.stack([scores[:, torch.tensor(order), columns].mean(-1) for order in permutations(range(n_src))])
    torch.testing.assert_close(best, every.amax(0))


def test_each_item_has_its_own_permutation():
    _, sources = signals(2, batch=2)
    estimates = torch.stack([sources[0], sources[1].flip(0)])
    permutation = best_permutation(pairwise(si_sdr, estimates=estimates, sources=sources))
    assert permutation.tolist() == [[0, 1], [1, 0]]


def test_more_estimates_than_sources_leaves_the_worst_out():
    scores = torch.tensor([[[1.0, 0.0], [5.0, 9.0], [7.0, 2.0]]])
    assert best_permutation(scores).tolist() == [[2, 1]]


def test_more_estimates_than_sources_works_above_three_too():
    scores = torch.zeros(1, 5, 2)
    scores[0, 4, 0] = scores[0, 3, 1] = 6
    assert best_permutation(scores).tolist() == [[4, 3]]


@pytest.mark.parametrize("n_src", [2, 4])
def test_a_silent_source_does_not_disturb_the_others(n_src):
    _, sources = signals(n_src)
    sources[:, 0] = 0
    estimates = sources.flip(1) + 0.1 * signals(n_src, seed=1)[1]
    permutation = best_permutation(pairwise(si_sdr, estimates=estimates, sources=sources))
    assert permutation.tolist() == [list(range(n_src - 1, -1, -1))] * len(sources)


@pytest.mark.parametrize("n_src", [2, 3])
def test_agrees_with_torchmetrics(n_src):
    estimates, sources = signals(n_src)
    estimates = estimates.roll(1, dims=1)
    value, order = permutation_invariant_training(estimates, sources, scale_invariant_signal_noise_ratio)
    scores = pairwise(partial(si_sdr, zero_mean=True), estimates=estimates, sources=sources)
    permutation = best_permutation(scores)
    assert torch.equal(permutation, order)
    torch.testing.assert_close(matched_scores(scores, permutation).mean(-1), value, atol=1e-4, rtol=1e-4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"\(2, 2, 10\).*\(2, 2, 11\)"):
        pairwise(snr, estimates=torch.zeros(2, 2, 10), sources=torch.zeros(2, 2, 11))
    with pytest.raises(ShapeError, match="n_est at least n_src"):
        best_permutation(torch.zeros(1, 2, 3))
