"""Two voices at once with the lips of both, as LRS2-2Mix and its relatives are made.

    OUT/tr/mix/A_x_B_-x.wav  OUT/tr/s1/...  OUT/tr/s2/...    and cv, tt: 2 s, 16 kHz
    OUT/tr.jsonl             the mixtures of a split
    OUT/tr-voices.jsonl      the sources of the training mixtures one by one, for dynamic mixing

Clip A is brought to x dB and clip B to -x dB over the same level, with x between 0 and 5, so that A is 2x dB louder;
then mixture and sources together to a peak of 0.9.
Source: the mixture lists of CTCNet's public code, and measurements on the published mixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmingle.audio.io import read_audio
from unmingle.data.corpora.films import SAMPLE_RATE, Film, FilmSettings, prepare_films
from unmingle.data.files import write_wav16
from unmingle.data.manifest import Entry, write_manifest
from unmingle.data.voices import write_voices
from unmingle.errors import ConfigError, ManifestError, MissingFileError
from unmingle.simulation.mixing import at_level, on_int16_grid

SECONDS = 2.0
SPLITS = {"tr": "train", "cv": "val", "tt": "test"}  # and what else they are called
_PEAK = 0.9
_LARGEST_DB = 5.0
_SEED = 0x32586D69
Films = Mapping[str, Sequence[Film]]


@dataclass(frozen=True)
class Pair:
    """Two clips and how loud they are, dB."""

    clips: tuple[str, str]
    levels: tuple[float, float]

    @property
    def name(self) -> str:
        """Of the mixture's files, as published."""
        return "_".join(f"{clip}_{level:g}" for clip, level in zip(self.clips, self.levels, strict=True))


@dataclass(frozen=True)
class FilmCorpus:
    """A corpus of films that mixtures are made of.

    Attributes:
        films: finds the films of each split (`tr`, `cv`, `tt`) in the folder of the corpus.
        n_mixtures: of each split, as published.
        id_parts: how many parts of a clip's path name it in the published lists.
    """

    films: Callable[[Path], Films]
    n_mixtures: Mapping[str, int]
    id_parts: int = 2


@dataclass(frozen=True)
class FilmOptions:
    """What only corpora of films want to know.

    Attributes:
        lists: folder of mixture lists; None: mixtures are drawn.
        crops: folder of mouth crops that are there already; see `FilmSettings`.
        landmarks: folder of landmarks that are there already; likewise.
        n_mixtures: of each split, when they are drawn; None: as many as published.
        n_workers: processes that look for faces.
        progress: called with (films done, films in all).
    """

    lists: Path | None = None
    crops: Path | None = None
    landmarks: Path | None = None
    n_mixtures: int | None = None
    n_workers: int = 1
    progress: Callable[[int, int], None] | None = None


def prepare_pairs(
    corpus: FilmCorpus, root: Path, settings: FilmSettings, options: FilmOptions, *, overwrite: bool = False
) -> dict[Path, int]:
    """Prepare the films that mixtures want, make the mixtures, and write a manifest per split. Goes on after a stop.

    Args:
        corpus: which.
        root: its folder.
        settings: where to, and where crops or landmarks lie if they are there.
        options: which mixtures, and how the work is done.
        overwrite: replace manifests that are there and hold something else.

    Returns:
        manifests and their numbers of lines.

    Raises:
        MissingFileError: a folder or list is not there.
        ManifestError: the folder is not laid out as the corpus is published, or a list cannot be used.
        OutputExistsError: another manifest is there, and `overwrite` was not asked for.
    """
    if not root.is_dir():
        raise MissingFileError(f"there is no folder {root}")
    splits = corpus.films(root)
    films = {film.id: film for split in splits.values() for film in split}
    written: dict[Path, int] = {}
    for split in SPLITS:
        pairs = _pairs(corpus, splits, split, options)
        usable = _ready(pairs, films, root, settings, options)
        kept = [pair for pair in pairs if all(clip in usable for clip in pair.clips)]
        entries = [write_pair(pair, usable, settings, split) for pair in kept]
        manifest = settings.out_dir / f"{split}.jsonl"
        write_manifest(manifest, entries, overwrite=overwrite)
        written[manifest] = len(entries)
        if split == "tr":
            voices = settings.out_dir / "tr-voices.jsonl"
            written[voices] = write_voices(voices, _voices(kept, entries), overwrite=overwrite)
    return written


def _pairs(corpus: FilmCorpus, splits: Films, split: str, options: FilmOptions) -> list[Pair]:
    if options.lists is not None:
        return read_pairs(_list_of(options.lists, split), id_parts=corpus.id_parts)
    return draw_pairs(splits[split], options.n_mixtures or corpus.n_mixtures[split], split=split)


