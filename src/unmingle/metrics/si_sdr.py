"""Signal-to-distortion ratios that need nothing but two waveforms: SI-SDR (SI-SNR), SNR and SD-SDR.

With the default `eps=0` each is the textbook formula. A published training loss adds an epsilon to every denominator
and another one inside the logarithm; pass its value (1e-8) to get exactly those numbers, gradients included.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unmingle.errors import ShapeError


def si_sdr(*, estimate: Tensor, reference: Tensor, zero_mean: bool = False, eps: float = 0.0) -> Tensor:
    """Scale-invariant signal-to-distortion ratio, in dB; higher is better.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        zero_mean: remove each mean first, which makes this SI-SNR.
        eps: 0 for the formula itself; 1e-8 for the published losses, which add it in both denominators and inside the
            logarithm.

    Returns:
        (...) in dB. With `eps=0` a perfect estimate gives +inf and a silent reference gives nan.

    Raises:
        ShapeError: the shapes differ.
    Source: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    estimate, reference = _ready(estimate, reference, zero_mean)
    target = _projection(estimate, reference, eps)
    return _decibels(_energy(target), _energy(estimate - target), eps)


def snr(*, estimate: Tensor, reference: Tensor, zero_mean: bool = False, eps: float = 0.0) -> Tensor:
    """Signal-to-noise ratio, in dB: whatever differs from the reference, its level included, is noise.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        zero_mean: remove each mean first.
        eps: as in `si_sdr`.

    Returns:
        (...) in dB. With `eps=0` a perfect estimate gives +inf and a silent reference gives -inf.

    Raises:
        ShapeError: the shapes differ.
    """
    estimate, reference = _ready(estimate, reference, zero_mean)
    return _decibels(_energy(reference), _energy(estimate - reference), eps)


def sd_sdr(*, estimate: Tensor, reference: Tensor, zero_mean: bool = False, eps: float = 0.0) -> Tensor:
    """Scale-dependent SDR, in dB: the projection of SI-SDR above, the whole difference of SNR below.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        zero_mean: remove each mean first.
        eps: as in `si_sdr`.

    Returns:
        (...) in dB. With `eps=0` a perfect estimate gives +inf and a silent reference gives nan.

    Raises:
        ShapeError: the shapes differ.
    Source: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    estimate, reference = _ready(estimate, reference, zero_mean)
    return _decibels(_energy(_projection(estimate, reference, eps)), _energy(estimate - reference), eps)


def _ready(estimate: Tensor, reference: Tensor, zero_mean: bool) -> tuple[Tensor, Tensor]:
    if estimate.shape != reference.shape:
        raise ShapeError(
            f"estimate is {tuple(estimate.shape)} and reference {tuple(reference.shape)}; they must have the same shape"
        )
    if zero_mean:
        estimate = estimate - estimate.mean(dim=-1, keepdim=True)
        reference = reference - reference.mean(dim=-1, keepdim=True)
    return estimate, reference


def _energy(signal: Tensor) -> Tensor:
    return signal.square().sum(dim=-1)


def _projection(estimate: Tensor, reference: Tensor, eps: float) -> Tensor:
    """The part of the estimate that is a scaled reference."""
    gain = (estimate * reference).sum(dim=-1) / (_energy(reference) + eps)
    return gain.unsqueeze(-1) * reference


def _decibels(signal: Tensor, noise: Tensor, eps: float) -> Tensor:
    return 10 * torch.log10(signal / (noise + eps) + eps)
