"""Everything that FFmpeg reads and libsndfile does not: m4a, mp4, mkv, webm, ... through PyAV.

Compressed sound is padded by its encoder. What lies before time zero or beyond the duration that the container
states is padding and is dropped; holes in the time stamps are filled with silence, so that sound and picture stay
together.

    encoder's frames   |priming|------ sound ------|padding|
    kept                       |------ sound ------|
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Stream

from unmingle.audio import integrity
from unmingle.audio.framing import Samples
from unmingle.errors import AudioReadError

_EXACT_DURATION = {"mov", "mp4", "m4a"}  # the stream's duration is that of the sound, to the sample
_STATED_DURATION = {*_EXACT_DURATION, "matroska", "webm"}  # stated, not estimated from the bit rate
_LONGEST_PADDING = 8_192  # samples beyond the duration that an encoder may have added
_LOSSLESS = {"alac", "flac", "mlp", "truehd", "tta", "wavpack"}
_SMALLEST_HOLE, _LARGEST_HOLE = 0.05, 3_600.0  # seconds; time stamps jitter below, and are broken above


@dataclass(frozen=True)
class Header:
    """What the container says about its first sound track; `frames` is None when it does not say."""

    sample_rate: int
    channels: int
    frames: int | None
    format: str
    codec: str
    n_streams: int


def header(path: Path) -> Header:
    """Read the header.

    Raises:
        AudioReadError: no audio format is recognised, or there is no sound in it.
    """
    with _open(path) as (container, stream):
        seconds = _stated_seconds(container, stream)
        return Header(
            sample_rate=stream.sample_rate,
            channels=stream.channels,
            frames=None if seconds is None else round(seconds * stream.sample_rate),
            format=container.format.name.split(",")[0],
            codec=_coding(stream),
            n_streams=len(container.streams.audio),
        )


def blocks(path: Path, size: int, *, notes: list[str]) -> Iterator[Samples]:
    """Decode the first sound track in (channels, at most `size`) float32 blocks.

    Args:
        path: the file.
        size: of a block, at most.
        notes: gets a sentence for everything that had to be mended, when the last block was taken.

    Raises:
        AudioReadError: nothing can be decoded, or the sound ends before the stated duration.
    """
    with _open(path) as (container, stream):
        stated = _stated_seconds(container, stream)
        rate, channels = stream.sample_rate, stream.channels
        written = filled = 0
        damaged = _Damage()
        exact = bool(_EXACT_DURATION & set(container.format.name.split(",")))
        end = round(stated * rate) if exact and stated is not None else None
        for start, samples in _without_padding(_frames(container, stream, damaged), end=end):
            hole = start - written
            if _SMALLEST_HOLE * rate < hole < _LARGEST_HOLE * rate:
                yield from _pieces(np.zeros((channels, hole), np.float32), size)
                written += hole
                filled += hole
            kept = samples[:, max(0, -start) :]
            written += kept.shape[1]
            yield from _pieces(kept, size)
    damaged.check(path)
    _check_length(path, written / rate, stated)
    if filled:
        notes.append(f"filled {filled / rate:.2f} s of missing sound with silence")
    if damaged.bad:
        notes.append(f"passed over {damaged.bad} damaged packets of sound")


@dataclass
class _Damage:
    """Frames that were decoded, and packets that were not."""

    good: int = 0
    bad: int = 0

    def check(self, path: Path) -> None:
        if self.bad > self.good:
            raise AudioReadError(f"{path} is damaged: {self.bad} of its sound packets cannot be decoded")


def _frames(container: InputContainer, stream: AudioStream, damage: _Damage) -> Iterator[tuple[int, Samples]]:
    """Pairs of (position in samples from the first time stamp or from zero, (channels, time) samples)."""
    converter = _Converter(stream)
    origin: float | None = None
    position = 0
    for frame in _decoded(container, stream, damage):
        if frame.pts is not None and frame.time_base is not None:
            seconds = float(frame.pts * frame.time_base)
            origin = max(0.0, seconds) if origin is None else origin
            position = round((seconds - origin) * stream.sample_rate)
        frame.pts = None
        for samples in converter.convert(frame):
            yield position, samples
            position += samples.shape[1]
    for samples in converter.convert(None):
        yield position, samples
        position += samples.shape[1]


class _Converter:
    """Brings frames to the channels and the rate of the stream, which broadcasts and joined files leave midway."""

    def __init__(self, stream: AudioStream) -> None:
        self._layout, self._rate, self._channels = stream.layout, stream.sample_rate, stream.channels
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[str, int, str] | None = None

    def convert(self, frame: AudioFrame | None) -> Iterator[Samples]:
        """The next frame, None after the last -> (channels, time) samples."""
        kind = None if frame is None else (frame.layout.name, frame.sample_rate, frame.format.name)
        if self._resampler is not None and kind != self._kind:
            yield from self._resample(self._resampler, None)
            self._resampler = None
        if frame is None:
            return
        if self._resampler is None:
            # Interleaved, because PyAV reads beyond its planes when there are more than eight channels.
            self._resampler = av.AudioResampler(format="flt", layout=self._layout, rate=self._rate)
            self._kind = kind
        yield from self._resample(self._resampler, frame)

    def _resample(self, resampler: av.AudioResampler, frame: AudioFrame | None) -> Iterator[Samples]:
        for part in filter(None, resampler.resample(frame)):
            yield np.asarray(part.to_ndarray(), np.float32).reshape(-1, self._channels).T


def _without_padding(frames: Iterator[tuple[int, Samples]], *, end: int | None) -> Iterator[tuple[int, Samples]]:
    """Drop what lies beyond `end`, unless it is so much that the stated end must be wrong."""
    held: list[tuple[int, Samples]] = []
    for start, samples in frames:
        stop = start + samples.shape[1]
        if end is None or stop <= end:
            yield start, samples
        elif stop - end > _LONGEST_PADDING:
            yield from held
            yield start, samples
            held, end = [], None
        else:
            kept = max(0, end - start)
            yield start, samples[:, :kept]
            held.append((start + kept, samples[:, kept:]))


def _decoded(container: InputContainer, stream: AudioStream, damage: _Damage) -> Iterator[AudioFrame]:
    """Frames in order; packets that cannot be decoded are passed over, and leave a hole in the time stamps."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError:
            break  # the container ends in the middle of something; the length check says whether it matters
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damage.bad += 1
            continue
        damage.good += len(frames)
        yield from frames


