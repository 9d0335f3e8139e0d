"""Writing tracks: whole or not at all, and never clipped.

Samples go to a temporary file beside the target (`temporary.py`), which takes the target's name only in `commit`. A
WAV file is written with the bits that were asked for; the first sample beyond full scale turns it into 32-bit float
(docs/decisions/0013). FLAC has no float: a track beyond full scale is attenuated, and `attenuation_db` says by how
much. A WAV file beyond 4 GB is an RF64 file, which most programs read as WAV.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from unmingle.audio.formats import Subtype, TrackFormat
from unmingle.audio.framing import Samples
from unmingle.audio.levels import peak
from unmingle.audio.temporary import Hold, hold_temporary, sync
from unmingle.errors import ConfigError, OutputError, OutputExistsError

_FLAC_ANY_RATE = 65_535  # Hz
_LARGEST_WAV = 3_900_000_000  # bytes; beyond, RF64 is the WAV that can be long enough
_BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}
_COPY_BLOCK = 1 << 16
_HEADROOM = 0.999


class AudioWriter:
    """Writes one file in blocks.

    Used with `with`, a clean end commits what is on the disk by then, and an error leaves nothing behind. To let
    several files appear together, see `inference/trackfiles.py`.

    Attributes:
        path: the target.
        loudest: largest magnitude so far, and after `close` with its gain; 1.0 is full scale.
        subtype: coding of the samples, which becomes `FLOAT` when a sample does not fit.
        attenuation_db: how much a FLAC file had to be turned down; 0 for none.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int = 1,
        *,
        subtype: Subtype = "PCM_16",
        format: TrackFormat = "wav",  # noqa: A002
        overwrite: bool = False,
        frames: int | None = None,
        rescaled: bool = False,
    ) -> None:
        """Open a temporary file beside `path`.

        Args:
            path: where the file shall be.
            sample_rate: Hz.
            channels: how many.
            subtype: `PCM_16`, `PCM_24` or `FLOAT`.
            format: `wav` or `flac`.
            overwrite: replace a file that is there.
            frames: expected length, so that files beyond 4 GB get a header that can say it.
            rescaled: the gain is decided at `close`, so full precision is kept until then.

        Raises:
            ConfigError: another format, or a rate that FLAC cannot keep.
            OutputExistsError: the file is there and `overwrite` was not asked for.
            OutputError: the folder cannot be written.
        """
        if format not in get_args(TrackFormat):
            raise ConfigError(f"format is {format!r}; sound is written as {' or '.join(get_args(TrackFormat))}")
        if format == "flac" and sample_rate > _FLAC_ANY_RATE and sample_rate % 10:
            raise ConfigError(
                f"{path} is at {sample_rate} Hz, and FLAC keeps rates above {_FLAC_ANY_RATE} Hz in tens only; write wav"
            )
        self.path = Path(path)
        self.subtype: Subtype = subtype
        self.attenuation_db = 0.0
        self._rate, self._channels, self._format = sample_rate, channels, format
        self._values = 0 if frames is None else frames * channels
        self._rewrites = rescaled or format != "wav"
        self.loudest = 0.0
        check_target(self.path, overwrite=overwrite)
        self._hold = self._hold_temporary()
        self._file: sf.SoundFile | None = self._open("FLOAT" if self._rewrites else subtype)

    def write(self, samples: Samples) -> None:
        """Append (channels, time) samples.

        Raises:
            OutputError: no space left, or the disk failed.
        """
        self.loudest = max(self.loudest, peak(samples))
        if self._file is None:
            raise ValueError("write after close")
        if self.loudest > 1.0 and self._file.subtype != "FLOAT":
            self.subtype = "FLOAT"
            self._rewrite(gain=1.0, target="FLOAT", reopen=True)
        with self._failures():
            _append(self._file, samples)

    def close(self, *, gain: float = 1.0) -> None:
        """Finish the temporary file, its samples multiplied by `gain` (which needs `rescaled`)."""
        self._close_file()
        if not self._rewrites:
            return
        self.loudest *= gain
        if self.loudest > 1.0 and self._format == "flac":
            self.attenuation_db = 20.0 * float(np.log10(self.loudest / _HEADROOM))
            gain *= _HEADROOM / self.loudest
        elif self.loudest > 1.0:
            self.subtype = "FLOAT"
        self._rewrite(gain=gain, target=self.subtype, reopen=False)

    @property
    def draft(self) -> Path:
        """The temporary file."""
        return self._hold.path

    def sync(self) -> None:
        """See to it that the finished file is on the disk, whatever happens to the machine; before `commit`."""
        with self._failures():
            sync(self._hold.path)

    def commit(self) -> None:
        """Give the finished file its name."""
        with self._failures():
            self._hold.path.replace(self.path)
        self._hold.release()

    def discard(self) -> None:
        """Remove the temporary file, if it did not get its name; the target is not touched."""
        try:
            self._close_file()
        except OutputError:
            self._file = None
        self._hold.path.unlink(missing_ok=True)
        self._hold.release()

    def __enter__(self) -> Self:
        """Write in the body; the end of the body commits."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit after a clean end, leave nothing behind after any other."""
        try:
            if kind is None:
                self.close()
                self.sync()
                self.commit()
        finally:
            self.discard()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with self._failures():
                file.close()

    def _rewrite(self, *, gain: float, target: Subtype, reopen: bool) -> None:
        """Copy the temporary file into another one, block by block."""
        self._close_file()
        before, self._hold = self._hold, self._hold_temporary()
        try:
            self._file = copy = self._open(target, final=not reopen)
            with self._failures(), sf.SoundFile(before.path) as source:
                while (block := source.read(_COPY_BLOCK, dtype="float32", always_2d=True)).shape[0]:
                    _append(copy, np.asarray(block.T * gain, np.float32))
            if not reopen:
                self._close_file()
        finally:
            before.path.unlink(missing_ok=True)
            before.release()

    def _open(self, subtype: Subtype, *, final: bool = False) -> sf.SoundFile:
        if final and self._format == "flac":
            container, subtype = "FLAC", "PCM_24" if subtype == "FLOAT" else subtype
        else:
            container = "RF64" if self._values * _BYTES[subtype] > _LARGEST_WAV else "WAV"
        try:
            with self._failures():
                return sf.SoundFile(self._hold.path, "w", self._rate, self._channels, subtype, format=container)
        except OutputError:
            self._hold.path.unlink(missing_ok=True)  # a disk that is full still has room for an empty file
            self._hold.release()
            raise

    def _hold_temporary(self) -> Hold:
        with self._failures():
            return hold_temporary(self.path.parent)

    @contextmanager
    def _failures(self) -> Generator[None]:
        """Say what a failed write means. soundfile asserts that all samples were taken."""
        try:
            yield
        except (sf.SoundFileError, OSError, AssertionError) as error:
            raise OutputError(
                f"{self.path} cannot be written ({error or 'short write'}); is the disk full, or the folder read-only?"
            ) from error


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target that would be overwritten unasked, or whose folder is none.

    Raises:
        OutputExistsError: the file is there and `overwrite` was not asked for.
        OutputError: the target is a folder, or its folder is not there.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder, so no track can have this name; move it away")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is already there; ask for overwriting, or choose another folder")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent} is not a folder; make it, or choose another one")


def _append(file: sf.SoundFile, samples: Samples) -> None:
    # libsndfile truncates when it turns float into integer; rounding here keeps a 16-bit round trip exact.
    if file.subtype == "FLOAT":
        file.write(np.ascontiguousarray(samples.T))
    elif file.subtype == "PCM_16":
        file.write(_to_integers(samples, 16).astype(np.int16))
    else:
        file.write((_to_integers(samples, 24) << 8).astype(np.int32))


def _to_integers(samples: Samples, bits: int) -> NDArray[Any]:
    full = 1 << (bits - 1)
    scaled = np.rint(samples.T.astype(np.float64) * full)
    return np.ascontiguousarray(np.clip(scaled, -full, full - 1).astype(np.int32))
