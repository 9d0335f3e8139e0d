"""A video as upright pictures at the ticks of a clock, by presentation times.

Whatever the frame rate, fixed or not, tick k shows the picture that a player shows at that moment. The clock starts
with the first sample of the sound, as `unmingle.audio` reads it; pictures before that are passed over.

    sound            |---------------------------------------
    source frames      |  0  |  1  |     2       | 3 |  4  |
    ticks            0    1    2    3    4    5    6    7
    shown            -    0    1    2    2    2    3    4
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from unmingle.audio import containers
from unmingle.audio.io import count_seconds
from unmingle.errors import AudioReadError, MissingFileError, VideoReadError
from unmingle.video.upright import Picture, Upright

_TOLERANCE = 0.02  # seconds by which a picture may come early: half a tick of the usual clock
_LARGEST_HOLE = 3_600.0  # seconds; time stamps that jump further are broken
_EPSILON = 1e-4  # seconds; below what time stamps resolve


@dataclass(frozen=True)
class VideoInfo:
    """What the header says.

    Attributes:
        picture: (width, height) of the upright picture with square pixels.
        seconds: on the clock, until sound and picture have both ended; None when that is not stated.
        sound_seconds: until the sound has ended, counted where the header does not say; None without sound.
    """

    picture: tuple[int, int]
    seconds: float | None
    sound_seconds: float | None


def probe_video(path: str | Path) -> VideoInfo:
    """Read the header.

    Raises:
        VideoReadError, MissingFileError: as `frames_at`.
    """
    path = Path(path)
    with open_video(path) as (container, stream):
        size, end = Upright(stream, _first_picture(path, container, stream)).size, _stated_end(stream)
    sound = _sound_seconds(path)
    ends = [sound, None if end is None else end - (sound_start(path) or 0.0)]
    return VideoInfo(size, max((seconds for seconds in ends if seconds is not None), default=None), sound)


def check_picture(path: Path) -> None:
    """Refuse a file in which there is no moving picture.

    Raises:
        VideoReadError, MissingFileError: as `frames_at`.
    """
    with open_video(path) as (container, stream):
        _first_picture(path, container, stream)


def _first_picture(path: Path, container: InputContainer, stream: VideoStream) -> VideoFrame:
    damage = _Damage()
    first = next(_decoded(container, stream, damage), None)
    if first is None:
        raise damage.error(path)
    return first


def frames_at(
    path: str | Path, rate: float = 25.0, *, notes: list[str] | None = None
) -> Iterator[tuple[int, float, Picture]]:
    """Pictures at the ticks of a clock that starts with the sound (with the picture, where there is no sound).

    One picture is held at a time. A picture that is shown for several ticks is the same object each time.

    Args:
        path: anything that FFmpeg reads.
        rate: ticks per second.
        notes: gets a sentence for everything that had to be mended, when the last picture was taken.

    Yields:
        (tick, time of the tick in seconds, picture), ticks in order without holes. The first is not 0 where the
        picture starts later than the sound.

    Raises:
        VideoReadError: no video is recognised, there is no picture in it, or most of it cannot be decoded.
        MissingFileError: the path is not there.
    """
    path = Path(path)
    damage = _Damage()
    with open_video(path) as (container, stream):
        upright: Upright | None = None
        last: tuple[VideoFrame, Picture] | None = None
        for tick, frame in _schedule(_timed(container, stream, sound_start(path), damage), rate):
            upright = upright or Upright(stream, frame)
            if last is None or last[0] is not frame:
                last = frame, upright(frame)
            yield tick, tick / rate, last[1]
    damage.check(path, seen=last is not None)
    if notes is not None:
        notes.extend(damage.notes())


def pictures(path: str | Path) -> Iterator[tuple[float, Picture]]:
    """Every picture of a video once, with the time at which it comes on show.

    Yields:
        (seconds on the clock that starts with the sound, picture); seconds are negative before that, and increase.

    Raises:
        VideoReadError, MissingFileError: as `frames_at`.
    """
    path = Path(path)
    damage = _Damage()
    upright: Upright | None = None
    with open_video(path) as (container, stream):
        for shown in _timed(container, stream, sound_start(path), damage):
            upright = upright or Upright(stream, shown.frame)
            yield shown.start, upright(shown.frame)
    damage.check(path, seen=upright is not None)


@dataclass
class _Damage:
    """Frames that were decoded, those that the decoder had to mend, packets that gave none, broken time stamps."""

    good: int = 0
    mended: int = 0
    bad: int = 0
    astray: int = 0

    def error(self, path: Path) -> VideoReadError:
        return VideoReadError(
            f"the picture of {path} cannot be decoded: {self.good} frames can be read, {self.bad} packets are "
            "damaged; get a whole copy, or separate its sound alone"
        )

    def check(self, path: Path, *, seen: bool) -> None:
        if not seen or self.bad > self.good:
            raise self.error(path)

    def notes(self) -> Iterator[str]:
        if self.bad:
            yield f"passed over {self.bad} damaged packets of picture; the picture before stands in for them"
        if self.mended:
            yield f"{self.mended} pictures are damaged; faces may be missed, and lips misread, in them"
        if self.astray:
            yield f"left out {self.astray} pictures with broken time stamps"


@dataclass(frozen=True)
class _Shown:
    """A frame, and from when until when it is on show (seconds; the next frame may come earlier)."""

    start: float
    end: float
    frame: VideoFrame


def _schedule(frames: Iterator[_Shown], rate: float) -> Iterator[tuple[int, VideoFrame]]:
    """Give every tick its frame: the nearest in time, but none more than `_TOLERANCE` early."""
    tick = 0
    shown: _Shown | None = None
    for following in frames:
        if shown is None:
            tick = max(0, math.ceil((following.start - _TOLERANCE - _EPSILON) * rate))
        else:
            change = following.start - min((following.start - shown.start) / 2, _TOLERANCE)
            while tick / rate < change - _EPSILON:
                yield tick, shown.frame
                tick += 1
        shown = following
    while shown is not None and tick / rate < shown.end - _EPSILON:
        yield tick, shown.frame
        tick += 1


def _timed(
    container: InputContainer, stream: VideoStream, sound_start: float | None, damage: _Damage
) -> Iterator[_Shown]:
    """Frames in order of time on the clock; those whose time stamps run backwards or far ahead are left out."""
    origin = sound_start
    step = 1.0 / float(stream.average_rate or 25)
    stated = _stated_end(stream)
    before: float | None = None
    for frame in _decoded(container, stream, damage):
        seconds = frame.time if frame.pts is not None else (before or 0.0) + step
        if before is not None and not before < seconds < before + _LARGEST_HOLE:
            damage.astray += 1
            continue
        origin = seconds if origin is None else origin
        length = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step
        end = seconds + min(length, _LARGEST_HOLE)
        if stated is not None and end < stated < seconds + _LARGEST_HOLE:
            end = stated
        yield _Shown(seconds - origin, end - origin, frame)
        before = seconds


def _decoded(container: InputContainer, stream: VideoStream, damage: _Damage) -> Iterator[VideoFrame]:
    """Frames in order of presentation; packets that cannot be decoded are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            break  # the end, or a container that ends in the middle of something
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            damage.bad += 1
            continue
        damage.good += len(frames)
        damage.mended += sum(frame.is_corrupt for frame in frames)
        yield from frames


