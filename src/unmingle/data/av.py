"""Audio-visual batches: a mixture, the mouth of one of its speakers, and the voice of that speaker alone.

Item number k is a function of (seed, k), as in `unmingle.data.dynamic`, which makes the mixtures. Voices are cut on
video frames, so that lips and voice agree to the sample. Crops stay bytes until they reach the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unmingle.data.articulation import movement_of
from unmingle.data.batch import Batch
from unmingle.data.crops import FRAME_RATE, GRAY, Crops, crops_shape, frames_of, read_crops, require_length
from unmingle.data.dataset import ManifestDataset, WholeMixtures, read_entry, validation_settings
from unmingle.data.dynamic import DynamicMixing, Mixed
from unmingle.data.manifest import Entry
from unmingle.data.mouths import Look, draw_mouths
from unmingle.data.settings import DataSettings, VideoSettings
from unmingle.data.speech import list_videos
from unmingle.errors import ConfigError, ManifestError, ShapeError

Samples = NDArray[np.float32]

_STREAM = 0x4C697073  # keeps what is drawn for the lips apart from what is drawn for the mixture
_DRAWN = 0x44726177  # and for drawn mouths
_ORDER = 0x4F726465  # and the order of an epoch


class Item(NamedTuple):
    """What an audio-visual network learns from."""

    mixture: Samples  # (time,)
    source: Samples  # (time,) the voice of the face
    video: Crops  # (frames, crop, crop)


class LipMixing:
    """Dynamic mixing with faces: an endless source of batches, one target face per mixture."""

    def __init__(
        self,
        settings: DataSettings,
        *,
        rank: int = 0,
        world_size: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Decode the speech, or find it decoded, and the crops that belong to it.

        Args:
            settings: `speech` must be a speech manifest with `video`, unless mouths are drawn.
            rank: number of this process among `world_size` that train together.
            world_size: how many processes train together; each sees other mixtures.
            progress: called with (utterances done, utterances in all) while decoding.

        Raises:
            ConfigError: there is no speech, or too few speakers.
            ManifestError: a voice has no video, and none is to be drawn.
        """
        share = {"rank": rank, "world_size": world_size}
        films = list_videos(settings.speech or "", exclude_corpora=settings.exclude_corpora)
        self.settings = settings
        self.show = settings.video or VideoSettings()
        self.voices = DynamicMixing(settings, **share, progress=progress, grid=settings.frame, whole=films)
        self.films = [films.get(utterance.id) for utterance in self.voices.speech.utterances]
        if None in self.films and not self.show.draw:
            unseen = self.voices.speech.utterances[self.films.index(None)].id
            raise ManifestError(
                f"{settings.speech}: {unseen} has no `video`; an audio-visual network needs one per voice, or set "
                "data.video.draw=true"
            )

    def batch(self, step: int) -> Batch:
        """Batch of one step; the same for the same settings, rank and step, whatever was asked before."""
        size = self.settings.batch_size
        first = (step * self.voices.world_size + self.voices.rank) * size
        return stack([self.item(first + place, step=step) for place in range(size)])

    def item(self, number: int, *, step: int) -> Item:
        """One training item: the face is drawn among the speakers (or their turn), its crops are cut and mirrored."""
        rng = self._rng(number, _STREAM)
        n_src = self.settings.n_src
        number, target = divmod(number, n_src) if self.show.every_face else (number, int(rng.integers(n_src)))
        made = self.voices.mix(number, step=step)
        return Item(made.mixture, made.sources[target], augmented(rng, self.lips(made, target, number), self.show))

    def every_face(self, number: int) -> list[Item]:
        """The items of one mixture, a plain one for each of its speakers: for validation."""
        made = self.voices.mix(number, step=0)
        return [
            Item(made.mixture, source, centre(self.lips(made, target, number), self.show.crop))
            for target, source in enumerate(made.sources)
        ]

    def lips(self, made: Mixed, target: int, number: int) -> Crops:
        """Mouth crops of a speaker of a mixture, (frames, height, width): of the film, or drawn.

        Args:
            made: the mixture.
            target: which speaker.
            number: of the sample, which decides what is drawn.

        Raises:
            ShapeError: they are not as long as their sound.
        """
        place = made.places[target]
        path, rate = self.films[place.utterance], self.settings.sample_rate
        if path is None:
            rng = self._rng(number, _DRAWN + target)
            return draw_mouths(movement_of(made.sources[target], rate, rng), Look.of(rng), rng)
        n_samples = self.voices.speech.utterances[place.utterance].n_samples
        require_length(crops_shape(path)[0], n_samples=n_samples, sample_rate=rate, what=str(path))
        return read_crops(path, place.start // self.settings.frame, len(made.mixture) // self.settings.frame)

    def _rng(self, number: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, stream, number])


