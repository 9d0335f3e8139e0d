"""Fixed mixtures as batches, and the loader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unmingle.data.corpora import prepare
from unmingle.data.dataset import ManifestBatches, ManifestDataset
from unmingle.data.loader import training_batches, training_loader, validation_batches
from unmingle.data.manifest import read_manifest
from unmingle.data.settings import DataSettings, MixingSettings
from unmingle.errors import ConfigError, ManifestError, SampleRateError, ShapeError

RATE = 8000
Mixtures = Callable[..., Path]


@pytest.fixture
def manifest(mixtures: Mixtures, tmp_path: Path) -> Path:
    (prepared,) = prepare("lrs2-2mix", mixtures([f"n{n}_x" for n in range(7)]), tmp_path)
    return prepared.manifest


@pytest.fixture
def settings(manifest: Path) -> DataSettings:
    return DataSettings(sample_rate=RATE, segment_seconds=0.25, batch_size=2, manifest=str(manifest))


def test_segments_are_cut_alike_from_mixture_and_sources(manifest: Path) -> None:
    dataset = ManifestDataset(read_manifest(manifest), sample_rate=RATE, segment=1000)
    for index in range(len(dataset)):
        mixture, sources = dataset[index]
        assert mixture.shape == (1000,)
        np.testing.assert_allclose(sources.sum(0), mixture, atol=1e-6)
        np.testing.assert_array_equal(dataset[index][0], mixture)
        assert not np.array_equal(dataset.item(index, epoch=1)[0], mixture)


def test_whole_files_are_whole(manifest: Path) -> None:
    mixture, sources = ManifestDataset(read_manifest(manifest), sample_rate=RATE)[0]
    assert (mixture.shape, sources.shape) == ((RATE,), (2, RATE))


def test_shorter_mixtures_are_left_out(manifest: Path) -> None:
    with pytest.raises(ManifestError, match="none of the 7 mixtures has 9000 samples"):
        ManifestDataset(read_manifest(manifest), sample_rate=RATE, segment=9000)


def test_normalized_mixtures_have_no_mean_and_unit_deviation(manifest: Path) -> None:
    entries = read_manifest(manifest)
    mixture, sources = ManifestDataset(entries, sample_rate=RATE, normalize=True)[0]
    raw, _ = ManifestDataset(entries, sample_rate=RATE)[0]
    assert mixture.mean() == pytest.approx(0, abs=1e-5)
    assert mixture.std(ddof=1) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(sources.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(mixture, (raw - raw.mean()) / raw.std(ddof=1), atol=1e-5)


def test_another_rate_is_refused(manifest: Path) -> None:
    with pytest.raises(SampleRateError, match="at 8000 Hz, wanted 16000 Hz"):
        ManifestDataset(read_manifest(manifest), sample_rate=16_000)[0]


def test_files_of_different_lengths_are_refused(manifest: Path) -> None:
    import soundfile

    entries = read_manifest(manifest)
    soundfile.write(entries[0].sources[1], np.zeros(50), RATE)
    with pytest.raises(ShapeError, match="different lengths"):
        ManifestDataset(entries, sample_rate=RATE)[0]


def test_an_epoch_holds_every_mixture_once_in_another_order(settings: DataSettings) -> None:
    source = training_batches(replace(settings, segment_seconds=1.0, batch_size=1))
    assert isinstance(source, ManifestBatches)
    epochs = [[source.batch(7 * epoch + step).mixture.sum().item() for step in range(7)] for epoch in range(2)]
    assert len(set(epochs[0])) == 7
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]


def test_processes_share_out_an_epoch(settings: DataSettings) -> None:
    alone = training_batches(replace(settings, batch_size=4)).batch(0).mixture
    shares = [training_batches(settings, rank=rank, world_size=2).batch(0).mixture for rank in range(2)]
    torch.testing.assert_close(torch.cat(shares), alone, rtol=0, atol=0)


def test_too_few_mixtures_and_too_many_sources_are_errors(settings: DataSettings) -> None:
    with pytest.raises(ConfigError, match="7 mixtures do not fill one batch of 8"):
        training_batches(replace(settings, batch_size=8))
    with pytest.raises(ConfigError, match=r"2 sources, but data\.n_src is 3"):
        training_batches(replace(settings, n_src=3))
    with pytest.raises(ConfigError, match="nothing to train on"):
        training_batches(DataSettings())


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
@pytest.mark.parametrize("n_workers", [0, 1, 2])
def test_the_loader_gives_the_same_batches_from_any_number_of_processes(settings: DataSettings, n_workers: int) -> None:
    source = training_batches(settings)
    loaded = list(training_loader(source, start=2, stop=7, n_workers=n_workers))
    assert len(loaded) == 5
    for step, batch in enumerate(loaded, start=2):
        torch.testing.assert_close(batch.mixture, source.batch(step).mixture, rtol=0, atol=0)
        torch.testing.assert_close(batch.sources, source.batch(step).sources, rtol=0, atol=0)


def test_dynamic_mixing_passes_through_a_worker(speech: Path, tmp_path: Path) -> None:
    settings = DataSettings(
        sample_rate=RATE, segment_seconds=0.5, batch_size=2, speech=str(speech), cache_dir=str(tmp_path / "cache")
    )
    source = training_batches(settings)
    source.batch(0)
    loaded = list(training_loader(source, start=1, stop=3))
    torch.testing.assert_close(loaded[1].mixture, source.batch(2).mixture, rtol=0, atol=0)


def test_validation_takes_whole_mixtures_one_at_a_time(settings: DataSettings, manifest: Path) -> None:
    batches = validation_batches(replace(settings, valid_manifest=str(manifest)))
    assert batches is not None
    assert [batch.mixture.shape for batch in batches] == [(1, RATE)] * 7
    assert batches[0].mixed_gender is None
    with pytest.raises(IndexError):
        batches[7]


def test_validation_mixtures_are_made_up_the_same_way_every_time(speech: Path, tmp_path: Path) -> None:
    settings = DataSettings(
        sample_rate=RATE,
        batch_size=4,
        valid_speech=str(speech),
        n_valid=6,
        valid_seconds=0.5,
        cache_dir=str(tmp_path / "cache"),
    )
    first = validation_batches(settings)
    other = MixingSettings(noise_share=1.0, easy_steps=9, partial_share=1.0, level_db=(9.0, 9.0))
    second = validation_batches(replace(settings, seed=5, mixing=other))
    assert first is not None
    assert second is not None
    assert [batch.mixture.shape for batch in first] == [(4, 4000), (2, 4000)]
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.mixture, other.mixture, rtol=0, atol=0)
        torch.testing.assert_close(one.sources.sum(1), one.mixture, rtol=0, atol=1e-5)
        assert one.mixed_gender is not None
        assert one.mixed_gender.shape == one.mixture.shape[:1]


def test_nothing_to_validate_on_is_none() -> None:
    assert validation_batches(DataSettings()) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_src": 1}, "2 or more"),
        ({"batch_size": 0}, r"data\.batch_size is 0"),
        ({"n_workers": -1}, r"data\.n_workers is -1"),
        ({"segment_seconds": 1e-5}, "not even one sample"),
        ({"speech": "a", "manifest": "b"}, "keep one"),
    ],
)
def test_settings_without_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataSettings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"noise_share": 2.0}, {"speed": (1.1, 0.9)}, {"speed": (0.0, 1.0)}, {"octave_db": -1.0}, {"easy_steps": -5}],
)
def test_mixing_settings_without_sense_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        MixingSettings(**changes)  # type: ignore[arg-type]
