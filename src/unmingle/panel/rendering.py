"""Videos with separated voices: with the picture as it was, or with marks on those who speak.

    picture   |--- packets, copied with their time stamps, or pictures, drawn into and encoded ---|
    sound          |--- tracks, at 48 kHz, in AAC, from the moment at which the sound began ---|

Both are written in order of time, so that nothing piles up in memory, and into a file that is only moved to its name by
the caller when it is complete.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from unmingle.audio.framing import Samples
from unmingle.audio.io import AudioReader
from unmingle.audio.resample import StreamResampler
from unmingle.errors import OutputError
from unmingle.inference.report import Track
from unmingle.panel.drawing import mark
from unmingle.panel.speaking import who_speaks
from unmingle.video.frames import open_video, pictures, sound_start
from unmingle.video.tracks import CLOCK_RATE, FaceReport
from unmingle.video.upright import Picture

_RATE = 48_000
_BLOCK = 1 << 15
_MOST_WAITING = 32  # packets without a time of decoding: more than any coding holds back
_CHANNEL_BITS = 128_000  # per second
_TICKS = Fraction(1, 60_000)  # of encoded pictures: exact for 24, 25, 30, 50, 60 and 30000/1001 per second
_QUALITY = {"crf": "20", "preset": "veryfast"}


def render_faces(source: Path, tracks: Sequence[Track], folder: Path) -> list[Path]:
    """One video per face: the picture as it is, and the voice of that face alone.

    Args:
        source: the video.
        tracks: of the faces, written.
        folder: where the videos go; `talk_face1.wav` becomes the sound of `talk_face1.mp4`.

    Raises:
        VideoReadError: the picture cannot be read.
        OutputError: the video cannot be written.
    """
    paths: list[Path] = []
    for track in tracks:
        if track.path is None:
            raise ValueError(f"{track.name} was not written")
        target = folder / f"{track.path.stem}.mp4"
        try:
            with _Movie(source, target) as movie:
                movie.add_sound([track.path], np.ones((1, 1), np.float32))
                movie.copy_picture()
        except _NoCopyError:
            with _Movie(source, target) as movie:
                movie.add_sound([track.path], np.ones((1, 1), np.float32))
                movie.encode_picture(pictures(source))
        paths.append(target)
    return paths


class _NoCopyError(Exception):
    """An mp4 cannot hold these packets."""


def render_side_by_side(source: Path, tracks: Sequence[Track], seen: FaceReport, target: Path) -> Path:
    """One video in which every face has its box, thick while it speaks, and is heard from where it is.

    Args:
        source: the video.
        tracks: of the faces from left to right, then of voices without a face, written.
        seen: the faces.
        target: the video to write.

    Raises:
        VideoReadError: the picture cannot be read.
        OutputError: the video cannot be written.
    """
    paths = [track.path for track in tracks if track.path is not None]
    speaking = who_speaks(paths, n_ticks=max(1, seen.n_frames))[: len(seen.tracks)]

    def drawn() -> Iterator[tuple[float, Picture]]:
        for seconds, picture in pictures(source):
            tick = min(max(0, round(seconds * CLOCK_RATE)), len(seen.tracks[0].present) - 1)
            yield seconds, mark(picture, seen.tracks, tick, speaking=speaking[:, tick])

    with _Movie(source, target) as movie:
        movie.add_sound(paths, _places(seen, len(paths)))
        movie.encode_picture(drawn())
    return target


def _places(seen: FaceReport, n_tracks: int) -> Samples:
    """(2, n_tracks): how loud every track is on the left and on the right; the mean of both is its own level."""
    across = [float(np.mean(face.boxes[face.present] @ [1, 0, 0.5, 0])) / seen.picture[0] for face in seen.tracks]
    right = np.clip(np.array([*across, *[0.5] * (n_tracks - len(across))]), 0.1, 0.9)
    return (2 * np.stack([1 - right, right])).astype(np.float32)


class _Movie:
    """An mp4 whose sound is written along with its picture, in order of time."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source, self._target = source, target
        self._start = sound_start(source) or 0.0
        self._sound: Iterator[Samples] = iter(())
        self._channels = 0
        self._written = 0  # samples of sound
        self._track: AudioStream | None = None

    def __enter__(self) -> _Movie:
        with self._failures():
            self._out: OutputContainer = av.open(str(self._target), "w", format="mp4")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with suppress(av.error.FFmpegError, OSError) if error is not None else self._failures():
            self._out.close()
        if isinstance(error, av.error.FFmpegError):
            with self._failures():
                raise error

    @contextmanager
    def _failures(self) -> Generator[None]:
        """Say what a failed write means."""
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(
                f"{self._target.name} cannot be written ({error}); is the disk full, or the folder read-only?"
            ) from error

    def add_sound(self, paths: Sequence[Path], gains: Samples) -> None:
        """Have the sum of tracks, (channels, n_tracks) of gains, for the sound; before the picture."""
        self._channels, self._sound = len(gains), _without_clipping(paths, gains)

    def copy_picture(self) -> None:
        """Take the packets of the picture as they are.

        Raises:
            _NoCopyError: their coding, or their time stamps, are none for an mp4.
        """
        with open_video(self._source) as (container, stream):
            if stream.codec_context.name not in self._out.supported_codecs:
                raise _NoCopyError
            copy = self._out.add_stream_from_template(stream, opaque=True)
            self._begin_sound()
            for seconds, packet in _packets(container, stream):
                self._write_sound(until=seconds)
                packet.stream = copy
                try:
                    self._out.mux(packet)
                except av.error.ArgumentError as error:
                    raise _NoCopyError from error
        self._write_sound()

    def encode_picture(self, frames: Iterable[tuple[float, Picture]]) -> None:
        """Encode pictures, each with its time in seconds after the sound began."""
        encoder: VideoStream | None = None
        last = -1
        for seconds, picture in frames:
            time = round((self._start + seconds) / _TICKS)
            if time <= last:
                continue
            encoder = encoder or self._add_encoder(picture)
            frame = av.VideoFrame.from_ndarray(_even(picture), format="rgb24")
            frame.pts, frame.time_base, last = time, _TICKS, time
            self._write_sound(until=self._start + seconds)
            self._out.mux(encoder.encode(frame))
        if encoder is not None:
            self._out.mux(encoder.encode())
        self._write_sound()

    def _add_encoder(self, picture: Picture) -> VideoStream:
        name = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        encoder = self._out.add_stream(name, rate=25, options=_QUALITY if name == "libx264" else {"qscale": "3"})
        encoder.height, encoder.width = _even(picture).shape[:2]
        encoder.pix_fmt = "yuv420p"
        encoder.codec_context.time_base = _TICKS
        self._begin_sound()
        return encoder

    def _begin_sound(self) -> None:
        """After the picture: players show the first stream."""
        layout = "mono" if self._channels == 1 else "stereo"
        self._track = self._out.add_stream("aac", rate=_RATE, layout=layout, bit_rate=self._channels * _CHANNEL_BITS)

    def _write_sound(self, until: float = np.inf) -> None:
        """Encode the sound that comes before a moment; all the rest without one."""
        while self._start + self._written / _RATE < until:
            block = next(self._sound, None)
            if block is None:
                break
            self._encode_sound(block)
        if until == np.inf and self._track is not None:
            self._out.mux(self._track.encode())

    def _encode_sound(self, block: Samples) -> None:
        if self._track is None:
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self._track.layout.name)
        frame.sample_rate, frame.time_base = _RATE, Fraction(1, _RATE)
        frame.pts = round(self._start * _RATE) + self._written
        self._written += block.shape[1]
        self._out.mux(self._track.encode(frame))


