"""Does an audio-visual network look? The same mixtures with the right faces, with the faces exchanged, and with none.

A network that looks gives another voice for another face. One that does not gives the same, whatever it is shown; its
scores without a picture are then those with one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unmingle.data.batch import Batch
from unmingle.data.crops import GRAY
from unmingle.errors import ShapeError
from unmingle.metrics.permutation import pairwise
from unmingle.metrics.scores import si_snr
from unmingle.models.base import AudioVisualModel
from unmingle.training.validation import answer, improvements


@dataclass(frozen=True)
class PictureUse:
    """What a network makes of pictures; SI-SNRi in dB, means over every face of every mixture.

    Attributes:
        n_mixtures: how many mixtures.
        right: with the face of the voice that is scored.
        swapped: with the face of the other voice: far below 0 where the voices change places.
        blank: with level gray.
        still: with the first frame of the right face, standing still.
        found_share: share of the faces for which the estimate is nearer to their own voice than to any other.
        swapped_share: share for which, with the other's face, it is nearer to the other's voice.
    """

    n_mixtures: int
    right: float
    swapped: float
    blank: float
    still: float
    found_share: float
    swapped_share: float

    @property
    def worth(self) -> float:
        """What the picture is worth: right minus blank, dB."""
        return self.right - self.blank


@torch.no_grad()
def picture_use(
    network: AudioVisualModel, batches: Sequence[Batch], *, progress: Callable[[int, int], None] | None = None
) -> PictureUse:
    """Show a network right, exchanged and no faces.

    Args:
        network: in evaluation mode.
        batches: each one mixture, with an item for every face of it; such as `SeenMixtures` or `made_up_faces` give.
        progress: called with (mixtures done, mixtures in all).

    Raises:
        ShapeError: a batch without video, or of one face alone.
    """
    gains: dict[str, list[Tensor]] = {name: [] for name in ("right", "swapped", "blank", "still")}
    found: list[Tensor] = []
    swapped: list[Tensor] = []
    for number in range(len(batches)):
        batch = batches[number]
        if batch.video is None or len(batch.video) < 2:
            raise ShapeError(f"mixture {number + 1} shows fewer than two faces; exchanging them wants two")
        shown = {
            "right": batch.video,
            "swapped": batch.video.roll(1, 0),
            "blank": torch.full_like(batch.video, GRAY),
            "still": batch.video[:, :1].expand_as(batch.video),
        }
        estimates = {name: answer(network, batch.mixture, video).float() for name, video in shown.items()}
        for name, estimate in estimates.items():
            gains[name].append(improvements(estimate, batch.mixture, batch.sources)[1])
        own = torch.arange(len(batch.video))
        found.append(_nearest(estimates["right"], batch.sources) == own)
        swapped.append(_nearest(estimates["swapped"], batch.sources) == own.roll(1))
        if progress:
            progress(number + 1, len(batches))
    means = {name: float(torch.cat(values).mean()) for name, values in gains.items()}
    shares = [float(torch.cat(values).float().mean()) for values in (found, swapped)]
    return PictureUse(len(batches), **means, found_share=shares[0], swapped_share=shares[1])


def _nearest(estimates: Tensor, sources: Tensor) -> Tensor:
    """The number of the voice that each estimate is nearest to: (n, 1, time), (n, 1, time) -> (n,)."""
    scores = pairwise(si_snr, estimates=estimates.transpose(0, 1), sources=sources.transpose(0, 1))  # (1, n, n)
    return scores[0].argmax(dim=-1)
