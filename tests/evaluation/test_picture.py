"""Does a network look? Answered for ones that surely do, or surely do not."""

import pytest
import torch

from unmingle.data.batch import Batch
from unmingle.errors import ShapeError
from unmingle.evaluation.picture import picture_use


def batches(n=3):
    made = []
    for seed in range(n):
        sources = torch.randn(2, 1, 800, generator=torch.Generator().manual_seed(seed))
        video = torch.zeros(2, 5, 8, 8, dtype=torch.uint8)
        video[0, 1:] = 30 + seed  # moves: its first frame is that of the other
        video[1, 1:] = 200 + seed
        made.append(Batch(sources.sum(0).expand(2, -1), sources, None, video))
    return made


class Looks(torch.nn.Module):
    """Knows the voice that goes with a bright face and with a dark one; without motion it gives the mixture back."""

    def forward(self, mixture, video):
        known = next(b for b in batches() if torch.equal(b.mixture, mixture))
        level = video[:, 1].mean((1, 2)) - video[:, 0].mean((1, 2))
        voices = torch.where((level > 3).view(-1, 1), known.sources[1, 0], known.sources[0, 0])
        moves = (level.abs() > 0.1).view(-1, 1)
        return torch.where(moves, voices + 0.1 * mixture, mixture).unsqueeze(1)


class Listens(torch.nn.Module):
    def forward(self, mixture, video):
        return mixture.unsqueeze(1)


def test_a_network_that_looks_changes_its_voice_with_the_face():
    use = picture_use(Looks(), batches())
    assert use.n_mixtures == 3
    assert use.right > 15
    assert use.swapped < -15
    assert use.blank == pytest.approx(0, abs=1e-5)
    assert use.still == pytest.approx(0, abs=1e-5)
    assert use.worth == pytest.approx(use.right)
    assert (use.found_share, use.swapped_share) == (1.0, 1.0)


def test_a_network_that_only_listens_is_found_out():
    use = picture_use(Listens(), batches())
    assert use.right == use.swapped == use.blank
    assert use.worth == 0
    assert use.found_share == pytest.approx(0.5)


def test_one_face_alone_cannot_be_exchanged():
    batch = batches(1)[0]
    alone = Batch(*(value[:1] if value is not None else None for value in batch))
    with pytest.raises(ShapeError, match="fewer than two faces"):
        picture_use(Listens(), [alone])
