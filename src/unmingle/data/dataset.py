"""Fixed mixtures: segments to train on, whole files or made-up mixtures to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from torch.utils.data import Dataset

from unmingle.audio.io import count_frames, read_mono
from unmingle.data.batch import Batch, Samples, batch_of
from unmingle.data.dynamic import DynamicMixing
from unmingle.data.manifest import Entry
from unmingle.data.settings import DataSettings, MixingSettings
from unmingle.errors import ConfigError, ManifestError, ShapeError

_PERMUTATIONS = 0x5065726D  # keeps the order of an epoch apart from the cuts in it

_VALIDATION_SEED = 7


class ManifestDataset(Dataset[tuple[Samples, Samples]]):
    """The mixtures of a manifest, whole or a segment of each: mixture (time,) and sources (n_src, time), float32.

    Args:
        entries: what `read_manifest` gave.
        sample_rate: Hz that the files must have.
        segment: samples per item; None: whole files. Mixtures that are shorter are left out.
        normalize: mixture and sources minus their own mean, divided by the mixture's deviation.
        seed: of where segments begin.

    Raises:
        ManifestError: no mixture is as long as the segment.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        sample_rate: int,
        segment: int | None = None,
        normalize: bool = False,
        seed: int = 0,
    ) -> None:
        self.entries = list(entries) if segment is None else [each for each in entries if _length(each) >= segment]
        if not self.entries:
            raise ManifestError(f"none of the {len(entries)} mixtures has {segment} samples; use shorter segments")
        self.sample_rate = sample_rate
        self.segment = segment
        self.normalize = normalize
        self.seed = seed

    def __len__(self) -> int:
        """Number of mixtures that are long enough."""
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Samples, Samples]:
        """Mixture and sources; a segment from the same place at every call."""
        return self.item(index, epoch=0)

    def item(self, index: int, *, epoch: int) -> tuple[Samples, Samples]:
        """As indexing, with another cut in every epoch."""
        mixture, sources = read_entry(self.entries[index], sample_rate=self.sample_rate)
        if self.segment is not None:
            spare = len(mixture) - self.segment
            if spare < 0:
                raise ShapeError(
                    f"{self.entries[index].mixture} has {len(mixture)} samples, but its list says more, and segments "
                    f"of {self.segment} are wanted; mend the list (`unmingle data check` finds all such lines)"
                )
            start = int(np.random.default_rng([self.seed, epoch, index]).integers(spare + 1))
            mixture, sources = mixture[start : start + self.segment], sources[:, start : start + self.segment]
        return _normalized(mixture, sources) if self.normalize else (mixture, sources)


def read_entry(entry: Entry, *, sample_rate: int) -> tuple[Samples, Samples]:
    """The mixture (time,) and sources (n_src, time) of an entry.

    Raises:
        SampleRateError: a file is at another rate.
        ShapeError: a file has several channels, or another length than the mixture.
    """
    signals = [read_mono(path, sample_rate=sample_rate) for path in (entry.mixture, *entry.sources)]
    lengths = {len(signal) for signal in signals}
    if len(lengths) > 1:
        raise ShapeError(f"mixture {entry.id}: its files have different lengths, {sorted(lengths)} samples")
    return signals[0], np.stack(signals[1:])


def _length(entry: Entry) -> int:
    known = entry.extra.get("samples")
    return known if isinstance(known, int) else count_frames(entry.mixture)


def _normalized(mixture: Samples, sources: Samples) -> tuple[Samples, Samples]:
    deviation = np.float32(mixture.std(ddof=1) + 1e-8)
    return (mixture - mixture.mean()) / deviation, (sources - sources.mean(-1, keepdims=True)) / deviation


class ManifestBatches:
    """Segments of fixed mixtures, shuffled anew every epoch, as an endless source of batches; see `BatchSource`.

    The last incomplete batch of an epoch is dropped.
    """

    def __init__(
        self, dataset: ManifestDataset, *, batch_size: int, n_src: int, rank: int = 0, world_size: int = 1
    ) -> None:
        """Divide a dataset of segments among the processes that train together."""
        self.dataset = dataset
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.steps_per_epoch = len(dataset) // (batch_size * world_size)
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f"{len(dataset)} mixtures do not fill one batch of {batch_size} for each of {world_size} processes"
            )
        for entry in dataset.entries:
            if entry.n_src != n_src:
                raise ConfigError(f"mixture {entry.id} has {entry.n_src} sources, but data.n_src is {n_src}")

    def batch(self, step: int) -> Batch:
        """Batch of one step; step `steps_per_epoch` is the first of the second epoch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.dataset.seed, _PERMUTATIONS, epoch]).permutation(len(self.dataset))
        first = (place * self.world_size + self.rank) * self.batch_size
        chosen = order[first : first + self.batch_size]
        return batch_of([self.dataset.item(int(index), epoch=epoch) for index in chosen])


class WholeMixtures(Sequence[Batch]):
    """The mixtures of a manifest, whole, each a batch of its own."""

    def __init__(self, dataset: ManifestDataset) -> None:
        """Show a dataset of whole files as batches."""
        self.dataset = dataset

    def __len__(self) -> int:
        """Number of mixtures."""
        return len(self.dataset)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        """One mixture, (1, time) and (1, n_src, time)."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.read(index)

    def read(self, index: int) -> Batch:
        """The batch of one mixture."""
        return batch_of([self.dataset[index]], [self.is_mixed_gender(index)])

    def is_mixed_gender(self, index: int) -> bool | None:
        """Whether the speakers of a mixture are of two genders; None when the manifest does not say."""
        pair = self.dataset.entries[index].extra.get("pair")
        return len(set(pair)) > 1 if isinstance(pair, str) else None


def validation_settings(settings: DataSettings) -> DataSettings:
    """The mixing of `valid_speech`: clean, at natural speed, about half of the pairs of two genders, one seed for all.

    The same whatever the recipe's own seed and mixing, so that runs can be compared.
    """
    return replace(
        settings,
        speech=settings.valid_speech,
        manifest=None,
        noise=None,
        seed=_VALIDATION_SEED,
        segment_seconds=settings.valid_seconds,
        mixing=MixingSettings(speed=(1.0, 1.0), noise_share=0.0, mixed_gender_share=0.5),
    )


def made_up_mixtures(settings: DataSettings) -> list[Batch]:
    """`n_valid` mixtures of `valid_speech`; see `validation_settings`.

    Raises:
        ConfigError: the speech has too few speakers.
    """
    mixing = DynamicMixing(validation_settings(settings))
    numbers = range(settings.n_valid)
    items = [mixing.sample(number, step=0) for number in numbers]
    mixed = [mixing.is_mixed_gender(number) for number in numbers]
    size = settings.batch_size
    return [batch_of(items[at : at + size], mixed[at : at + size]) for at in range(0, len(items), size)]
