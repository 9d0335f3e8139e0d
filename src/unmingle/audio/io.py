"""The one place that reads audio: soundfile (libsndfile) first, PyAV (FFmpeg) for the rest and for the sound of videos.

Everything is read in blocks of (channels, time) float32, where 1.0 is full scale. Writing is in `writing.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile as sf

from unmingle.audio import containers, integrity
from unmingle.audio.framing import Samples
from unmingle.audio.writing import AudioWriter
from unmingle.errors import AudioReadError, MissingFileError, SampleRateError, ShapeError

__all__ = [
    "Audio",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "count_frames",
    "count_seconds",
    "probe",
    "read_audio",
    "read_mono",
]

_UNKNOWN_FRAMES = 2**62  # libsndfile's way of saying that it cannot know


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a file says.

    Attributes:
        sample_rate: Hz.
        channels: how many.
        frames: samples per channel; None when the header does not say. Compressed files may hold a few more or less.
        format: container, such as `WAV` or `mov`.
        subtype: coding, such as `PCM_16`, `FLOAT` or `aac`.
        n_streams: sound tracks in the file; the first is read.
    """

    sample_rate: int
    channels: int
    frames: int | None
    format: str
    subtype: str
    n_streams: int = 1

    @property
    def seconds(self) -> float | None:
        """Duration, when the header says it."""
        return None if self.frames is None else self.frames / self.sample_rate


@dataclass(frozen=True)
class Audio:
    """A whole file in memory: (channels, time) float32 and its rate in Hz."""

    samples: Samples
    sample_rate: int


def probe(path: str | Path) -> AudioInfo:
    """Read the header of an audio or video file.

    Raises:
        MissingFileError: nothing is there.
        AudioReadError: it is a folder, empty, cut short, not audio, or a video without sound.
    """
    with AudioReader(path) as reader:
        return reader.info


def read_audio(path: str | Path) -> Audio:
    """Read a whole file; for long ones iterate over `AudioReader.blocks`.

    Raises:
        MissingFileError, AudioReadError: as `probe`, or the sound breaks off before the end.
    """
    with AudioReader(path) as reader:
        blocks = list(reader.blocks(1 << 16))
        samples = np.concatenate(blocks, axis=1) if blocks else np.zeros((reader.channels, 0), np.float32)
        return Audio(samples, reader.sample_rate)


def count_frames(path: str | Path) -> int:
    """Samples per channel: what the header says, or where it does not say, as many as there are.

    Raises:
        MissingFileError, AudioReadError: as `read_audio`.
    """
    with AudioReader(path) as reader:
        return reader.count()


def count_seconds(path: str | Path, *, at_most: float = math.inf) -> float:
    """Duration: what the header says, or where it does not say, as long as it lasts.

    Args:
        path: the file.
        at_most: stop counting beyond this.

    Raises:
        MissingFileError, AudioReadError: as `read_audio`.
    """
    with AudioReader(path) as reader:
        return reader.count(at_most=at_most) / reader.sample_rate


def read_mono(path: str | Path, *, sample_rate: int) -> Samples:
    """Read a file of a mixture, (time,): one channel at the rate that its manifest says.

    Raises:
        MissingFileError, AudioReadError: as `read_audio`.
        SampleRateError, ShapeError: another rate, several channels.
    """
    audio = read_audio(path)
    if audio.sample_rate != sample_rate:
        raise SampleRateError(
            f"{path} is at {audio.sample_rate} Hz, wanted {sample_rate} Hz, as its recipe or manifest says; resample it"
        )
    if len(audio.samples) != 1:
        raise ShapeError(f"{path} has {len(audio.samples)} channels, wanted 1; choose one and save it")
    return audio.samples[0]


