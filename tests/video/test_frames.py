"""Frames come at the ticks of the clock, upright, in square pixels; what cannot be read is said in words."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from unmingle.errors import MissingFileError, VideoReadError
from unmingle.video.frames import frames_at, probe_video, sound_start

Write = Callable[..., Path]
ONE, LAST = 1 << 16, 1 << 30  # of a display matrix
TURNS = {
    "as it is": ((ONE, 0, 0, 0, ONE, 0, 0, 0, LAST), "rg b."),
    "clockwise": ((0, ONE, 0, -ONE, 0, 0, 0, 0, LAST), "br .g"),
    "upside down": ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, LAST), ".b gr"),
    "anticlockwise": ((0, -ONE, 0, ONE, 0, 0, 0, 0, LAST), "g. rb"),
    "mirrored": ((-ONE, 0, 0, 0, ONE, 0, 0, 0, LAST), "gr .b"),
}


@pytest.mark.parametrize("rate", [25, Fraction(30_000, 1001), 50, 15])
def test_every_tick_shows_what_a_player_shows(
    rate: Fraction, tmp_path: Path, write_video: Write, numbered: Callable, number_of: Callable
) -> None:
    n_frames = 40
    path = write_video(tmp_path / "a.mp4", numbered(n_frames), rate=rate)
    shown = [(tick, seconds, number_of(picture)) for tick, seconds, picture in frames_at(path)]
    assert [tick for tick, _, _ in shown] == list(range(len(shown)))
    assert len(shown) == pytest.approx(n_frames / rate * 25, abs=1)
    for tick, seconds, number in shown:
        assert seconds == tick / 25
        start, end = number / rate, (number + 1) / rate
        assert start - 0.0201 <= seconds <= end


def test_a_variable_rate_keeps_its_times(
    tmp_path: Path, write_video: Write, numbered: Callable, number_of: Callable
) -> None:
    times = [0.0, 0.04, 0.1, 0.5, 0.52, 0.54, 1.0]
    path = write_video(tmp_path / "a.mkv", numbered(len(times)), times=times)
    shown = {tick: number_of(picture) for tick, _, picture in frames_at(path)}
    assert [shown[tick] for tick in (0, 1, 2, 5, 11, 13, 20, 25)] == [0, 1, 2, 2, 2, 4, 5, 6]


def test_a_picture_that_starts_late_is_late_on_the_clock_of_the_sound(
    tmp_path: Path, write_video: Write, numbered: Callable, number_of: Callable
) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(20), times=[0.4 + k / 25 for k in range(20)], sound=1.5)
    shown = [(tick, number_of(picture)) for tick, _, picture in frames_at(path)]
    assert shown[0] == (10, 0)
    assert shown[-1] == (29, 19)


def test_the_clock_starts_with_the_sound_where_that_is_late(
    tmp_path: Path, write_video: Write, numbered: Callable, number_of: Callable
) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(30), sound=0.8, sound_start=0.4)
    tick, seconds, picture = next(iter(frames_at(path)))
    assert (tick, seconds) == (0, 0.0)
    assert number_of(picture) == pytest.approx(10, abs=1)  # AAC may place its first sample up to a frame early


def test_a_damaged_first_packet_of_sound_does_not_move_the_clock(
    tmp_path: Path, write_video: Write, numbered: Callable
) -> None:
    path = write_video(tmp_path / "a.mkv", numbered(30), sound=0.8, sound_start=0.4)
    before = sound_start(path)
    with av.open(str(path)) as container:
        packet = next(container.demux(audio=0))
        position, size = bytes(packet), packet.size
    content = path.read_bytes()
    assert content.count(position) == 1
    path.write_bytes(content.replace(position, b"\xff" * size))
    after = sound_start(path)
    assert before is not None
    assert after == pytest.approx(before, abs=0.1)


def test_a_picture_that_outlasts_the_sound_is_stated_in_matroska_too(
    tmp_path: Path, write_video: Write, numbered: Callable
) -> None:
    seconds = probe_video(write_video(tmp_path / "a.mkv", numbered(40), sound=0.4)).seconds
    assert seconds == pytest.approx(1.6, abs=0.1)


def test_sound_whose_length_is_not_stated_is_counted(tmp_path: Path, write_video: Write, numbered: Callable) -> None:
    info = probe_video(write_video(tmp_path / "a.avi", numbered(10), codec="mjpeg", sound=1.5))
    assert info.sound_seconds == pytest.approx(1.5, abs=0.15)  # AAC in AVI keeps its padding


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_are_upright(turn: str, tmp_path: Path, write_video: Write) -> None:
    matrix, wanted = TURNS[turn]
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, :24, :32, 0] = frames[:, :24, 32:, 1] = frames[:, 24:, :32, 2] = 255
    path = write_video(tmp_path / "a.mp4", frames)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(content)
    picture = next(iter(frames_at(path)))[2]
    height, width, _ = picture.shape
    assert probe_video(path).picture == (width, height) == ((48, 64) if "clockwise" in turn else (64, 48))
    found = ["rgb."[k if (k := int(spot.argmax())) < 3 and spot.max() > 90 else 3] for spot in _quarters(picture)]
    assert "".join(found) == wanted.replace(" ", "")


def _quarters(picture: np.ndarray) -> list[np.ndarray]:
    height, width, _ = picture.shape
    return [picture[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]


def test_pixels_become_square(tmp_path: Path, write_video: Write) -> None:
    path = write_video(tmp_path / "a.mp4", np.zeros((2, 48, 64, 3), np.uint8), squeeze=Fraction(3, 2))
    assert probe_video(path).picture == (96, 48)
    assert next(iter(frames_at(path)))[2].shape == (48, 96, 3)


def test_a_single_picture_lasts_as_long_as_it_says(tmp_path: Path, write_video: Write, numbered: Callable) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(2), times=[0.0, 1.96])
    pictures = [picture for _, _, picture in frames_at(path)]
    assert len(pictures) == 50
    assert pictures[0] is pictures[20]


def test_damaged_packets_are_passed_over_and_counted(tmp_path: Path, write_video: Write, numbered: Callable) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(30), codec="mjpeg")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets[5:25:5]:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    notes: list[str] = []
    ticks = [tick for tick, _, _ in frames_at(path, notes=notes)]
    assert ticks == list(range(30))
    assert "4 damaged packets" in notes[0]


def test_a_picture_that_is_damaged_throughout_is_said(tmp_path: Path, write_video: Write, numbered: Callable) -> None:
    path = write_video(tmp_path / "a.mp4", numbered(10), codec="mjpeg")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets:
        content[position : position + size] = bytes(size)
    path.write_bytes(content)
    for read in (probe_video, lambda path: next(iter(frames_at(path)))):
        with pytest.raises(VideoReadError, match="cannot be decoded: 0 frames can be read, 10 packets"):
            read(path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [("text.mp4", b"not a video at all " * 50, "not a video"), ("empty.mp4", b"", "not a video")],
)
def test_what_is_no_video_is_said(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoReadError, match=words):
        next(iter(frames_at(tmp_path / name)))


def test_a_missing_file_and_sound_alone_are_said(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="not there"):
        probe_video(tmp_path / "none.mp4")
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoReadError, match="no picture"):
        next(iter(frames_at(path)))