def _ready(
    pairs: Sequence[Pair], films: Mapping[str, Film], root: Path, settings: FilmSettings, options: FilmOptions
) -> dict[str, Film]:
    """The films of the pairs that can be used, prepared, by id."""
    wanted = dict.fromkeys(clip for pair in pairs for clip in pair.clips)
    if unknown := [clip for clip in wanted if clip not in films]:
        raise ManifestError(f"{len(unknown)} clips of a mixture list are not in {root}; one is {unknown[0]}")
    chosen = [films[clip] for clip in wanted]
    ready = prepare_films(chosen, settings, n_workers=options.n_workers, progress=options.progress)
    return {film.id: film for film in ready}


def draw_pairs(films: Sequence[Film], n: int, *, split: str) -> list[Pair]:
    """`n` pairs of different speakers; the same for the same films.

    Raises:
        ManifestError: there are not two speakers.
    """
    if len({film.speaker for film in films}) < 2:
        raise ManifestError(f"{len(films)} films for {split}, of fewer than two speakers; there is nobody to mix")
    rng = np.random.default_rng([_SEED, *split.encode()])
    pairs: list[Pair] = []
    while len(pairs) < n:
        first, second = (films[int(rng.integers(len(films)))] for _ in range(2))
        if first.speaker != second.speaker:
            level = round(float(rng.uniform(0, _LARGEST_DB)), 4)
            pairs.append(Pair((first.id, second.id), (level, -level)))
    return pairs


def read_pairs(path: Path, *, id_parts: int) -> list[Pair]:
    """The pairs of a published list: lines `clip x clip -x`, clips as paths.

    Raises:
        ManifestError: a line is something else; the message gives its number.
    """
    pairs: list[Pair] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            first, level, second, other = words
            clips = clip_id(first, id_parts), clip_id(second, id_parts)
            pairs.append(Pair(clips, (float(level), float(other))))
        except ValueError as error:
            raise ManifestError(f"{path}, line {number}: wanted `clip dB clip dB`, got {line[:80]!r}") from error
    if not pairs:
        raise ManifestError(f"{path} lists no mixtures")
    return pairs


def clip_id(place: str, parts: int) -> str:
    """What a clip is called in names of mixtures: the last parts of its path, joined by underscores."""
    return "_".join(Path(place).with_suffix("").parts[-parts:])


def _list_of(folder: Path, split: str) -> Path:
    named = (split, SPLITS[split])
    found = [path for path in sorted(folder.glob("*.txt")) if any(path.stem.endswith(name) for name in named)]
    if len(found) != 1:
        raise MissingFileError(
            f"{folder} holds {len(found)} lists for {split}; wanted one, called *{split}.txt or *{SPLITS[split]}.txt"
        )
    return found[0]


def write_pair(pair: Pair, films: Mapping[str, Film], settings: FilmSettings, split: str) -> Entry:
    """Write the files of a mixture, unless they are written, and describe it."""
    chosen = [films[clip] for clip in pair.clips]
    names = ("mix", "s1", "s2")
    paths = [settings.out_dir.resolve() / split / name / f"{pair.name}.wav" for name in names]
    if not all(path.is_file() for path in paths):
        voices = [read_audio(settings.sound_of(film)).samples[0] for film in chosen]
        sources = [at_level(voice, level) for voice, level in zip(voices, pair.levels, strict=True)]
        loudest = max(float(np.abs(signal).max()) for signal in (*sources, sum(sources)))
        rounded = [on_int16_grid(source * (_PEAK / max(loudest, 1e-9))) for source in sources]
        for path, samples in zip(paths, (rounded[0] + rounded[1], *rounded), strict=True):
            write_wav16(path, samples, SAMPLE_RATE)
    return Entry(
        id=pair.name,
        sample_rate=SAMPLE_RATE,
        mixture=paths[0],
        sources=tuple(paths[1:]),
        video=tuple(settings.lips_of(film).resolve() for film in chosen),
        speakers=tuple(film.speaker for film in chosen),
        extra={"samples": round(SECONDS * SAMPLE_RATE)},
    )


def _voices(pairs: Sequence[Pair], entries: Sequence[Entry]) -> Iterator[dict[str, object]]:
    """Every source by itself. Its clip stands for the speaker: what the published training does not mix with itself."""
    for pair, entry in zip(pairs, entries, strict=True):
        for clip, source, video in zip(pair.clips, entry.sources, entry.video, strict=True):
            yield {"path": source, "speaker": clip, "video": video, "seconds": SECONDS}


def held_out(films: Sequence[Film], share: float) -> tuple[list[Film], list[Film]]:
    """Films divided by speaker: those to train on, and about a share of the speakers to validate on.

    Raises:
        ConfigError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of {share} cannot be held out; give one between 0 and 1")
    speakers = sorted({film.speaker for film in films})
    order = np.random.default_rng(_SEED).permutation(len(speakers))
    kept_back = {speakers[number] for number in order[: max(2, round(share * len(speakers)))]}
    train = [film for film in films if film.speaker not in kept_back]
    return train, [film for film in films if film.speaker in kept_back]
