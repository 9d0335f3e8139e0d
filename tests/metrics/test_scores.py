import importlib
import math
import sys
import warnings

import numpy as np
import pytest
import torch

from unmingle.errors import ConfigError, MissingExtraError, ShapeError
from unmingle.metrics.scores import legacy_sdr, pesq, sdr, si_snr, stoi

TIME = 16_000


def white(seed, time=TIME):
    return torch.randn(time, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def band(seed, low, high, time=TIME):
    """Noise of unit energy per sample between two frequencies, 1.0 being Nyquist."""
    spectrum = torch.fft.rfft(white(seed, time))
    frequency = torch.linspace(0, 1, len(spectrum))
    spectrum[(frequency < low) | (frequency > high)] = 0
    signal = torch.fft.irfft(spectrum, n=time)
    return signal / signal.square().mean().sqrt()


def voice(seed, time=2 * TIME, sample_rate=16_000):
    """Something that PESQ and STOI take for speech: a harmonic tone in syllables, over faint noise."""
    seconds = torch.arange(time, dtype=torch.float64) / sample_rate
    pitch = 100 + 20 * seed + 10 * torch.sin(2 * math.pi * 2 * seconds)
    phase = 2 * math.pi * torch.cumsum(pitch, 0) / sample_rate
    tone = sum(torch.sin(k * phase) / k for k in range(1, 30))
    syllables = torch.sin(2 * math.pi * (3 + 0.3 * seed) * seconds).clamp(min=0)
    return 0.2 * syllables * tone + 0.001 * white(seed, time)


def orthogonal(noise, reference):
    """Noise of the same energy as the reference, without its part along the reference."""
    noise = noise - noise.mean()
    centred = reference - reference.mean()
    noise = noise - (noise @ centred) / (centred @ centred) * centred
    return noise * (centred.norm() / noise.norm())


@pytest.mark.parametrize("level", [20.0, 10.0, 0.0, -7.0])
def test_si_snr_of_orthogonal_noise_is_its_level(level):
    reference = white(0)
    estimate = reference + 10 ** (-level / 20) * orthogonal(white(1), reference)
    assert si_snr(estimate=estimate, reference=reference) == pytest.approx(level, abs=1e-9)


def test_si_snr_ignores_scale_and_offset():
    reference, estimate = white(0), white(0) + white(1)
    expected = si_snr(estimate=estimate, reference=reference)
    assert si_snr(estimate=-3 * estimate + 0.7, reference=0.1 * reference - 5) == pytest.approx(float(expected))


def test_sdr_of_noise_in_another_band_is_its_level():
    reference, noise = band(0, 0.02, 0.4), band(1, 0.6, 0.98)
    estimate = reference + 10 ** (-10 / 20) * noise
    assert sdr(estimate=estimate, reference=reference) == pytest.approx(10.0, abs=0.2)


def test_the_published_swap_hides_noise_that_a_filter_removes():
    reference, noise = band(0, 0.02, 0.4), band(1, 0.6, 0.98)
    estimate = reference + noise
    assert sdr(estimate=estimate, reference=reference) == pytest.approx(0.0, abs=0.2)
    assert legacy_sdr(estimate=estimate, reference=reference) > 15.0


def test_sdr_forgives_a_filtered_reference_and_the_swap_does_not():
    reference = white(0)
    lowpass = torch.hann_window(200, dtype=torch.float64)
    estimate = torch.nn.functional.conv1d(reference.view(1, 1, -1), lowpass.view(1, 1, -1), padding=199)[0, 0, :TIME]
    assert sdr(estimate=estimate, reference=reference) > 15.0
    assert legacy_sdr(estimate=estimate, reference=reference) < 5.0


def test_sdr_agrees_with_a_plain_least_squares_projection():
    reference, taps = white(0, 2_000), 16
    estimate = torch.roll(reference, 3) + 0.5 * white(1, 2_000)
    padded = np.zeros(2_000 + taps - 1)
    padded[:2_000] = reference
    shifts = np.stack([np.roll(padded, k) for k in range(taps)], axis=1)
    wanted = np.concatenate([estimate.numpy(), np.zeros(taps - 1)])
    target = shifts @ np.linalg.lstsq(shifts, wanted, rcond=None)[0]
    expected = 10 * np.log10(np.sum(target**2) / np.sum((wanted - target) ** 2))
    assert sdr(estimate=estimate, reference=reference, filter_length=taps) == pytest.approx(expected, abs=1e-6)


def test_the_decibel_scores_agree_with_torchmetrics():
    from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio, signal_distortion_ratio

    reference = torch.stack([voice(0), voice(1)])
    estimate = torch.nn.functional.avg_pool1d(reference.unsqueeze(1), 5, 1, 2).squeeze(1) + 0.03 * white(2, 2 * TIME)
    torch.testing.assert_close(
        sdr(estimate=estimate, reference=reference), signal_distortion_ratio(estimate, reference), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(
        si_snr(estimate=estimate, reference=reference),
        scale_invariant_signal_noise_ratio(estimate, reference),
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("sample_rate", [8_000, 16_000])
def test_the_perceptual_scores_agree_with_torchmetrics_and_not_with_the_swap(sample_rate):
    from torchmetrics.functional.audio.pesq import perceptual_evaluation_speech_quality
    from torchmetrics.functional.audio.stoi import short_time_objective_intelligibility

    reference = torch.stack([voice(0, sample_rate=sample_rate), voice(1, sample_rate=sample_rate)]).float()
    estimate = reference + 0.1 * voice(2, sample_rate=sample_rate).float() + 0.02 * white(2, 2 * TIME).float()
    mode = "wb" if sample_rate == 16_000 else "nb"
    pairs = [
        (pesq, perceptual_evaluation_speech_quality(estimate, reference, sample_rate, mode).double()),
        (stoi, short_time_objective_intelligibility(estimate, reference, sample_rate).double()),
    ]
    for score, expected in pairs:
        ours = score(estimate=estimate, reference=reference, sample_rate=sample_rate)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
        swapped = score(estimate=reference, reference=estimate, sample_rate=sample_rate)
        assert not torch.allclose(ours, swapped, rtol=0, atol=1e-3)


@pytest.mark.parametrize("score", [si_snr, sdr, legacy_sdr])
def test_extremes_are_marked(score):
    reference, silence = white(0), torch.zeros(TIME, dtype=torch.float64)
    assert torch.isnan(score(estimate=reference, reference=silence))
    assert score(estimate=silence, reference=reference) == -math.inf
    assert score(estimate=reference, reference=reference) > 100.0


@pytest.mark.parametrize("score", [pesq, stoi])
def test_estimates_that_are_silent_or_no_numbers_are_marked_before_the_packages_see_them(score):
    reference = voice(0)
    broken = reference.clone()
    broken[100] = math.nan
    estimates = torch.stack([reference, torch.zeros_like(reference), broken])
    perfect, silent, undefined = score(estimate=estimates, reference=reference.expand(3, -1), sample_rate=16_000)
    assert perfect > 0.9
    assert silent == -math.inf
    assert torch.isnan(undefined)


def test_a_silent_reference_does_not_disturb_its_neighbours():
    estimate = torch.stack([white(0) + white(1), white(2)])
    references = torch.stack([white(0), torch.zeros(TIME, dtype=torch.float64)])
    scores = sdr(estimate=estimate, reference=references)
    alone = sdr(estimate=estimate[0], reference=references[0])
    assert scores[0] == pytest.approx(float(alone))
    assert torch.isnan(scores[1])


@pytest.mark.parametrize("score", [pesq, stoi])
def test_perceptual_scores_of_silence_and_of_too_little_speech_are_undefined(score):
    short = voice(0)[:1_600]
    assert torch.isnan(score(estimate=short, reference=short, sample_rate=16_000))
    assert torch.isnan(score(estimate=voice(0), reference=torch.zeros(2 * TIME), sample_rate=16_000))


def test_float32_and_any_leading_shape_are_taken():
    reference = torch.randn(2, 3, 2_000, generator=torch.Generator().manual_seed(0))
    for score in (si_snr, sdr, legacy_sdr):
        assert score(estimate=reference + 0.1, reference=reference).shape == (2, 3)


def test_many_signals_are_scored_on_any_number_of_threads():
    estimate, reference = torch.randn(2, 3, 2000, generator=torch.Generator().manual_seed(5)).unbind(0)
    before = torch.get_num_threads()
    together = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            together.append(sdr(estimate=estimate, reference=reference))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*together)


@pytest.mark.parametrize("score", [si_snr, sdr])
def test_other_shapes_are_refused(score):
    with pytest.raises(ShapeError, match=r"\(10,\).*\(11,\)"):
        score(estimate=torch.ones(10), reference=torch.ones(11))


def test_pesq_at_another_rate_says_which_rates_it_has():
    with pytest.raises(ConfigError, match=r"8000 and 16000 Hz.*22050"):
        pesq(estimate=torch.ones(10), reference=torch.ones(10), sample_rate=22_050)


@pytest.mark.parametrize(
    ("package", "score"), [("fast_bss_eval", sdr), ("pesq", lambda **two: pesq(**two, sample_rate=8_000)),
                           ("pystoi", lambda **two: stoi(**two, sample_rate=8_000))]
)  # fmt: skip
def test_a_missing_package_names_the_extra(monkeypatch, package, score):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"needs {package}.*unmingle\[eval\]"):
        score(estimate=torch.ones(10), reference=torch.ones(10))


def test_importing_the_scores_imports_no_optional_package(monkeypatch):
    for package in ("fast_bss_eval", "pesq", "pystoi"):
        monkeypatch.setitem(sys.modules, package, None)
    with warnings.catch_warnings():
        importlib.reload(sys.modules["unmingle.metrics.scores"])
