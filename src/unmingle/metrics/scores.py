"""Scores that tables report: SI-SNR, SDR (BSS-eval), PESQ and STOI of single signals.

Every signal score takes (..., time) as the keywords `estimate` and `reference`, gives (...) in float64, and means the
same by its extremes: nan when the reference is silent, the estimate is not of numbers or the score is not defined, -inf
for a silent estimate.

SDR comes from fast_bss_eval, whose functions disagree about their order: `sdr_loss` and `sdr_pit_loss` take the
estimate first, `sdr` and `bss_eval_sources` the reference. Published figures have been made with the two exchanged;
`legacy_sdr` repeats that, and is used only when asked for by name (docs/decisions/0008).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from unmingle.errors import ConfigError, MissingExtraError, ShapeError
from unmingle.metrics.si_sdr import si_sdr

SDR_FILTER_LENGTH = 512  # samples, BSS-eval's own default
PESQ_MODES = {8_000: "nb", 16_000: "wb"}  # the sample rates that ITU-T P.862 and P.862.2 define


def si_snr(*, estimate: Tensor, reference: Tensor) -> Tensor:
    """SI-SDR with means removed, in dB and float64.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.

    Returns:
        (...) in dB; nan for a silent reference, -inf for a silent estimate, +inf (or above 100) for a perfect one.

    Raises:
        ShapeError: the shapes differ.
    """
    _require_same_shape(estimate, reference)
    estimate, reference = _centred(estimate), _centred(reference)
    scores = si_sdr(estimate=estimate, reference=reference)
    return _mark_silence(scores, estimate=estimate, reference=reference)


def sdr(*, estimate: Tensor, reference: Tensor, filter_length: int = SDR_FILTER_LENGTH) -> Tensor:
    """BSS-eval SDR, in dB: the reference through the best filter is signal, the rest of the estimate is distortion.

    Means are kept, as BSS-eval does.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        filter_length: taps of the distortion filter that is forgiven.

    Returns:
        (...) in dB; nan for a silent reference, -inf for a silent estimate.

    Raises:
        ShapeError: the shapes differ.
        MissingExtraError: fast_bss_eval is not installed.
    Source: Vincent et al., "Performance measurement in blind audio source separation", 2006;
        Scheibler, "SDR - medium rare with fast computations", ICASSP 2022.
    """
    try:
        import fast_bss_eval
    except ImportError as error:
        raise MissingExtraError("fast_bss_eval", extra="eval", purpose="SDR") from error
    _require_same_shape(estimate, reference)
    estimate, reference = estimate.double(), reference.double()
    # A silent reference has no inverse; any other signal stands in for it, and its score is overwritten.
    solvable = torch.where(_silent(reference).unsqueeze(-1), _impulse(reference), reference)
    # One by one: torch.linalg.solve fails on batches of matrices this large on several threads (pytorch issue 142815).
    # Estimate first: this is the order of fast_bss_eval's losses, and of no other function of it.
    losses = [
        cast(Any, fast_bss_eval).sdr_loss(one[None], true[None], filter_length=filter_length)
        for one, true in zip(*(signal.reshape(-1, signal.shape[-1]) for signal in (estimate, solvable)), strict=True)
    ]
    found = -torch.cat(losses).view(estimate.shape[:-1])
    return _mark_silence(found, estimate=estimate, reference=reference)


def legacy_sdr(*, estimate: Tensor, reference: Tensor, filter_length: int = SDR_FILTER_LENGTH) -> Tensor:
    """SDR with estimate and reference exchanged, as published evaluation code computed it. Only to compare with it.

    It forgives what a filter can take away from the estimate, and punishes a filtered reference, which SDR forgives.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        filter_length: taps of the filter, here applied to the estimate.

    Returns:
        (...) in dB.

    Raises:
        ShapeError: the shapes differ.
        MissingExtraError: fast_bss_eval is not installed.
    """
    swapped = sdr(estimate=reference, reference=estimate, filter_length=filter_length)
    return _mark_silence(swapped, estimate=estimate, reference=reference)


def pesq(*, estimate: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Perceptual speech quality, MOS-LQO 1.0 to 4.6: narrow band (P.862) at 8 kHz, wide band (P.862.2) at 16 kHz.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        sample_rate: 8000 or 16000 Hz.

    Returns:
        (...); nan where PESQ finds no speech, or less than a quarter of a second.

    Raises:
        ShapeError: the shapes differ.
        ConfigError: another sample rate.
        MissingExtraError: pesq is not installed.
    """
    try:
        import pesq as itu
    except ImportError as error:
        raise MissingExtraError("pesq", extra="eval", purpose="PESQ") from error
    if sample_rate not in PESQ_MODES:
        raise ConfigError(
            f"PESQ is defined at 8000 and 16000 Hz, but the signals are at {sample_rate} Hz; leave it out"
        )

    def one(estimate: Tensor, reference: Tensor) -> float:
        signals = reference.float().numpy(), estimate.float().numpy()
        try:
            return float(itu.pesq(sample_rate, *signals, mode=PESQ_MODES[sample_rate]))
        except (itu.NoUtterancesError, itu.BufferTooShortError):
            return float("nan")

    return _per_signal(one, estimate=estimate, reference=reference)


