"""Mixtures with the face of one speaker, made while training or fixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from unmingle.data.av import LipMixing, SeenBatches, SeenMixtures, augmented, centre
from unmingle.data.crops import GRAY, write_crops
from unmingle.data.dataset import ManifestDataset
from unmingle.data.loader import training_batches, validation_batches
from unmingle.data.manifest import Entry, read_manifest, write_manifest
from unmingle.data.settings import DataSettings, MixingSettings, VideoSettings
from unmingle.errors import ConfigError, ManifestError, ShapeError

RATE = 8000
PLAIN = VideoSettings(crop=96, flip_share=0.0)  # as stored: 96 of 96 pixels


@pytest.fixture
def settings(talkers: Path) -> DataSettings:
    return DataSettings(
        sample_rate=RATE,
        segment_seconds=1.0,
        batch_size=3,
        speech=str(talkers),
        cache_dir=str(talkers.parent / "cache"),
        mixing=MixingSettings(noise_share=0.0, speed=(1.0, 1.0)),
        video=PLAIN,
    )


def test_a_batch_has_the_shapes_promised(settings: DataSettings) -> None:
    batch = training_batches(replace(settings, video=VideoSettings())).batch(0)
    assert batch.mixture.shape == (3, RATE)
    assert batch.sources.shape == (3, 1, RATE)
    assert batch.video is not None
    assert batch.video.shape == (3, 25, 88, 88)
    assert batch.video.dtype == torch.uint8


def test_a_batch_depends_on_its_step_alone(settings: DataSettings) -> None:
    settings = replace(settings, video=VideoSettings(lost_share=0.5))
    straight = [LipMixing(settings).batch(step) for step in range(3)]
    one = LipMixing(settings)
    for step in (2, 0, 1):
        for found, wanted in zip(one.batch(step), straight[step], strict=True):
            assert (found is None and wanted is None) or torch.equal(found, wanted)


def test_processes_that_train_together_share_out_the_same_items(settings: DataSettings) -> None:
    alone = LipMixing(replace(settings, batch_size=6)).batch(3)
    shares = [LipMixing(settings, rank=rank, world_size=2).batch(3) for rank in range(2)]
    assert torch.equal(torch.cat([share.video for share in shares]), alone.video)
    assert torch.equal(torch.cat([share.sources for share in shares]), alone.sources)


def test_the_lips_are_those_of_the_voice_and_in_step_with_it(settings: DataSettings) -> None:
    mixing = LipMixing(settings)
    began = set()
    for number in range(20):
        made = mixing.voices.mix(number, step=0)
        item = mixing.item(number, step=0)
        target = next(k for k, source in enumerate(made.sources) if np.array_equal(source, item.source))
        place = made.places[target]
        utterance = mixing.voices.speech.utterances[place.utterance]
        assert item.video[0, 5, 0] == ord(utterance.speaker[0])
        frame = place.start // (RATE // 25)
        assert place.start == frame * RATE // 25
        assert item.video[:, 5, 5].tolist() == [frame + k for k in range(25)]
        heard = mixing.voices.speech.read(place.utterance, place.start, RATE)
        scale = np.dot(heard - heard.mean(), item.source) / np.dot(item.source, item.source)
        np.testing.assert_allclose(item.source * scale, heard - heard.mean(), atol=1e-4)
        began.add(frame)
    assert len(began) > 5


def test_every_speaker_of_a_mixture_may_have_a_turn(settings: DataSettings) -> None:
    batch = LipMixing(replace(settings, batch_size=4, video=replace(PLAIN, every_face=True))).batch(1)
    for first in (0, 2):
        assert torch.equal(batch.mixture[first], batch.mixture[first + 1])
        both = batch.sources[first : first + 2].sum(0)[0]
        torch.testing.assert_close(both, batch.mixture[first], rtol=0, atol=1e-5)
        assert batch.video[first, 0, 5, 0] != batch.video[first + 1, 0, 5, 0]
    assert not torch.equal(batch.mixture[0], batch.mixture[2])


def test_a_voice_shorter_than_the_segment_has_lips_that_stand_still_around_it(settings: DataSettings) -> None:
    mixing = LipMixing(replace(settings, segment_seconds=2.0))
    for number in range(10):
        item = mixing.item(number, step=0)
        moving = np.flatnonzero(np.diff(item.video[:, 5, 5].astype(int)))
        heard = np.flatnonzero(np.abs(item.source - item.source[0]) > 1e-6)
        if len(moving) < 49:  # the utterance has fewer than 50 frames
            assert abs(int(heard[0]) // 320 - moving[0]) <= 1
    assert item.video.shape[0] == 50


def test_levels_may_stay_as_they_were_recorded(settings: DataSettings) -> None:
    made = LipMixing(replace(settings, mixing=replace(settings.mixing, level_db=None))).voices.mix(0, step=0)
    store = LipMixing(settings).voices.speech
    recorded = [store.read(place.utterance, place.start, RATE) for place in made.places]
    ratio = [np.std(heard) / np.std(source) for heard, source in zip(recorded, made.sources, strict=True)]
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-5)


def test_mouths_are_drawn_for_voices_without_a_film(settings: DataSettings, speech: Path) -> None:
    show = replace(PLAIN, draw=True)
    mixing = LipMixing(replace(settings, speech=str(speech), video=show, segment_seconds=2.0))
    items = [mixing.item(number, step=0) for number in range(6)]
    agreement = []
    for number, item in enumerate(items):
        assert np.array_equal(item.video, mixing.item(number, step=0).video)
        level = np.square(item.source).reshape(50, -1).mean(1)
        mouth = item.video[:, 32:68, 26:70].astype(float)
        shown = (np.abs(mouth - np.median(item.video)) > 0.3 * np.median(item.video)).sum((1, 2))
        agreement.append(np.corrcoef(level, shown)[0, 1])
    assert np.mean(agreement) > 0.3
    assert len({int(item.video.mean()) for item in items}) > 3  # another look each time
    filmed = LipMixing(replace(settings, video=show)).item(0, step=0)
    assert np.array_equal(filmed.video, LipMixing(settings).item(0, step=0).video)


def test_only_drawn_lips_begin_late_or_end_early(settings: DataSettings, speech: Path) -> None:
    mixing = replace(settings.mixing, partial_share=1.0, partial_silence=0.6)

    def silent(path: str) -> float:
        lips = LipMixing(replace(settings, speech=path, video=replace(PLAIN, draw=True), mixing=mixing))
        return float(np.mean([np.mean(lips.item(number, step=0).source == 0) for number in range(8)]))

    assert silent(str(speech)) > 0.1
    assert silent(str(settings.speech)) < 0.01


def test_a_crop_is_cut_once_per_item_and_mirrored_at_times() -> None:
    picture = np.arange(96 * 96).reshape(96, 96) % 251
    crops = np.repeat(picture[None].astype(np.uint8), 4, axis=0)
    corners, mirrored = set(), 0
    for number in range(60):
        shown = augmented(np.random.default_rng(number), crops, VideoSettings())
        assert shown.shape == (4, 88, 88)
        assert (shown == shown[0]).all()
        where = [
            (top, left, flip)
            for top in range(9)
            for left in range(9)
            for flip in (False, True)
            if np.array_equal(shown[0], crops[0, top : top + 88, left : left + 88][:, :: -1 if flip else 1])
        ]
        assert len(where) == 1
        corners.add(where[0][:2])
        mirrored += where[0][2]
    assert {top for top, _ in corners} == {left for _, left in corners} == set(range(9))
    assert 15 < mirrored < 45


def test_a_lost_face_stands_still_or_is_level_gray() -> None:
    crops = np.repeat(np.arange(1, 51, dtype=np.uint8), 96 * 96).reshape(50, 96, 96)
    show = VideoSettings(crop=96, flip_share=0, lost_share=1.0, lost_seconds=(0.2, 1.0))
    kinds = set()
    for number in range(40):
        changed = np.flatnonzero((shown := augmented(np.random.default_rng(number), crops, show)) != crops) // 96**2
        lost = np.unique(changed)
        assert 4 <= len(lost) <= 25
        assert np.array_equal(lost, np.arange(lost[0], lost[-1] + 1))
        level = shown[lost[0], 0, 0]
        assert (shown[lost] == level).all()
        kinds.add("gray" if level == GRAY else "still")
        assert level in (GRAY, lost[0], lost[-1] + 2)  # the frame before has the level of its number
    assert kinds == {"gray", "still"}
    assert np.array_equal(augmented(np.random.default_rng(0), crops, replace(show, lost_share=0.0)), crops)


def test_what_is_cut_must_be_there() -> None:
    with pytest.raises(ShapeError, match="96 x 96 are to be cut"):
        centre(np.zeros((1, 88, 88), np.uint8), 96)


def test_validation_shows_every_face_of_the_same_mixtures(settings: DataSettings) -> None:
    settings = replace(settings, valid_speech=settings.speech, n_valid=3, valid_seconds=1.0)
    batches = validation_batches(settings)
    again = validation_batches(replace(settings, seed=5, mixing=replace(settings.mixing, level_db=None)))
    assert batches is not None
    assert again is not None
    assert len(batches) == 3
    for batch, other in zip(batches, again, strict=True):
        assert torch.equal(batch.mixture[0], batch.mixture[1])
        torch.testing.assert_close(batch.sources.sum(0)[0], batch.mixture[0], rtol=0, atol=1e-5)
        assert batch.video[0, 0, 5, 0] != batch.video[1, 0, 5, 0]
        assert torch.equal(batch.video, other.video)
        assert batch.mixed_gender is not None


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two mixtures of 1.4 and 0.6 s."""
    entries = []
    for number, frames in enumerate((35, 15)):
        rng = np.random.default_rng(number)
        sources = rng.normal(size=(2, frames * 320)) * 0.1
        for name, samples in zip(("mix", "s1", "s2"), (sources.sum(0), *sources), strict=True):
            soundfile.write(tmp_path / f"{name}{number}.wav", samples, RATE, subtype="FLOAT")
        for face in (1, 2):
            levels = np.arange(frames, dtype=np.uint8) + 100 * (face - 1)
            write_crops(tmp_path / f"v{face}{number}.npy", np.repeat(levels, 96 * 96).reshape(-1, 96, 96))
        files = {
            name: tuple(tmp_path / f"{letter}{k}{number}{end}" for k in (1, 2))
            for name, letter, end in (("sources", "s", ".wav"), ("video", "v", ".npy"))
        }
        entries.append(Entry(f"m{number}", RATE, tmp_path / f"mix{number}.wav", extra={"pair": "MF"}, **files))
    write_manifest(tmp_path / "mixtures.jsonl", entries)
    return tmp_path / "mixtures.jsonl"


