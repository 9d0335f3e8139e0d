import pytest
import torch
from torch import nn

from unmingle.data.batch import Batch
from unmingle.training.validation import examples, improvements, validate

CPU = torch.device("cpu")


def batch(seed, n=4, known=True):
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randn(n, 2, 500, generator=generator)
    return Batch(sources.sum(1), sources, torch.tensor([True, False] * (n // 2)) if known else None)


class Copy(nn.Module):
    """The mixture as every estimate."""

    def forward(self, mixture):
        return mixture.unsqueeze(1).expand(-1, 2, -1)


class Oracle(nn.Module):
    """The sources in the wrong order, with noise 10 dB below on the first half of a batch and 20 dB on the rest."""

    def __init__(self, batches):
        super().__init__()
        self.answers = {float(item.mixture.sum()): item.sources for item in batches}

    def forward(self, mixture):
        sources = self.answers[float(mixture.sum())].flip(1)
        noise = torch.randn(sources.shape, generator=torch.Generator().manual_seed(9))
        level = torch.where(torch.arange(len(mixture)) % 2 == 0, 10.0, 20.0)
        return sources + noise * 10 ** (-level / 20).reshape(-1, 1, 1)


def test_a_copy_of_the_mixture_improves_nothing():
    found = validate(Copy(), [batch(0), batch(1)], device=CPU)
    assert found.improvement == pytest.approx(0, abs=1e-5)
    assert found.mixed == pytest.approx(0, abs=1e-5)
    assert found.si_snr == pytest.approx(0, abs=0.5)  # two voices of one level


def test_both_kinds_of_pairs_are_averaged_apart_whatever_the_order_of_the_estimates():
    batches = [batch(0), batch(1)]
    found = validate(Oracle(batches), batches, device=CPU)
    assert found.mixed == pytest.approx(10, abs=1)
    assert found.same == pytest.approx(20, abs=1)
    assert found.improvement == pytest.approx((found.mixed + found.same) / 2)


def test_kinds_are_left_out_where_they_are_not_known():
    found = validate(Copy(), [batch(0), batch(1, known=False)], device=CPU)
    assert (found.mixed, found.same) == (None, None)


def test_the_improvement_is_over_the_mixture_as_estimate():
    item = batch(3)
    score, gain = improvements(item.sources * 0.5 + 0.1 * item.mixture.unsqueeze(1), item.mixture, item.sources)
    unprocessed, _ = improvements(Copy()(item.mixture), item.mixture, item.sources)
    torch.testing.assert_close(score - gain, unprocessed)


def test_examples_are_in_the_order_of_the_sources():
    batches = [batch(0), batch(1)]
    heard = examples(Oracle(batches), batches[:1], 4, device=CPU)
    assert len(heard) == 4
    mixture, estimates = heard[1]
    assert torch.equal(mixture, batches[0].mixture[1])
    torch.testing.assert_close(estimates, batches[0].sources[1], atol=0.6, rtol=0)
