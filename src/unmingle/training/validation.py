"""How good a network is on the fixed validation mixtures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from unmingle.data.batch import Batch
from unmingle.metrics.permutation import best_permutation, matched_scores, pairwise, permute
from unmingle.metrics.si_sdr import si_sdr
from unmingle.models.lipreading import prepare_crops

# The published validation loss: SI-SNR with its epsilons, so that a silent source is finite.
_si_snr = partial(si_sdr, zero_mean=True, eps=1e-8)


@dataclass(frozen=True)
class Validation:
    """Scores on the validation mixtures, in dB, higher is better.

    Attributes:
        si_snr: mean SI-SNR of the estimates.
        improvement: mean SI-SNRi, over all mixtures.
        mixed: the same over pairs of two genders; None where none is known.
        same: the same over pairs of one gender; None where none is known.
    """

    si_snr: float
    improvement: float
    mixed: float | None
    same: float | None


def answer(network: nn.Module, mixture: Tensor, video: Tensor | None) -> Tensor:
    """What a network makes of mixtures (batch, time), and of mouth crops where it wants to see them.

    Args:
        network: audio alone, or audio-visual.
        mixture: (batch, time).
        video: (batch, frames, crop, crop), gray levels from 0 to 255; None for audio alone.

    Returns:
        (batch, n_src, time).
    """
    if video is None:
        return network(mixture)
    return network(mixture, prepare_crops(video.to(mixture.device), size=video.shape[-1]))


@torch.no_grad()
def validate(network: nn.Module, batches: Sequence[Batch], *, device: torch.device) -> Validation:
    """Separate every validation mixture and score it.

    Args:
        network: in evaluation mode; see `answer`.
        batches: see `unmingle.data.loader.validation_batches`.
        device: where the network is.
    """
    scores: list[Tensor] = []
    gains: list[Tensor] = []
    mixed: list[Tensor] = []
    for index in range(len(batches)):
        batch = batches[index]
        mixture, sources = batch.mixture.to(device), batch.sources.to(device)
        score, gain = improvements(answer(network, mixture, batch.video).float(), mixture, sources)
        scores.append(score.cpu())
        gains.append(gain.cpu())
        if batch.mixed_gender is not None:
            mixed.append(batch.mixed_gender.cpu())
    gain = torch.cat(gains)
    two_genders = torch.cat(mixed) if len(mixed) == len(gains) else torch.zeros(0, dtype=torch.bool)
    known = len(two_genders) == len(gain)
    return Validation(
        si_snr=float(torch.cat(scores).mean()),
        improvement=float(gain.mean()),
        mixed=_mean(gain[two_genders]) if known else None,
        same=_mean(gain[~two_genders]) if known else None,
    )


def improvements(estimates: Tensor, mixture: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    """SI-SNR and SI-SNRi of each item, both (batch,) in dB, mean over its sources.

    Args:
        estimates: (batch, n_src, time), in any order.
        mixture: (batch, time), what the improvement is over.
        sources: (batch, n_src, time).
    """
    scores = pairwise(_si_snr, estimates=estimates, sources=sources)
    score = matched_scores(scores, best_permutation(scores)).mean(dim=-1)
    unprocessed = _si_snr(estimate=mixture.unsqueeze(1).expand_as(sources), reference=sources).mean(dim=-1)
    return score, score - unprocessed


@torch.no_grad()
def examples(
    network: nn.Module, batches: Sequence[Batch], n: int, *, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """The first n validation mixtures with their estimates in the order of the sources: (time), (n_src, time)."""
    found: list[tuple[Tensor, Tensor]] = []
    for index in range(len(batches)):
        left = n - len(found)
        if left <= 0:
            break
        batch = batches[index]
        mixture, sources = batch.mixture[:left].to(device), batch.sources[:left].to(device)
        video = None if batch.video is None else batch.video[:left]
        estimates = answer(network, mixture, video).float()
        permutation = best_permutation(pairwise(_si_snr, estimates=estimates, sources=sources))
        found += list(zip(mixture.cpu(), permute(estimates, permutation).cpu(), strict=True))
    return found


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
