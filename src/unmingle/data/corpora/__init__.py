"""Published corpora, from their folders to manifests. Nothing is copied and nothing is downloaded.

Two kinds: corpora of single voices become one speech manifest, for simulation and dynamic mixing; corpora of mixtures
become one manifest of mixtures per split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unmingle.data.corpora.mixtures import prepare_mixtures, speakers_of_librimix, speakers_of_wsj0
from unmingle.data.corpora.voices import prepare_folder, prepare_librispeech
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
    "lrs2-2mix": partial(prepare_mixtures, default_mixture="mix", speakers_of=None),
}


def prepare(
    corpus: str, root: Path | str, out_dir: Path | str, *, mixture: str | None = None, overwrite: bool = False
) -> list[Prepared]:
    """Write the manifests of a corpus.

    Args:
        corpus: a name in `CORPORA`.
        root: folder of the corpus.
        out_dir: where the manifests shall lie; their paths are relative to it.
        mixture: corpora of mixtures: which folder holds the mixtures, where there are several kinds.
        overwrite: replace manifests that are there and hold something else.

    Raises:
        OutputExistsError: such a manifest is there, and `overwrite` was not asked for.
        ConfigError: nobody knows this corpus.
        MissingFileError: the folder is not there.
        ManifestError: the folder is not laid out as the corpus is published.
    """
    if corpus not in CORPORA:
        raise ConfigError(f"no corpus is called {corpus!r}, only {', '.join(CORPORA)}{did_you_mean(corpus, CORPORA)}")
    written = CORPORA[corpus](Path(root), Path(out_dir), mixture, overwrite)
    return [Prepared(manifest, n_lines) for manifest, n_lines in written.items()]
