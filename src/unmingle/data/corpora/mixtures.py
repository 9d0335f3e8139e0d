"""Corpora of mixtures as they are published: Libri2Mix, WHAM!, WHAMR!, LRS2-2Mix, and any other laid out like them.

    .../train-100/mix_clean/NAME.wav  .../train-100/s1/NAME.wav  .../train-100/s2/NAME.wav  [.../noise/NAME.wav]

A folder with `s1` and `s2` and the mixture folder is a split; all splits under the corpus folder are found. Where the
mixtures are called after their rooms (`mix_both_reverb`), so are the sources (`s1_reverb`). Folders of
the papers' index lists (`mix_clean.json`, `s1.json`, ...) are splits, too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unmingle.audio.io import probe
from unmingle.data.index import read_index
from unmingle.data.manifest import Entry, write_manifest
from unmingle.data.speech import is_audio
from unmingle.errors import ConfigError, ManifestError, MissingFileError

SpeakersOf = Callable[[str], tuple[str, ...]]

_ONE_VOICE = "mix_single"  # in WHAM!, WHAMR! and LibriMix: the first voice and noise
_WITHOUT_NOISE = frozenset({"mix", "mix_clean", "mix_clean_reverb", "mix_clean_anechoic"})
_ROOMS = ("_reverb", "_anechoic")


def prepare_mixtures(
    root: Path,
    out_dir: Path,
    mixture: str | None,
    overwrite: bool,
    *,
    default_mixture: str,
    speakers_of: SpeakersOf | None,
) -> dict[Path, int]:
    """One manifest of mixtures per split under a folder.

    Args:
        root: folder of the corpus, or of one split.
        out_dir: where the manifests shall lie; `wav8k/min/tt` becomes `wav8k-min-tt.jsonl`.
        mixture: name of the folder of the mixtures; None: the one that the published models were scored on.
        overwrite: replace manifests that are there and hold something else.
        default_mixture: that one.
        speakers_of: the speakers' names from a file's stem; None: the names do not tell.

    Raises:
        ConfigError: mixtures of one voice.
        MissingFileError: there is no such folder.
        ManifestError: it holds no split, or the folders of a split do not match.
    """
    if not root.is_dir():
        raise MissingFileError(f"there is no folder {root}")
    name = mixture or default_mixture
    if name.startswith(_ONE_VOICE):
        raise ConfigError(f"{name} holds one voice and noise, nothing to separate; choose mix_both or mix_clean")
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    first = _source_folder(1, name)
    splits = [folder for folder in folders if (folder / name).is_dir() and (folder / first).is_dir()]
    lists = [folder for folder in folders if (folder / f"{name}.json").is_file() and (folder / "s1.json").is_file()]
    if not splits and not lists:
        raise ManifestError(f"no folder under {root} holds {name!r} beside {first!r} (name the mixture folder)")
    written: dict[Path, int] = {}
    for split in [*splits, *lists]:
        entries = _entries(split, name, speakers_of) if split in splits else read_index(split / f"{name}.json")
        manifest = out_dir / f"{'-'.join(split.relative_to(root).parts) or root.resolve().name}.jsonl"
        if manifest in written:
            raise ManifestError(f"two splits under {root} are called {manifest.stem}; prepare them one by one")
        write_manifest(manifest, entries, overwrite=overwrite)
        written[manifest] = len(entries)
    return written


def _entries(split: Path, mixture: str, speakers_of: SpeakersOf | None) -> list[Entry]:
    mixtures = [path.resolve() for path in sorted((split / mixture).iterdir()) if is_audio(path)]
    if not mixtures:
        raise ManifestError(f"{split / mixture} holds no audio")
    sources: list[Path] = []
    while (folder := split / _source_folder(len(sources) + 1, mixture)).is_dir():
        sources.append(folder.resolve())
    for source in sources:
        missing = [path.name for path in mixtures if not (source / path.name).is_file()]
        if missing:
            raise ManifestError(f"{source} lacks {len(missing)} of {len(mixtures)} files, the first is {missing[0]}")
    noise = split.resolve() / "noise"
    has_noise = mixture not in _WITHOUT_NOISE and noise.is_dir()
    headers = [probe(path) for path in mixtures]
    return [
        Entry(
            id=path.stem,
            sample_rate=header.sample_rate,
            mixture=path,
            sources=tuple(source / path.name for source in sources),
            noise=noise / path.name if has_noise and (noise / path.name).is_file() else None,
            speakers=_named(path.stem, speakers_of, len(sources)),
            extra={"samples": header.frames},  # spares whoever cuts segments from opening every file
        )
        for path, header in zip(mixtures, headers, strict=True)
    ]


def _source_folder(number: int, mixture: str) -> str:
    return f"s{number}" + next((room for room in _ROOMS if mixture.endswith(room)), "")


def _named(stem: str, speakers_of: SpeakersOf | None, n_src: int) -> tuple[str, ...]:
    """The speakers' names, or none at all where a file is not called as the corpus calls its files."""
    names = speakers_of(stem) if speakers_of else ()
    return names if len(names) == n_src else ()


def speakers_of_librimix(stem: str) -> tuple[str, ...]:
    """`1034-121119-0005_2414-128291-0020`: speakers 1034 and 2414."""
    return tuple(utterance.split("-")[0] for utterance in stem.split("_"))


def speakers_of_wsj0(stem: str) -> tuple[str, ...]:
    """`01aa010k_1.3053_01po0310_-1.3053`: utterances and levels in turn; three letters name the speaker."""
    return tuple(utterance[:3] for utterance in stem.split("_")[::2])