class AudioReader:
    """An audio file, or the sound of a video, read in blocks as often as wanted.

    Attributes:
        path: the file.
        info: what its header says.
        notes: what had to be mended in the sound that was read last, one sentence each.
        doubts: what speaks against the file's being whole, one sentence each.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file and read its header.

        Raises:
            MissingFileError, AudioReadError: see `probe`.
        """
        self.path = Path(path)
        self.notes: list[str] = []
        _check_file(self.path)
        outgrown = integrity.outgrew_header(self.path)
        self.doubts = integrity.doubts(self.path, outgrown=outgrown)
        plain = _plain_info(self.path)
        # Where a header is wrong about the length, libsndfile believes it.
        if plain is not None and outgrown:
            self.info, self._plain = replace(plain, frames=None), False
        elif plain is None or integrity.hides_length(self.path, mp3=plain.format == "MP3"):
            self.info, self._plain = _container_info(self.path), False
        else:
            self.info, self._plain = plain, True

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.info.sample_rate

    @property
    def channels(self) -> int:
        """How many."""
        return self.info.channels

    @property
    def frames(self) -> int | None:
        """Samples per channel, when the header says it."""
        return self.info.frames

    def count(self, *, at_most: float = math.inf) -> int:
        """Samples per channel, counted where the header does not say, until they are more than `at_most` seconds.

        Raises:
            AudioReadError: as `blocks`.
        """
        if self.frames is not None:
            return self.frames
        counted = 0
        for block in self.blocks(1 << 16):
            counted += block.shape[1]
            if counted > at_most * self.sample_rate:
                break
        return counted

    def blocks(self, size: int) -> Iterator[Samples]:
        """The sound from its beginning, in (channels, at most `size`) blocks.

        Raises:
            AudioReadError: the sound is damaged, or ends before the header says.
        """
        self.notes.clear()
        if self._plain:
            return _plain_blocks(self.path, self.info, size)
        return containers.blocks(self.path, size, notes=self.notes)

    def __enter__(self) -> Self:
        """Nothing stays open between blocks; `with` is for the reader of the code."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `__enter__`."""


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise AudioReadError(f"{path} is a folder; name an audio or video file in it")
    if not path.exists():
        raise MissingFileError(f"there is no file {path}; check the name and the folder")
    if not path.is_file():
        raise AudioReadError(f"{path} is a pipe or a device, and a recording is read several times; save it as a file")
    if path.stat().st_size == 0:
        raise AudioReadError(f"{path} is empty (0 bytes); it was probably never written")
    integrity.check_complete(path)


def _plain_info(path: Path) -> AudioInfo | None:
    """The header as libsndfile reads it, or None when it does not know the format."""
    try:
        with sf.SoundFile(path) as file:
            frames = None if file.frames >= _UNKNOWN_FRAMES else file.frames
            return AudioInfo(file.samplerate, file.channels, frames, file.format, file.subtype)
    except (sf.LibsndfileError, TypeError):  # TypeError: a .raw file, whose rate soundfile wants to be told
        return None


def _container_info(path: Path) -> AudioInfo:
    header = containers.header(path)
    return AudioInfo(
        header.sample_rate, header.channels, header.frames, header.format, header.codec, n_streams=header.n_streams
    )


def _plain_blocks(path: Path, info: AudioInfo, size: int) -> Iterator[Samples]:
    read = 0
    try:
        with sf.SoundFile(path) as file:
            while (block := file.read(size, dtype="float32", always_2d=True)).shape[0]:
                read += block.shape[0]
                yield np.ascontiguousarray(block.T, np.float32)
    except sf.LibsndfileError as error:
        raise AudioReadError(
            f"{path} is damaged: its sound breaks off after {read / info.sample_rate:.1f} s; get a whole copy"
        ) from error
    # Lossy files may hold a frame less than they say; a missing second or hundredth part is a file cut short.
    if info.frames is not None and info.frames - read > max(0.01 * info.frames, 4096):
        raise AudioReadError(
            f"{path} is cut short: it holds {read / info.sample_rate:.1f} s of the "
            f"{info.frames / info.sample_rate:.1f} s that its header promises; get a whole copy"
        )
