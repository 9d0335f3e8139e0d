"""The front door: whole recordings in, one track per speaker out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from unmingle.inference.handle import Model
from unmingle.inference.report import Progress, SeparationOptions, SeparationReport, Track, TrackFormat

if TYPE_CHECKING:
    from torch import Tensor

Signal = TypeVar("Signal", NDArray[np.floating], "Tensor")


@dataclass(frozen=True)
class Separation:
    """The tracks of one recording, in memory.

    Attributes:
        estimates: (n_src, time) float32, as long as the recording.
        sample_rate: Hz, that of the recording.
        report: levels, confidence, conversions, warnings, settings.
        stem: file name that saved tracks begin with.
    """

    estimates: NDArray[np.float32]
    sample_rate: int
    report: SeparationReport
    stem: str

    @property
    def tracks(self) -> list[Track]:
        """What is known about each track, in the order of `estimates`."""
        return list(self.report.tracks)

    @property
    def conversions(self) -> list[str]:
        """What was done to the recording so that the network could take it."""
        return list(self.report.conversions)

    @property
    def warnings(self) -> list[str]:
        """What may have harmed the result."""
        return list(self.report.warnings)

    def save(self, out_dir: str | Path, *, overwrite: bool = False, format: TrackFormat = "wav") -> list[Path]:  # noqa: A002
        """Write `{stem}_spk1.wav`, ... into a folder, which is made when it is not there.

        Raises:
            OutputExistsError: a track is already there and `overwrite` was not asked for.
            OutputError: the folder cannot be written.
        """
        raise NotImplementedError


def separate(
    model: Model | str | Path | None,
    mixture: Signal,
    *,
    sample_rate: int,
    options: SeparationOptions | None = None,
) -> Signal:
    """Separate samples: (time,) -> (n_src, time), or a batch (batch, time) -> (batch, n_src, time)."""
    raise NotImplementedError


def separate_file(
    path: str | Path,
    model: Model | str | Path | None = None,
    *,
    options: SeparationOptions | None = None,
    progress: Progress | None = None,
) -> Separation:
    """Separate a recording and keep the tracks in memory; for hours of sound see `separate_to_files`."""
    raise NotImplementedError


def separate_to_files(
    path: str | Path,
    out_dir: str | Path,
    model: Model | str | Path | None = None,
    options: SeparationOptions | None = None,
    *,
    format: TrackFormat = "wav",  # noqa: A002
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SeparationReport:
    """Separate a recording of any length in bounded memory, straight to `{stem}_spk1.wav`, ... in `out_dir`.

    Tracks appear under their names all at once, when the last sample is written. Whatever goes wrong before, an
    interruption included, leaves neither tracks nor temporary files nor new folders behind.

    Args:
        path: an audio or video file.
        out_dir: folder of the tracks; made when it is not there.
        model: a model, its name, or the path of its weights; None is the default model.
        options: how to separate.
        format: `wav` (16 or 24 bits like the recording, 32-bit float where a track exceeds full scale) or `flac`.
        overwrite: replace tracks that are already there.
        progress: called with (seconds done, seconds of the whole recording).

    Raises:
        MissingFileError, AudioReadError, SignalError: the recording is not there, not readable, not separable.
        OutputExistsError, OutputError: the tracks cannot be written.
        UnknownModelError, CheckpointError: the model is not to be had.
    """
    raise NotImplementedError