def test_fixed_mixtures_are_cut_on_frames_with_each_of_their_faces(settings: DataSettings, manifest: Path) -> None:
    settings = replace(settings, speech=None, manifest=str(manifest), batch_size=2)
    batches = training_batches(settings)
    assert isinstance(batches, SeenBatches)
    assert batches.steps_per_epoch == 1  # the second mixture is shorter than a segment
    entry = read_manifest(manifest)[0]
    whole = [soundfile.read(path, dtype="float32")[0] for path in entry.sources]
    starts = set()
    for epoch in range(6):
        batch = batches.batch(epoch)
        assert sorted(int(level) // 100 for level in batch.video[:, 0, 0, 0]) == [0, 1]
        for source, video in zip(batch.sources[:, 0], batch.video, strict=True):
            face, frame = divmod(int(video[0, 0, 0]), 100)
            assert video[:, 0, 0].tolist() == [100 * face + frame + k for k in range(25)]
            assert np.array_equal(source, whole[face][frame * 320 : frame * 320 + RATE])
            starts.add(frame)
    assert len(starts) > 3


def test_fixed_mixtures_are_validated_whole(settings: DataSettings, manifest: Path) -> None:
    settings = replace(settings, valid_manifest=str(manifest), video=VideoSettings())
    batches = validation_batches(settings)
    assert isinstance(batches, SeenMixtures)
    assert batches[1].mixture.shape == (2, 15 * 320)
    assert batches[1].video.shape == (2, 15, 88, 88)
    assert batches[1].mixed_gender.tolist() == [True, True]
    assert len(batches[:]) == 2


def test_voices_without_faces_are_named(settings: DataSettings, speech: Path, manifest: Path) -> None:
    for unseen in (speech, speech.parent / "speech"):
        with pytest.raises(ManifestError, match=r"has no `video`.*data\.video\.draw=true"):
            LipMixing(replace(settings, speech=str(unseen)))
    entries = [replace(entry, video=()) for entry in read_manifest(manifest)]
    with pytest.raises(ManifestError, match="mixture m0 has no `video`"):
        SeenMixtures(ManifestDataset(entries, sample_rate=RATE), crop=88)


def test_lips_that_do_not_fit_their_voice_are_refused(settings: DataSettings, talkers: Path) -> None:
    for path in (talkers.parent / "lips").iterdir():
        write_crops(path, np.zeros((20, 96, 96), np.uint8))
    with pytest.raises(ShapeError, match=r"has 20 frames \(0.80 s\)"):
        LipMixing(settings).batch(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mixing": MixingSettings()}, "lips keep their pace"),
        ({"segment_seconds": 1.01}, "whole number of video frames"),
        ({"normalize": True}, "leave it out"),
    ],
)
def test_settings_that_would_part_lips_and_voice_are_refused(
    settings: DataSettings, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(settings, **change)
