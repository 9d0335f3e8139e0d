"""One mixture's scores: which metrics there are, and what each gives for estimates in any order and for the mixture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from unmingle.metrics.permutation import best_permutation, matched_scores, pairwise, permute
from unmingle.metrics.scores import SDR_FILTER_LENGTH, legacy_sdr, pesq, sdr, si_snr, stoi

CEILING_DB = 100.0
"""Scores beyond it, either way, are rounding: they count as infinite. Nothing that was separated comes near."""


class Score(Protocol):
    """A score of one signal; higher is better."""

    def __call__(self, *, estimate: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
        """(..., time) twice -> (...)."""
        ...


@dataclass(frozen=True)
class Metric:
    """One line of the table below.

    Attributes:
        title: how a report names it, unit included.
        score: from (estimate, reference, sample_rate) to a number per signal.
        baseline: the score of the unprocessed mixture that improvements subtract; usually the same.
        own_permutation: whether the best permutation is searched on this score itself; otherwise on SI-SNR.
        convention: what a reader must know to repeat it.
    """

    title: str
    score: Score
    baseline: Score
    own_permutation: bool
    convention: str


def _rateless(function: Callable[..., Tensor]) -> Score:
    """A score that does not depend on the sample rate, in the form of those that do."""

    def score(*, estimate: Tensor, reference: Tensor, sample_rate: int) -> Tensor:  # noqa: ARG001
        return function(estimate=estimate, reference=reference)

    return score


METRICS: Mapping[str, Metric] = {
    "si_snr": Metric(
        "SI-SNR (dB)", _rateless(si_snr), _rateless(si_snr), True, "means removed, no epsilon, best permutation"
    ),
    "sdr": Metric(
        "SDR (dB)",
        _rateless(sdr),
        _rateless(sdr),
        True,
        f"BSS-eval, {SDR_FILTER_LENGTH}-tap distortion filter on the reference, means kept, best permutation by SDR",
    ),
    "sdr_legacy": Metric(
        "SDR, published swapped order (dB)",
        _rateless(legacy_sdr),
        _rateless(sdr),
        True,
        "estimate and reference exchanged for the estimates, not for the mixture; to compare with figures made so",
    ),
    "pesq": Metric("PESQ", pesq, pesq, False, "MOS-LQO, narrow band at 8 kHz, wide band at 16 kHz; order by SI-SNR"),
    "stoi": Metric("STOI", stoi, stoi, False, "not extended; order by SI-SNR"),
    "estoi": Metric(
        "ESTOI", partial(stoi, extended=True), partial(stoi, extended=True), False, "extended; order by SI-SNR"
    ),
}


@dataclass(frozen=True)
class SourceScores:
    """One metric on one mixture, a value per source, in the order of the sources."""

    estimates: tuple[float, ...]
    mixture: tuple[float, ...]

    @property
    def improvements(self) -> tuple[float, ...]:
        """Score of the estimate minus score of the mixture."""
        return tuple(after - before for after, before in zip(self.estimates, self.mixture, strict=True))


def best_order(*, estimates: Tensor, sources: Tensor) -> tuple[int, ...]:
    """The estimate that belongs to each source, by SI-SNR: (n_est, time), (n_src, time) -> n_src indices."""
    scores = pairwise(si_snr, estimates=estimates.unsqueeze(0), sources=sources.unsqueeze(0))
    return tuple(best_permutation(scores)[0].tolist())


def score_sources(
    metric: str, *, estimates: Tensor, sources: Tensor, mixture: Tensor, sample_rate: int, in_order: bool = False
) -> SourceScores:
    """Score the estimates of one mixture, whatever their order, beside the mixture itself.

    Args:
        metric: a key of `METRICS`.
        estimates: (n_src, time), any order.
        sources: (n_src, time).
        mixture: (time,).
        sample_rate: Hz.
        in_order: estimate k is meant to be source k, and nothing is permuted.

    Raises:
        ShapeError: shapes do not fit.
        MissingExtraError: the metric's package is not installed.
    """
    chosen = METRICS[metric]
    untouched = mixture.expand_as(sources)
    baseline = chosen.baseline(estimate=untouched, reference=sources, sample_rate=sample_rate)
    if in_order:
        scores = chosen.score(estimate=estimates, reference=sources, sample_rate=sample_rate)
        return SourceScores(_without_rounding(scores), _without_rounding(baseline))
    batched = {"estimates": estimates.unsqueeze(0), "sources": sources.unsqueeze(0)}
    if chosen.own_permutation:
        matrix = pairwise(partial(chosen.score, sample_rate=sample_rate), **batched)
        scores = matched_scores(matrix, best_permutation(matrix))[0]
    else:
        permutation = torch.tensor([best_order(estimates=estimates, sources=sources)])
        ordered = permute(batched["estimates"], permutation)[0]
        scores = chosen.score(estimate=ordered, reference=sources, sample_rate=sample_rate)
    return SourceScores(_without_rounding(scores), _without_rounding(baseline))


def _without_rounding(scores: Tensor) -> tuple[float, ...]:
    return tuple(
        value if math.isnan(value) or abs(value) <= CEILING_DB else math.copysign(math.inf, value)
        for value in scores.tolist()
    )


def finite_mean(values: Iterable[float]) -> float:
    """Mean of the finite values; nan when there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
