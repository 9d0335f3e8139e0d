"""Which estimate belongs to which source.

A network gives its estimates in any order. `pairwise` scores every estimate against every source, `best_permutation`
picks the assignment with the highest mean score, `permute` puts the estimates into the order of the sources:

    scores = pairwise(si_sdr, estimates=estimates, sources=sources)
    ordered = permute(estimates, best_permutation(scores))
"""

from __future__ import annotations

from itertools import permutations
from typing import Protocol

import torch
from torch import Tensor

from unmingle.errors import MissingExtraError, ShapeError

BRUTE_FORCE_SOURCES = 3  # above it the number of permutations outgrows the Hungarian algorithm


class Metric(Protocol):
    """A score of pairs, such as `si_sdr`; give its options with `functools.partial`."""

    def __call__(self, *, estimate: Tensor, reference: Tensor) -> Tensor:
        """(..., time) twice -> (...), higher is better."""
        ...


def pairwise(metric: Metric, *, estimates: Tensor, sources: Tensor) -> Tensor:
    """Score every estimate against every source.

    Args:
        metric: called with (batch, n_est, n_src, time) tensors as `estimate` and `reference`.
        estimates: (batch, n_est, time).
        sources: (batch, n_src, time).

    Returns:
        (batch, n_est, n_src); entry [b, i, j] compares estimate i with source j.

    Raises:
        ShapeError: not three dimensions, or another batch or duration.
    """
    if estimates.ndim != 3 or sources.ndim != 3 or estimates.shape[::2] != sources.shape[::2]:
        raise ShapeError(
            f"estimates are {tuple(estimates.shape)} and sources {tuple(sources.shape)}; "
            "wanted (batch, n_est, time) and (batch, n_src, time) with the same batch and time"
        )
    shape = (estimates.shape[0], estimates.shape[1], sources.shape[1], sources.shape[2])
    return metric(estimate=estimates.unsqueeze(2).expand(shape), reference=sources.unsqueeze(1).expand(shape))


def best_permutation(scores: Tensor) -> Tensor:
    """The assignment of estimates to sources with the highest mean score.

    Args:
        scores: (batch, n_est, n_src) from `pairwise`, higher is better, n_est at least n_src. A nan (the score of a
            silent source) favours no estimate.

    Returns:
        (batch, n_src) integers: `permutation[b, j]` is the estimate that belongs to source j. Ties keep the order.

    Raises:
        ShapeError: not three dimensions, or fewer estimates than sources.
        MissingExtraError: more than three estimates, and SciPy is not installed.
    """
    if scores.ndim != 3 or scores.shape[1] < scores.shape[2]:
        raise ShapeError(f"scores are {tuple(scores.shape)}; wanted (batch, n_est, n_src) with n_est at least n_src")
    scores = torch.nan_to_num(scores.detach(), nan=0.0, posinf=1e4, neginf=-1e4)
    if scores.shape[1] <= BRUTE_FORCE_SOURCES:
        return _brute_force(scores)
    return _hungarian(scores)


def permute(estimates: Tensor, permutation: Tensor) -> Tensor:
    """Put estimates into the order of the sources.

    Args:
        estimates: (batch, n_est, ...).
        permutation: (batch, n_src) from `best_permutation`.

    Returns:
        (batch, n_src, ...), entry [b, j] being `estimates[b, permutation[b, j]]`.
    """
    items = torch.arange(estimates.shape[0], device=estimates.device).unsqueeze(1)
    return estimates[items, permutation]


def matched_scores(scores: Tensor, permutation: Tensor) -> Tensor:
    """The scores of the assigned pairs: (batch, n_est, n_src) and (batch, n_src) -> (batch, n_src)."""
    return scores.gather(1, permutation.unsqueeze(1)).squeeze(1)


def _brute_force(scores: Tensor) -> Tensor:
    _, n_est, n_src = scores.shape
    candidates = torch.tensor(list(permutations(range(n_est), n_src)), device=scores.device)  # (permutations, n_src)
    totals = scores[:, candidates, torch.arange(n_src, device=scores.device)].sum(dim=-1)  # (batch, permutations)
    return candidates[totals.argmax(dim=-1)]


def _hungarian(scores: Tensor) -> Tensor:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingExtraError("scipy", extra="train", purpose="matching more than three sources") from error
    assignments = [linear_sum_assignment(item.T, maximize=True)[1] for item in scores.cpu().double().numpy()]
    return torch.tensor([assignment.tolist() for assignment in assignments], device=scores.device)
