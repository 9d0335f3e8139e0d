import pytest
import torch
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
    scale_invariant_signal_noise_ratio,
    signal_noise_ratio,
)

from unmingle.errors import ShapeError
from unmingle.metrics.si_sdr import sd_sdr, si_sdr, snr

METRICS = [si_sdr, snr, sd_sdr]


def orthogonal_pair(level_db):
    """A reference and a noise orthogonal to it, `level_db` below it."""
    time = torch.arange(800, dtype=torch.float64) / 800
    reference = torch.sin(2 * torch.pi * 5 * time)
    noise = torch.sin(2 * torch.pi * 9 * time) * 10 ** (-level_db / 20)
    return reference, noise


@pytest.fixture
def noisy():
    generator = torch.Generator().manual_seed(3)
    reference = torch.randn(4, 2, 900, generator=generator, dtype=torch.float64)
    return reference + 0.3 * torch.randn(4, 2, 900, generator=generator, dtype=torch.float64) + 0.1, reference


@pytest.mark.parametrize("metric", METRICS)
def test_orthogonal_noise_at_10_db_scores_10_db(metric):
    reference, noise = orthogonal_pair(10)
    torch.testing.assert_close(metric(estimate=reference + noise, reference=reference), torch.tensor(10.0).double())


def test_rescaling_either_signal_leaves_si_sdr_alone(noisy):
    estimate, reference = noisy
    expected = si_sdr(estimate=estimate, reference=reference)
    torch.testing.assert_close(si_sdr(estimate=-7 * estimate, reference=0.2 * reference), expected)


def test_snr_counts_a_wrong_level_as_noise():
    reference, _ = orthogonal_pair(0)
    assert snr(estimate=0.9 * reference, reference=reference).item() == pytest.approx(20)


def test_sd_sdr_punishes_a_louder_estimate_where_si_sdr_does_not():
    reference, noise = orthogonal_pair(10)
    doubled = 2 * (reference + noise)
    assert si_sdr(estimate=doubled, reference=reference).item() == pytest.approx(10)
    # Projection 2r, difference r + 2n with |n|^2 = 0.1 |r|^2: 4 over 1.4.
    assert sd_sdr(estimate=doubled, reference=reference).item() == pytest.approx(
        10 * torch.log10(torch.tensor(4 / 1.4))
    )


def test_swapping_the_arguments_changes_the_levels_that_count():
    reference, noise = orthogonal_pair(0)
    estimate = 3 * reference + noise
    assert snr(estimate=estimate, reference=reference).item() == pytest.approx(-6.9897, abs=1e-3)
    assert snr(estimate=reference, reference=estimate).item() == pytest.approx(3.0103, abs=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_arguments_cannot_be_given_by_position(metric):
    with pytest.raises(TypeError, match="positional"):
        metric(torch.ones(3), torch.ones(3))


def test_zero_mean_ignores_an_offset(noisy):
    estimate, reference = noisy
    expected = si_sdr(estimate=estimate, reference=reference, zero_mean=True)
    torch.testing.assert_close(si_sdr(estimate=estimate + 5, reference=reference - 2, zero_mean=True), expected)
    assert (si_sdr(estimate=estimate + 5, reference=reference) < expected - 10).all()


def test_a_perfect_estimate_scores_infinity_and_a_silent_reference_nan():
    reference, _ = orthogonal_pair(0)
    assert si_sdr(estimate=2 * reference, reference=reference).item() == torch.inf
    assert si_sdr(estimate=reference, reference=torch.zeros_like(reference)).isnan()


def test_the_published_epsilons_sit_in_both_denominators_and_in_the_logarithm():
    estimate, reference, eps = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.5, 0.0]).double(), 0.25
    # <e,t> = 0.5, |t|^2 = 0.25: a = 0.5 / (0.25 + 0.25) t = (0.5, 0); e - a = (0.5, 2): 0.25 / (4.25 + 0.25) + 0.25.
    expected = 10 * torch.log10(torch.tensor(0.25 / 4.5 + 0.25).double())
    torch.testing.assert_close(si_sdr(estimate=estimate, reference=reference, eps=eps), expected)
    # SNR: |t|^2 = 0.25 over |e - t|^2 = 4.25, plus the same epsilons.
    torch.testing.assert_close(snr(estimate=estimate, reference=reference, eps=eps), expected)


def test_silence_has_finite_values_and_gradients_with_the_published_epsilon():
    estimate = torch.zeros(1, 100, requires_grad=True)
    value = si_sdr(estimate=estimate, reference=torch.zeros(1, 100), zero_mean=True, eps=1e-8)
    value.sum().backward()
    assert value.item() == pytest.approx(-80)
    assert estimate.grad.isfinite().all()


def test_agrees_with_torchmetrics(noisy):
    estimate, reference = noisy
    close = {"atol": 1e-6, "rtol": 1e-6}
    torch.testing.assert_close(
        si_sdr(estimate=estimate, reference=reference),
        scale_invariant_signal_distortion_ratio(preds=estimate, target=reference),
        **close,
    )
    torch.testing.assert_close(
        si_sdr(estimate=estimate, reference=reference, zero_mean=True),
        scale_invariant_signal_noise_ratio(preds=estimate, target=reference),
        **close,
    )
    torch.testing.assert_close(
        snr(estimate=estimate, reference=reference), signal_noise_ratio(preds=estimate, target=reference), **close
    )


@pytest.mark.parametrize("metric", METRICS)
def test_other_shapes_are_refused_with_both_named(metric):
    with pytest.raises(ShapeError, match=r"\(2, 10\).*\(2, 11\)"):
        metric(estimate=torch.zeros(2, 10), reference=torch.zeros(2, 11))
