"""One mixture with its true sources, read whole and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unmingle.audio.io import read_mono
from unmingle.errors import ManifestError, ShapeError

if TYPE_CHECKING:
    from unmingle.data.manifest import Entry


@dataclass(frozen=True)
class Utterance:
    """A mixture and what it is made of.

    Attributes:
        id: of the manifest entry.
        stem: file name of the mixture without its ending.
        labels: what the manifest says about it.
        sample_rate: Hz.
        mixture: (time,) float32.
        sources: (n_src, time) float32.
        video: files of mouth crops, one per source, or none.
    """

    id: str
    stem: str
    labels: Mapping[str, str]
    sample_rate: int
    mixture: Tensor
    sources: Tensor
    video: tuple[Path, ...] = ()

    @property
    def seconds(self) -> float:
        """Length."""
        return self.mixture.shape[-1] / self.sample_rate


def read_utterance(entry: Entry, labels: Mapping[str, str]) -> Utterance:
    """Read the files of an entry.

    Raises:
        SampleRateError: a file is at another rate than the entry says.
        ShapeError: a file has several channels, or the files have different lengths.
        MissingFileError, AudioReadError: a file is not there or cannot be read.
    """
    mixture = read_channel(Path(entry.mixture), sample_rate=entry.sample_rate)
    if not mixture.shape[-1]:
        raise ManifestError(f"mixture {entry.id!r} ({entry.mixture}) holds no samples; take it out of the manifest")
    time = mixture.shape[-1]
    sources = [read_channel(Path(path), sample_rate=entry.sample_rate, time=time) for path in entry.sources]
    stem, video = Path(entry.mixture).stem, tuple(entry.video)
    return Utterance(entry.id, stem, labels, entry.sample_rate, mixture, torch.stack(sources), video)


def read_channel(path: Path, *, sample_rate: int, time: int | None = None) -> Tensor:
    """Read a file of one channel, (time,) float32, that must be at a rate and, when given, of a length.

    Raises:
        SampleRateError, ShapeError: it is not.
    """
    samples = read_mono(path, sample_rate=sample_rate)
    if time is not None and len(samples) != time:
        raise ShapeError(
            f"{path} has {len(samples)} samples but its mixture has {time}; cut or pad it to the same length"
        )
    return torch.from_numpy(samples)