def stack(items: Sequence[Item], mixed_gender: Sequence[bool | None] = ()) -> Batch:
    """Items as a batch."""
    mixtures, sources, videos = zip(*items, strict=True)
    known = bool(mixed_gender) and None not in mixed_gender
    return Batch(
        mixture=torch.from_numpy(np.stack(mixtures)),
        sources=torch.from_numpy(np.stack(sources)).unsqueeze(1),
        mixed_gender=torch.tensor([bool(mixed) for mixed in mixed_gender]) if known else None,
        video=torch.from_numpy(np.stack(videos)),
    )


def centre(crops: Crops, side: int) -> Crops:
    """The middle of mouth crops, (frames, height, width) -> (frames, side, side), as a network is shown it in use.

    Raises:
        ShapeError: they are smaller than that.
    """
    return _cut(crops, side, [(size - side) // 2 for size in crops.shape[1:]])


def augmented(rng: np.random.Generator, crops: Crops, show: VideoSettings) -> Crops:
    """Crops as training shows them: cut at one random place, mirrored or not, the face lost for a while or not.

    Args:
        rng: where chance comes from.
        crops: (frames, height, width).
        show: how.

    Returns:
        (frames, crop, crop).
    """
    corner = [int(rng.integers(max(0, size - show.crop) + 1)) for size in crops.shape[1:]]
    shown = _cut(crops, show.crop, corner)
    if rng.random() < show.flip_share:
        shown = shown[..., ::-1]
    if rng.random() < show.lost_share:
        shown = _lost(rng, shown, rng.uniform(*show.lost_seconds))
    return np.ascontiguousarray(shown)


def _cut(crops: Crops, side: int, corner: Sequence[int]) -> Crops:
    if min(crops.shape[1:]) < side:
        raise ShapeError(f"mouth crops are {crops.shape[1:]} pixels but {side} x {side} are to be cut from them")
    top, left = corner
    return crops[:, top : top + side, left : left + side]


def _lost(rng: np.random.Generator, crops: Crops, seconds: float) -> Crops:
    """The crops without the face for a while: a frame that stands still, or level gray."""
    n_lost = min(len(crops), max(1, round(seconds * FRAME_RATE)))
    start = int(rng.integers(len(crops) - n_lost + 1))
    changed = crops.copy()
    changed[start : start + n_lost] = changed[max(0, start - 1)] if rng.random() < 0.5 else GRAY
    return changed


class SeenBatches:
    """Segments of fixed mixtures with their faces, shuffled anew every epoch; every face of a mixture is an item."""

    def __init__(self, dataset: ManifestDataset, settings: DataSettings, *, rank: int = 0, world_size: int = 1) -> None:
        """Divide a dataset of segments among the processes that train together.

        Raises:
            ManifestError: a mixture has no video.
            ConfigError: the mixtures do not fill a batch.
        """
        require_videos(dataset.entries)
        self.dataset, self.settings = dataset, settings
        self.show = settings.video or VideoSettings()
        self.rank, self.world_size = rank, world_size
        self.faces = [(number, face) for number, entry in enumerate(dataset.entries) for face in range(entry.n_src)]
        self.steps_per_epoch = len(self.faces) // (settings.batch_size * world_size)
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f"{len(self.faces)} faces do not fill one batch of {settings.batch_size} for each of {world_size} "
                "processes"
            )

    def batch(self, step: int) -> Batch:
        """Batch of one step; step `steps_per_epoch` is the first of the second epoch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.settings.seed, _ORDER, epoch]).permutation(len(self.faces))
        size = self.settings.batch_size
        first = (place * self.world_size + self.rank) * size
        return stack([self.item(int(number), epoch=epoch) for number in order[first : first + size]])

    def item(self, number: int, *, epoch: int) -> Item:
        """One face of one mixture, cut from another place in every epoch."""
        index, face = self.faces[number]
        mixture, sources = read_entry(self.dataset.entries[index], sample_rate=self.settings.sample_rate)
        rng = np.random.default_rng([self.settings.seed, _STREAM, epoch, number])
        n_frames = self.settings.segment // self.settings.frame
        frame = int(rng.integers((len(mixture) - self.settings.segment) // self.settings.frame + 1))
        start = frame * self.settings.frame
        stretch = slice(start, start + self.settings.segment)
        crops, rate = self.dataset.entries[index].video[face], self.settings.sample_rate
        require_length(crops_shape(crops)[0], n_samples=len(mixture), sample_rate=rate, what=str(crops))
        shown = augmented(rng, read_crops(crops, frame, n_frames), self.show)
        return Item(mixture[stretch], sources[face, stretch], shown)


class SeenMixtures(WholeMixtures):
    """The mixtures of a manifest, whole, each a batch with an item for every face of it: for validation."""

    def __init__(self, dataset: ManifestDataset, *, crop: int) -> None:
        """Show a dataset of whole files as batches.

        Raises:
            ManifestError: a mixture has no video.
        """
        require_videos(dataset.entries)
        super().__init__(dataset)
        self.crop = crop

    def read(self, index: int) -> Batch:
        """One mixture, repeated for each of its faces."""
        entry = self.dataset.entries[index]
        mixture, sources = self.dataset[index]
        rate = entry.sample_rate
        videos = [read_lips(path, len(mixture), sample_rate=rate, crop=self.crop) for path in entry.video]
        items = [Item(mixture, source, video) for source, video in zip(sources, videos, strict=True)]
        return stack(items, [self.is_mixed_gender(index)] * len(items))


def read_lips(path: Path, n_samples: int, *, sample_rate: int, crop: int) -> Crops:
    """The lips that go with a mixture as a network is shown them in use, (frames, crop, crop).

    Raises:
        MissingFileError, VideoReadError: there are no crops.
        ShapeError: they are shorter than the mixture, or too small.
    """
    require_length(crops_shape(path)[0], n_samples=n_samples, sample_rate=sample_rate, what=str(path))
    return centre(read_crops(path, 0, frames_of(n_samples, sample_rate)), crop)


def require_videos(entries: Sequence[Entry]) -> None:
    """Refuse a manifest in which a mixture does not show its speakers.

    Raises:
        ManifestError: the first of them.
    """
    for entry in entries:
        if not entry.video:
            raise ManifestError(f"mixture {entry.id} has no `video`; an audio-visual network needs one per source")


def made_up_faces(settings: DataSettings) -> list[Batch]:
    """`n_valid` clean mixtures of `valid_speech`, each once for each of its faces; the same whatever the recipe says.

    Raises:
        ConfigError: the speech has too few speakers.
        ManifestError: a voice has no video.
    """
    mixing = LipMixing(validation_settings(settings))
    batches: list[Batch] = []
    for number in range(settings.n_valid):
        faces = mixing.every_face(number)
        batches.append(stack(faces, [mixing.voices.is_mixed_gender(number)] * len(faces)))
    return batches
