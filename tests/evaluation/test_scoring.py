import math

import pytest
import torch

from unmingle.evaluation.scoring import METRICS, SourceScores, best_order, finite_mean, score_sources

RATE = 8_000


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthonormal(n, time=4_000):
    """Signals without mean, orthogonal to each other, of unit energy."""
    signals = noise(time, n).double()
    return torch.linalg.qr(signals - signals.mean(dim=0))[0].T


def test_improvements_are_those_of_the_closed_form():
    first, second, hiss = orthonormal(3)
    sources = torch.stack([first, 2 * second])
    estimates = torch.stack([first + 0.1 * hiss, 2 * second + 0.2 * first])
    scores = score_sources("si_snr", estimates=estimates, sources=sources, mixture=sources.sum(0), sample_rate=RATE)
    assert scores.estimates == pytest.approx((20.0, 20.0))
    assert scores.mixture == pytest.approx((-20 * math.log10(2), 20 * math.log10(2)))
    assert scores.improvements == pytest.approx((20 + 20 * math.log10(2), 20 - 20 * math.log10(2)))


@pytest.mark.parametrize("metric", ["si_snr", "sdr", "sdr_legacy", "stoi"])
@pytest.mark.parametrize("order", [(2, 0, 1), (0, 2, 1), (2, 1, 0)])
def test_the_order_of_the_estimates_does_not_matter(metric, order):
    sources = noise(3, RATE)
    estimates = sources + 0.3 * noise(3, RATE, seed=1)
    mixture = sources.sum(0)
    straight, shuffled = (
        score_sources(metric, estimates=given, sources=sources, mixture=mixture, sample_rate=RATE)
        for given in (estimates, estimates[list(order)])
    )
    assert shuffled == straight
    assert [order[place] for place in best_order(estimates=estimates[list(order)], sources=sources)] == [0, 1, 2]


def test_permuting_the_sources_permutes_the_answer():
    sources = noise(2, RATE)
    estimates = sources + torch.tensor([[0.1], [0.5]]) * noise(2, RATE, seed=1)
    mixture = sources.sum(0)
    straight = score_sources("sdr", estimates=estimates, sources=sources, mixture=mixture, sample_rate=RATE)
    turned = score_sources("sdr", estimates=estimates, sources=sources.flip(0), mixture=mixture, sample_rate=RATE)
    assert turned.estimates == straight.estimates[::-1]
    assert turned.mixture == straight.mixture[::-1]


def test_only_the_estimates_of_the_legacy_score_are_swapped():
    sources = noise(2, RATE)
    estimates = torch.nn.functional.avg_pool1d(torch.nn.functional.pad(sources, (8, 0)), 9, 1)  # causal
    right, legacy = (
        score_sources(name, estimates=estimates, sources=sources, mixture=sources.sum(0), sample_rate=RATE)
        for name in ("sdr", "sdr_legacy")
    )
    assert legacy.mixture == right.mixture
    assert min(right.estimates) > max(legacy.estimates) + 10


def test_rounding_counts_as_perfect_and_silence_as_silent():
    sources = noise(2, RATE)
    estimates = torch.stack([sources[0], torch.zeros(RATE)])
    for metric in ("si_snr", "sdr"):
        scores = score_sources(metric, estimates=estimates, sources=sources, mixture=sources.sum(0), sample_rate=RATE)
        assert scores.estimates == (math.inf, -math.inf)


def test_a_silent_source_leaves_the_other_one_its_estimate():
    sources = torch.stack([noise(RATE), torch.zeros(RATE)])
    estimates = torch.stack([noise(RATE, seed=2), sources[0] + 0.1 * noise(RATE, seed=1)])
    scores = score_sources("si_snr", estimates=estimates, sources=sources, mixture=sources.sum(0), sample_rate=RATE)
    assert scores.estimates[0] == pytest.approx(20.0, abs=0.5)
    assert math.isnan(scores.estimates[1])


def test_every_metric_has_a_convention_and_a_title():
    assert all(metric.title and metric.convention for metric in METRICS.values())


def test_the_finite_mean_skips_what_is_not_finite():
    assert finite_mean([1.0, math.inf, 3.0, math.nan, -math.inf]) == 2.0
    assert math.isnan(finite_mean([math.nan]))
    assert SourceScores((3.0, math.inf), (1.0, math.inf)).improvements[0] == 2.0
