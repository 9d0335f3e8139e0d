"""Published corpora, from their folders to manifests. Nothing is downloaded.

Three kinds: corpora of single voices become one speech manifest, for simulation and dynamic mixing; corpora of mixtures
become one manifest of mixtures per split; of films of talking faces, mouth crops are cut and mixtures are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unmingle.data.corpora.films import FilmSettings, prepare_films, voice_rows
from unmingle.data.corpora.lrs import LRS2, LRS3
from unmingle.data.corpora.mixtures import prepare_mixtures, speakers_of_librimix, speakers_of_wsj0
from unmingle.data.corpora.pairs import SECONDS, FilmCorpus, FilmOptions, prepare_pairs
from unmingle.data.corpora.voices import prepare_folder, prepare_librispeech
from unmingle.data.corpora.voxceleb import VOXCELEB2, films_in
from unmingle.data.voices import write_voices
from unmingle.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Prepared:
    """A manifest that was written."""

    manifest: Path
    n_lines: int


# (corpus folder, output folder, name of the mixture folder or None, overwrite) -> manifest and its number of lines
Prepare = Callable[[Path, Path, str | None, bool], Mapping[Path, int]]

CORPORA: dict[str, Prepare] = {
    "folder": prepare_folder,
    "librispeech": prepare_librispeech,
    "libri2mix": partial(prepare_mixtures, default_mixture="mix_clean", speakers_of=speakers_of_librimix),
    "wsj0-2mix": partial(prepare_mixtures, default_mixture="mix", speakers_of=speakers_of_wsj0),
    "wham": partial(prepare_mixtures, default_mixture="mix_both", speakers_of=speakers_of_wsj0),
    "whamr": partial(prepare_mixtures, default_mixture="mix_both_reverb", speakers_of=speakers_of_wsj0),
    "lrs2-2mix": partial(prepare_mixtures, default_mixture="mix", speakers_of=None),
}


FILM_CORPORA: dict[str, FilmCorpus | None] = {"films": None, "lrs2": LRS2, "lrs3": LRS3, "voxceleb2": VOXCELEB2}


def prepare(
    corpus: str,
    root: Path | str,
    out_dir: Path | str,
    *,
    mixture: str | None = None,
    overwrite: bool = False,
    films: FilmOptions | None = None,
) -> list[Prepared]:
    """Write the manifests of a corpus.

    Args:
        corpus: a name in `CORPORA` or `FILM_CORPORA`.
        root: folder of the corpus.
        out_dir: where the manifests shall lie; their paths are relative to it.
        mixture: corpora of mixtures: which folder holds the mixtures, where there are several kinds.
        overwrite: replace manifests that are there and hold something else.
        films: for a corpus of films.

    Raises:
        OutputExistsError: such a manifest is there, and `overwrite` was not asked for.
        ConfigError: nobody knows this corpus.
        MissingFileError: the folder is not there.
        ManifestError: the folder is not laid out as the corpus is published.
    """
    known = [*CORPORA, *FILM_CORPORA]
    if corpus not in known:
        raise ConfigError(f"no corpus is called {corpus!r}, only {', '.join(known)}{did_you_mean(corpus, known)}")
    if corpus in CORPORA:
        written = CORPORA[corpus](Path(root), Path(out_dir), mixture, overwrite)
    else:
        written = _prepare_films(FILM_CORPORA[corpus], Path(root), Path(out_dir), overwrite, films or FilmOptions())
    return [Prepared(manifest, n_lines) for manifest, n_lines in written.items()]


def _prepare_films(
    corpus: FilmCorpus | None, root: Path, out_dir: Path, overwrite: bool, options: FilmOptions
) -> Mapping[Path, int]:
    settings = FilmSettings(out_dir, options.crops, options.landmarks, SECONDS if corpus else None)
    if corpus is not None:
        return prepare_pairs(corpus, root, settings, options, overwrite=overwrite)
    ready = prepare_films(films_in(root), settings, n_workers=options.n_workers, progress=options.progress)
    manifest = out_dir / "voices.jsonl"
    return {manifest: write_voices(manifest, voice_rows(ready, settings), overwrite=overwrite)}


__all__ = ["CORPORA", "FILM_CORPORA", "FilmOptions", "Prepared", "prepare"]