def _without_clipping(paths: Sequence[Path], gains: Samples) -> Iterator[Samples]:
    """Weighted sums of tracks at 48 kHz, (channels, time), all turned down when one sample would exceed full scale."""
    loudest = max((float(np.abs(block).max(initial=0.0)) for block in _sums(paths, gains)), default=0.0)
    scale = np.float32(1.0 / max(1.0, loudest))
    return (block * scale for block in _sums(paths, gains))


def _sums(paths: Sequence[Path], gains: Samples) -> Iterator[Samples]:
    readers = [AudioReader(path) for path in paths]
    resampler = StreamResampler(readers[0].sample_rate, _RATE, len(gains))
    for blocks in zip(*(reader.blocks(_BLOCK) for reader in readers), strict=True):
        yield resampler.push(gains @ np.concatenate(blocks))
    if readers[0].sample_rate != _RATE:
        yield resampler.push(np.zeros((len(gains), 0), np.float32), last=True)


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, Packet[VideoStream]]]:
    """Packets that hold something, each with the time at which it is decoded, to where the file ends or breaks off.

    Matroska does not say when the first ones are decoded if later ones are shown before them; one picture apart, then.
    """
    waiting: list[Packet[VideoStream]] = []
    for packet in _demuxed(container, stream):
        waiting.append(packet)
        if packet.dts is None and packet.pts is not None and len(waiting) <= _MOST_WAITING:
            continue
        step = packet.duration or round(1 / (stream.average_rate or 25) / packet.time_base)
        last = packet.pts if packet.dts is None else packet.dts
        for before, one in enumerate(reversed(waiting)):
            one.dts = (last or 0) - before * step
            one.pts = one.dts if one.pts is None else one.pts
        yield from ((float((one.dts or 0) * one.time_base), one) for one in waiting)
        waiting.clear()
    yield from ((float((one.pts or 0) * one.time_base), one) for one in waiting)


def _demuxed(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        if packet.size:
            yield packet


def _even(picture: Picture) -> Picture:
    """Without the last row or column where their number is odd, which the encoders do not take."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height - height % 2, : width - width % 2])