def _stated_end(stream: VideoStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return containers.tagged_end(stream)
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)


def sound_start(path: Path) -> float | None:
    """Time stamp of the first sample that `unmingle.audio` gives of the file; None without sound."""
    with suppress(av.error.FFmpegError, OSError), containers.open_container(path) as container:
        if (frame := containers.first_frame(container)) is not None:
            return max(0.0, frame.time or 0.0)
    return None


def _sound_seconds(path: Path) -> float | None:
    with suppress(AudioReadError):
        return count_seconds(path)
    return None


@contextmanager
def open_video(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    """A video file and the stream of its moving picture.

    Raises:
        VideoReadError, MissingFileError: as `frames_at`.
    """
    if not path.exists():
        raise MissingFileError(f"{path} is not there")
    try:
        container = containers.open_container(path)
    except (av.error.FFmpegError, OSError) as error:
        raise VideoReadError(
            f"{path} is not a video that can be read, or it is damaged; known are mp4, mov, mkv, webm, avi and what "
            "else FFmpeg reads"
        ) from error
    with container:
        streams = container.streams.video
        moving = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
        if not moving:
            what = "only the still picture of a cover" if streams else "no picture"
            raise VideoReadError(f"{path} holds {what}, so there is no face to follow; separate its sound alone")
        moving[0].thread_type = "AUTO"
        yield container, moving[0]
