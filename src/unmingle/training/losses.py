"""Permutation-invariant training losses, with the epsilons of the published code.

For every item the estimates are assigned to the sources so that the mean loss over sources is smallest: by trying every
permutation for up to three sources, by the Hungarian algorithm above. Up to three, nothing branches on values or leaves
the device, so that a step can be compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from unmingle.metrics.permutation import Metric, best_permutation, matched_scores, pairwise
from unmingle.metrics.si_sdr import sd_sdr, si_sdr, snr
from unmingle.training.settings import LossSettings

EPS = 1e-8


class Loss(Protocol):
    """A loss of a recipe; see `batch_loss`."""

    def __call__(self, estimates: Tensor, sources: Tensor, *, in_order: Tensor | None = None) -> Tensor:
        """Both (batch, n_src, time) and (batch,) bool -> a scalar in dB."""
        ...


def build_loss(settings: LossSettings) -> Loss:
    """The loss a recipe asks for."""
    metric = partial(TRAINING_METRICS[settings.metric], zero_mean=settings.zero_mean, eps=EPS)
    return partial(batch_loss, metric=metric, drop_above_db=settings.drop_above_db, clamp_db=settings.clamp_db)


def batch_loss(
    estimates: Tensor,
    sources: Tensor,
    *,
    metric: Metric,
    drop_above_db: float | None = None,
    clamp_db: float | None = None,
    in_order: Tensor | None = None,
) -> Tensor:
    """The mean over a batch of the loss of the best assignment.

    Args:
        estimates: (batch, n_src, time), in any order.
        sources: (batch, n_src, time).
        in_order: (batch,) bool, items whose estimates have to be in the order of the sources; None: none of them.
        metric: score of pairs in dB, higher is better.
        drop_above_db: leave out items that score at least this, unless that would leave none.
        clamp_db: limit the result to plus and minus this.

    Returns:
        A scalar in dB, lower is better.

    Raises:
        ShapeError: the shapes do not fit.
    """
    losses = pit_losses(metric, estimates=estimates.float(), sources=sources.float(), in_order=in_order)  # (batch,)
    loss = losses.mean() if drop_above_db is None else _mean_of_the_hard(losses, drop_above_db)
    return loss if clamp_db is None else loss.clamp(-clamp_db, clamp_db)


def pit_losses(metric: Metric, *, estimates: Tensor, sources: Tensor, in_order: Tensor | None = None) -> Tensor:
    """Minus the mean score of each item's best assignment, or of the one at hand where `in_order`, in dB, (batch,).

    Raises:
        ShapeError: the shapes do not fit.
    """
    scores = pairwise(metric, estimates=estimates, sources=sources)  # (batch, n_src, n_src)
    chosen = matched_scores(scores, best_permutation(scores))
    if in_order is not None:
        chosen = torch.where(in_order.unsqueeze(-1), scores.diagonal(dim1=-2, dim2=-1), chosen)
    return -chosen.mean(dim=-1)


def _mean_of_the_hard(losses: Tensor, drop_above_db: float) -> Tensor:
    hard = losses > -drop_above_db
    kept = torch.where(hard.any(), hard, torch.ones_like(hard)).to(losses.dtype)
    return (losses * kept).sum() / kept.sum()


def conv_tasnet_si_snr(*, estimate: Tensor, reference: Tensor, zero_mean: bool = True, eps: float = EPS) -> Tensor:
    """SI-SNR as the Conv-TasNet trainer has it: a ratio of norms, 20 log10(eps + |a| / (|e - a| + eps)).

    Args:
        estimate: separated signal, (..., time).
        reference: true signal, same shape.
        zero_mean: remove each mean first.
        eps: added below the projection, below the ratio, and inside the logarithm.

    Returns:
        (...) in dB.
    """
    if zero_mean:
        estimate = estimate - estimate.mean(dim=-1, keepdim=True)
        reference = reference - reference.mean(dim=-1, keepdim=True)
    gain = (estimate * reference).sum(dim=-1) / (reference.square().sum(dim=-1) + eps)
    target = gain.unsqueeze(-1) * reference  # a = <e, t> t / (|t|^2 + eps)
    ratio = torch.linalg.vector_norm(target, dim=-1) / (torch.linalg.vector_norm(estimate - target, dim=-1) + eps)
    return 20 * torch.log10(eps + ratio)


TRAINING_METRICS: dict[str, Callable[..., Tensor]] = {
    "si_snr": si_sdr,
    "snr": snr,
    "sd_sdr": sd_sdr,
    "conv_tasnet": conv_tasnet_si_snr,
}
