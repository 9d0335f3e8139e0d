"""Decoded audio, kept: every utterance once, as 16-bit samples in one memory-mapped file.

Reading a second of speech from the store costs microseconds, decoding it from Opus or FLAC milliseconds, and training
reads each second many times. A store is a folder named by the hash of what it was made from; it is written under
another name and renamed when complete, so a torn one is never used; what a killed process left of one is swept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from unmingle.audio.temporary import SUFFIX, hidden, sweep, whole
from unmingle.data import speech
from unmingle.data.files import fingerprint_of_files
from unmingle.errors import ManifestError, OutputError
from unmingle.simulation.mixing import INT16_STEPS, on_int16_grid
from unmingle.simulation.pool import Utterance

if TYPE_CHECKING:
    from lhotse import MonoCut

log = logging.getLogger(__name__)

_VERSION = 1  # of the layout below; raise it when the layout or the decoding changes
_SAMPLES = "samples.npy"
_INDEX = "index.json"
_DRAFT = ".store"  # a folder beside the temporary file that its process holds
_DECODERS = 2
_AHEAD = 64  # utterances decoded ahead of the one being written


class Store:
    """Utterances decoded to one sample rate. Opened anew in every process that reads it."""

    def __init__(self, folder: Path) -> None:
        """Open a complete store."""
        self.folder = folder
        rows = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        self.utterances = [Utterance(**row) for row in rows]
        self._starts = np.cumsum([0, *(utterance.n_samples for utterance in self.utterances)])
        self._samples: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process as a path, not as gigabytes."""
        return {**self.__dict__, "_samples": None}

    def read(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        """Samples `start` to `start + length` of an utterance, in -1..1; fewer where it ends."""
        if self._samples is None:
            self._samples = cast("NDArray[np.int16]", np.load(self.folder / _SAMPLES, mmap_mode="r"))
        begin = int(self._starts[index]) + start
        end = min(begin + length, int(self._starts[index + 1]))
        return self._samples[begin:end].astype(np.float32) / np.float32(INT16_STEPS)


def open_store(
    path: Path | str,
    *,
    sample_rate: int,
    cache_dir: Path | str | None,
    exclude_corpora: Sequence[str] = (),
    speakers: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """The store of a folder or manifest of speech (or noise), made when there is none yet.

    Args:
        path: see `unmingle.data.speech.read_cuts`.
        sample_rate: Hz; files at other rates are resampled.
        cache_dir: where stores lie; None: `~/.cache/unmingle`.
        exclude_corpora: values of `corpus` that are left out.
        speakers: False for noise.
        progress: called with (utterances done, utterances in all) while decoding.

    Raises:
        ManifestError, AudioReadError: the speech cannot be used.
        OutputError: the store cannot be written.
    """
    root = Path(cache_dir) if cache_dir else Path.home() / ".cache" / "unmingle"
    key = _fingerprint(Path(path), sample_rate, exclude_corpora, speakers)
    folder = root / f"{Path(path).name.split('.')[0]}-{key}"
    if not (folder / _INDEX).is_file():
        cuts = speech.read_cuts(path, exclude_corpora=exclude_corpora, speakers=speakers)
        try:
            _write(folder, cuts, sample_rate, progress)
        except OSError as error:
            raise OutputError(f"decoded audio cannot be kept in {root}: {error}; set data.cache_dir") from error
    return Store(folder)


def _fingerprint(path: Path, sample_rate: int, exclude_corpora: Sequence[str], speakers: bool) -> str:
    """Changes with what is listed, with the sound of any file listed, and with how it is decoded."""
    digest = hashlib.sha256(json.dumps([_VERSION, sample_rate, sorted(exclude_corpora), speakers]).encode())
    if speech.is_lhotse(path):
        digest.update(path.read_bytes())
        return digest.hexdigest()[:16]
    for file in speech.list_speech(path, exclude_corpora=exclude_corpora, speakers=speakers):
        listed = {**asdict(file), "path": str(file.path)}
        del listed["video"]  # is not decoded
        digest.update(json.dumps([listed, fingerprint_of_files([file.path])]).encode())
    return digest.hexdigest()[:16]


def _write(
    folder: Path, cuts: Sequence[MonoCut], sample_rate: int, progress: Callable[[int, int], None] | None
) -> None:
    log.info("decoding %d utterances into %s", len(cuts), folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    with hidden(folder.parent) as held:
        draft = held.with_suffix(_DRAFT)
        try:
            draft.mkdir()
            lengths: list[int] = []
            raw = draft / "samples.raw"
            with raw.open("wb") as stream:
                for samples in _decoded(cuts, sample_rate):
                    stream.write(samples.tobytes())
                    lengths.append(len(samples))
                    if progress:
                        progress(len(lengths), len(cuts))
            _as_npy(raw, draft / _SAMPLES, sum(lengths))
            with whole(draft / _INDEX) as index:
                index.write_text(json.dumps(_rows(cuts, lengths)), encoding="utf-8")
            _name(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _name(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / _INDEX).is_file():  # else another process was faster, with the same bytes
            raise


def _sweep(root: Path) -> None:
    """Remove the drafts whose processes are gone."""
    sweep(root)
    for draft in root.glob(f"*{_DRAFT}"):
        if not draft.with_suffix(SUFFIX).exists():
            shutil.rmtree(draft, ignore_errors=True)


def _decoded(cuts: Sequence[MonoCut], sample_rate: int) -> Iterator[NDArray[np.int16]]:
    """In order, a few at once; never more than `_AHEAD` in memory."""

    def decode(cut: MonoCut) -> NDArray[np.int16]:
        samples = speech.load(cut, sample_rate)
        return on_int16_grid(np.clip(samples, -1, 1 - 1 / INT16_STEPS))

    with speech.libsndfile(), ThreadPoolExecutor(_DECODERS) as pool:
        for begin in range(0, len(cuts), _AHEAD):
            yield from pool.map(decode, cuts[begin : begin + _AHEAD])


def _as_npy(raw: Path, target: Path, n_samples: int) -> None:
    """Put the header before samples whose number was not known when the first was written."""
    with target.open("wb") as stream, raw.open("rb") as samples:
        header = {"descr": "<i2", "fortran_order": False, "shape": (n_samples,)}
        np.lib.format.write_array_header_1_0(stream, header)
        shutil.copyfileobj(samples, stream, length=1 << 22)
        stream.flush()
        os.fsync(stream.fileno())
    raw.unlink()


def _rows(cuts: Sequence[MonoCut], lengths: Sequence[int]) -> list[dict[str, Any]]:
    if not sum(lengths):
        raise ManifestError("none of the files listed holds a single sample")
    named = zip(cuts, speech.genders_and_speakers(cuts), lengths, strict=True)
    return [
        asdict(Utterance(id=cut.id, speaker=speaker, gender=gender, n_samples=length))
        for cut, (speaker, gender), length in named
    ]
