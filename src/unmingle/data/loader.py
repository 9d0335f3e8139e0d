"""From settings to batches: which source of batches a recipe asks for, and the worker process that makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from unmingle.data.av import LipMixing, SeenBatches, SeenMixtures, made_up_faces
from unmingle.data.batch import Batch, BatchSource
from unmingle.data.dataset import ManifestBatches, ManifestDataset, WholeMixtures, made_up_mixtures
from unmingle.data.dynamic import DynamicMixing
from unmingle.data.manifest import read_manifest
from unmingle.data.settings import DataSettings
from unmingle.errors import ConfigError

# Batches wait in a queue this long; enough to ride over a garbage collection or a validation, little memory.
PREFETCH = 8
NICENESS = 5


class _Steps(IterableDataset[Batch]):
    """Batches start, start + 1, ...; with several workers each makes every n-th, and the loader restores the order."""

    def __init__(self, source: BatchSource, start: int, stop: int | None) -> None:
        self.source = source
        self.start = start
        self.stop = stop

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        step, stride = (self.start, 1) if worker is None else (self.start + worker.id, worker.num_workers)
        while self.stop is None or step < self.stop:
            yield self.source.batch(step)
            step += stride


def _lower_priority(_worker: int) -> None:
    # The training process needs the cores more: made in a thread of it, batches cost a third of its speed.
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # Ctrl-C and a kill of the whole group are for the training process: it ends its step, saves, and ends its workers.
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    torch.set_num_threads(1)


def training_loader(
    source: BatchSource, *, start: int = 0, stop: int | None = None, n_workers: int = 1
) -> DataLoader[Batch]:
    """Batches `start`, `start + 1`, ... of a source, in order, made ahead of time in worker processes.

    Args:
        source: where batches come from; see `training_batches`.
        start: the first step. A resumed run passes the number of steps it has done and sees what it would have seen.
        stop: the step to end before; None: never end.
        n_workers: worker processes; 0 makes batches in this process. The batches are the same for any number.
    Returns:
        a loader of `Batch`.
    """
    return DataLoader(
        _Steps(source, start, stop),
        batch_size=None,
        num_workers=n_workers,
        prefetch_factor=PREFETCH if n_workers else None,
        worker_init_fn=_lower_priority if n_workers else None,
    )


def training_batches(
    settings: DataSettings,
    *,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> BatchSource:
    """The batches a recipe trains on: dynamic mixing of `speech`, or segments of the fixed mixtures in `manifest`.

    Args:
        settings: the `data` part of a recipe.
        rank: number of this process among `world_size` that train together; each sees other mixtures.
        world_size: how many processes train together.
        progress: called with (utterances done, utterances in all) while speech is decoded for the first time.

    Raises:
        ConfigError: neither `speech` nor `manifest` is set, or nothing usable is found there.
    """
    share = {"rank": rank, "world_size": world_size}
    if settings.speech:
        mixing = LipMixing if settings.video else DynamicMixing
        return mixing(settings, rank=rank, world_size=world_size, progress=progress)
    if not settings.manifest:
        raise ConfigError("nothing to train on: set data.speech (dynamic mixing) or data.manifest (fixed mixtures)")
    dataset = ManifestDataset(
        read_manifest(settings.manifest, sample_rate=settings.sample_rate),
        sample_rate=settings.sample_rate,
        segment=settings.segment,
        normalize=settings.normalize,
        seed=settings.seed,
    )
    if settings.video:
        return SeenBatches(dataset, settings, **share)
    return ManifestBatches(dataset, batch_size=settings.batch_size, n_src=settings.n_src, **share)


def validation_batches(settings: DataSettings) -> Sequence[Batch] | None:
    """What a recipe validates on, or None when it names nothing.

    `len()` and indexing give `Batch`es: whole files one at a time for `valid_manifest`, batches of equal segments for
    `valid_speech`. The same batches at every call, whatever else the recipe says.

    Raises:
        ManifestError, ConfigError: what is named cannot be used.
    """
    if settings.valid_manifest:
        entries = read_manifest(settings.valid_manifest, sample_rate=settings.sample_rate)
        dataset = ManifestDataset(entries, sample_rate=settings.sample_rate, normalize=settings.normalize)
        return SeenMixtures(dataset, crop=settings.video.crop) if settings.video else WholeMixtures(dataset)
    if not settings.valid_speech:
        return None
    return made_up_faces(settings) if settings.video else made_up_mixtures(settings)