def _coding(stream: AudioStream) -> str:
    """The name of the codec, with its bits where a lossless one has more than 16: `alac_24`."""
    codec = stream.codec_context
    fine = codec.name in _LOSSLESS and codec.format.name in ("s32", "s32p")
    return f"{codec.name}_24" if fine else codec.name


def _pieces(samples: Samples, size: int) -> Iterator[Samples]:
    for start in range(0, samples.shape[1], size):
        yield np.ascontiguousarray(samples[:, start : start + size])


def _stated_seconds(container: InputContainer, stream: AudioStream) -> float | None:
    if not _STATED_DURATION & set(container.format.name.split(",")):
        return None
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    end = tagged_end(stream)
    late = float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0
    return None if end is None else end - max(0.0, late)


def tagged_end(stream: Stream) -> float | None:
    """Where a stream ends, in seconds, as Matroska says it in a tag, `00:00:02.023000000`; None without one."""
    try:
        hours, minutes, seconds = (float(part) for part in stream.metadata.get("DURATION", "").split(":"))
    except ValueError:
        return None
    return 3600.0 * hours + 60.0 * minutes + seconds


def first_frame(container: InputContainer) -> AudioFrame | None:
    """The first frame of sound that can be decoded, which is where the sound begins; None without any."""
    streams = container.streams.audio
    return next(_decoded(container, streams[0], _Damage()), None) if streams else None


def _check_length(path: Path, seconds: float, stated: float | None) -> None:
    if stated is not None and stated - seconds > max(0.5, 0.02 * stated):
        raise AudioReadError(
            f"{path} is cut short: it holds {seconds:.1f} s of the {stated:.1f} s of sound that its header promises; "
            "get a whole copy"
        )


def open_container(path: Path, **options: str) -> InputContainer:
    """A file as FFmpeg sees it, and nothing but this file.

    Raises:
        FFmpegError, OSError: it cannot be opened, or is a pipe, which could be read only once.
    """
    if not path.is_file():
        raise OSError(f"{path} is no file")
    # The prefix keeps a colon in a name from being read as a protocol; the white list keeps play lists off the network.
    return av.open(f"file:{path}", options={"protocol_whitelist": "file", **options}, metadata_errors="ignore")


@contextmanager
def _open(path: Path) -> Generator[tuple[InputContainer, AudioStream]]:
    options = {"ignore_length": "1"} if integrity.outgrew_header(path) else {}
    try:
        container = open_container(path, **options)
    except (av.error.FFmpegError, OSError) as error:
        raise AudioReadError(
            f"{path} is not an audio or video file that can be read, or it is damaged; "
            "known are wav, flac, ogg, opus, mp3, m4a, mp4, mkv, webm and what else FFmpeg reads"
        ) from error
    with container:
        stream = next(iter(container.streams.audio), None)
        if stream is None:
            raise AudioReadError(f"{path} has no sound track; there is nothing to separate")
        if not stream.sample_rate or not stream.channels:
            raise AudioReadError(f"{path} has a sound track that cannot be decoded ({stream.codec_context.name})")
        yield container, stream