def stoi(*, estimate: Tensor, reference: Tensor, sample_rate: int, extended: bool = False) -> Tensor:
    """Short-time objective intelligibility, up to 1.0; resampled to 10 kHz inside, as it is defined.

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        sample_rate: Hz.
        extended: the variant for modulated maskers (Jensen and Taal 2016).

    Returns:
        (...); nan where the reference holds less than about 0.4 s of speech.

    Raises:
        ShapeError: the shapes differ.
        MissingExtraError: pystoi is not installed.
    Source: Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted noisy speech", 2011.
    """
    try:
        from pystoi import stoi as published
    except ImportError as error:
        raise MissingExtraError("pystoi", extra="eval", purpose="STOI") from error

    def one(estimate: Tensor, reference: Tensor) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # too little speech is a warning and a score of 1e-5 there
            try:
                return float(published(reference.double().numpy(), estimate.double().numpy(), sample_rate, extended))
            except (RuntimeWarning, ValueError):
                return float("nan")

    return _per_signal(one, estimate=estimate, reference=reference)


def _require_same_shape(estimate: Tensor, reference: Tensor) -> None:
    if estimate.shape != reference.shape:
        raise ShapeError(
            f"estimate is {tuple(estimate.shape)} and reference {tuple(reference.shape)}; they must have the same shape"
        )


def _silent(signal: Tensor) -> Tensor:
    return (signal == 0).all(dim=-1)


def _centred(signal: Tensor) -> Tensor:
    """Float64 without its mean; a constant becomes exactly zero."""
    constant = (signal == signal[..., :1]).all(dim=-1, keepdim=True)
    signal = signal.double()
    return torch.where(constant, torch.zeros_like(signal), signal - signal.mean(dim=-1, keepdim=True))


def _impulse(like: Tensor) -> Tensor:
    impulse = torch.zeros_like(like)
    impulse[..., 0] = 1.0
    return impulse


def _mark_silence(scores: Tensor, *, estimate: Tensor, reference: Tensor) -> Tensor:
    scores = scores.masked_fill(_silent(estimate), float("-inf"))
    return scores.masked_fill(_silent(reference), float("nan"))


def _per_signal(function: Callable[[Tensor, Tensor], float], *, estimate: Tensor, reference: Tensor) -> Tensor:
    """Apply a score of two single signals to every signal of (..., time)."""
    _require_same_shape(estimate, reference)
    time = reference.shape[-1]
    pairs = zip(estimate.detach().cpu().reshape(-1, time), reference.detach().cpu().reshape(-1, time), strict=True)
    values = [_or_extreme(function, separated, true) for separated, true in pairs]
    return torch.tensor(values, dtype=torch.float64).reshape(reference.shape[:-1])


def _or_extreme(function: Callable[[Tensor, Tensor], float], estimate: Tensor, reference: Tensor) -> float:
    """What the published packages cannot be asked, and otherwise what they say."""
    if bool(_silent(reference)) or not bool(estimate.isfinite().all()):
        return float("nan")
    return float("-inf") if bool(_silent(estimate)) else function(estimate, reference)
