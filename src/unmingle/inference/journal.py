"""How far the network came with a recording, so that a later run goes on from there and ends with the same bytes.

    .talk.tracks.part   what the network gave so far (`store.py`)
    .talk.journal       the state behind the last window and what it is about; replaced in one step, once those tracks
                        are on the disk

Whatever ends a run, the two files on the disk fit together: tracks beyond what the journal knows are cut off.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unmingle._version import __version__
from unmingle.audio.temporary import whole
from unmingle.inference.claim import alone
from unmingle.inference.handle import Model
from unmingle.inference.report import SeparationOptions
from unmingle.inference.store import TrackStore
from unmingle.inference.voices import State

log = logging.getLogger(__name__)

WORTH_KEEPING_SECONDS = 60.0
"""A run that is interrupted leaves its work for a later one when it is at least so much sound."""

_HEARD_THROUGH = ("window_seconds", "overlap_seconds", "twice")  # the options that the network's work depends on


def work_on(source: Path, model: Model, options: SeparationOptions) -> dict[str, object]:
    """All that the network's work on a recording depends on, as JSON values."""
    found = source.stat()
    return {
        "recording": [source.name, found.st_size, found.st_mtime_ns],
        "model": [model.name, model.weights_digest()],
        "version": __version__,
        **{name: getattr(options, name) for name in _HEARD_THROUGH},
    }


class Journal:
    """The work on one recording that is not complete.

    Attributes:
        store: what the network gave so far.
        state: what `save` was given last by the run before, None when this one begins at the beginning.
    """

    def __init__(self, path: Path, store: TrackStore, about: Mapping[str, object], state: State | None) -> None:
        """Take what `open` found."""
        self.store, self.state = store, state
        self._path, self._about = path, about

    @classmethod
    @contextmanager
    def open(
        cls, out_dir: Path, stem: str, *, n_src: int, sample_rate: int, about: Mapping[str, object], resume: bool
    ) -> Generator[Journal]:
        """Begin, or go on with, the work on a recording; its files are gone when the body ends well.

        When the body fails or is interrupted they stay, if they hold `WORTH_KEEPING_SECONDS`.

        Args:
            out_dir: folder of the results.
            stem: what their names begin with.
            n_src: tracks of the network.
            sample_rate: Hz of these tracks.
            about: the recording, the model and the settings, see `work_on`.
            resume: go on with what an earlier run left, if it is about the same.

        Raises:
            OutputError: the folder cannot be written, or another run is at work on the same results.
        """
        path, tracks = out_dir / f".{stem}.journal", out_dir / f".{stem}.tracks.part"
        with alone(tracks, busy=f"{stem} is being separated into {tracks.parent} by another run"):
            n_samples, state = _read(path, tracks, about, n_src=n_src) if resume else (0, None)
            if state is None:
                path.unlink(missing_ok=True)
            with TrackStore.beside(tracks, n_src, n_samples=n_samples) as store:
                journal = cls(path, store, about, state)
                store.kept = state is not None
                try:
                    yield journal
                    store.kept = False
                finally:
                    store.kept &= store.n_samples >= WORTH_KEEPING_SECONDS * sample_rate
                    if not store.kept:
                        path.unlink(missing_ok=True)

    def save(self, state: State) -> None:
        """Note that the tracks in the store go with this state.

        Raises:
            OutputError: no space left, or the disk failed.
        """
        self.store.sync()
        said = {"about": json.dumps(self._about), "n_samples": str(self.store.n_samples)}
        with whole(self._path) as draft:
            draft.write_bytes(save(dict(state), metadata=said))
        self.store.kept = True


def _read(path: Path, tracks: Path, about: Mapping[str, object], *, n_src: int) -> tuple[int, State | None]:
    """How many samples of the tracks are good, and the state behind them; (0, None) to begin anew."""
    if not path.exists():
        return 0, None
    try:
        with safe_open(path, framework="np") as file:
            said = file.metadata()
            state: State = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        n_samples, found = int(said["n_samples"]), json.loads(said["about"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        log.warning("the unfinished work beside %s cannot be read and is begun anew", path.parent / path.stem[1:])
        return 0, None
    wanted = json.loads(json.dumps(about))
    if found != wanted:
        other = ", ".join(name for name in wanted if found.get(name) != wanted[name])
        log.warning("unfinished work in %s was done differently (%s) and is begun anew", path.parent, other)
        return 0, None
    with suppress(OSError):
        if tracks.stat().st_size >= 4 * n_src * n_samples:
            return n_samples, state
    return 0, None
