"""Videos with separated voices: a flash and a click at the same moment must come out at the same moment."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from unmingle.audio.io import read_audio
from unmingle.inference.report import Track
from unmingle.panel.rendering import render_faces, render_side_by_side
from unmingle.video.frames import pictures, probe_video
from unmingle.video.tracks import FaceReport, FaceTrack

RATE = 16_000
SECONDS, MOMENT = 1.6, 0.8  # the flash and the click come half-way

Write = Callable[..., Path]


def even_times(rate: float, start: float = 0.0) -> list[float]:
    return [start + index / rate for index in range(int((SECONDS - start) * rate + 0.001))]


def uneven_times() -> list[float]:
    steps = np.random.default_rng(3).choice([0.02, 0.033, 0.05, 0.1], 200)
    times = np.cumsum(steps) - steps[0]
    return sorted(
        {*(round(time, 4) for time in times[times < SECONDS - 0.05].tolist() if abs(time - MOMENT) > 0.015), MOMENT}
    )


CLIPS = {
    "25": (even_times(25), 0.0),
    "29.97": (even_times(30_000 / 1001), 0.0),
    "50": (even_times(50), 0.0),
    "variable": (uneven_times(), 0.0),
    "the picture comes late": (even_times(25, 0.32), 0.0),
    "the sound comes late": (even_times(25), 0.4),
}


def flashing(times: list[float]) -> tuple[np.ndarray, float]:
    """Frames that are dark but for the one nearest the middle, and when that is."""
    flash = min(times, key=lambda time: abs(time - MOMENT))
    frames = np.full((len(times), 64, 128, 3), 20, np.uint8)
    frames[times.index(flash)] = 235
    return frames, flash


def clicking(moment: float, seconds: float, *, rate: int = RATE) -> np.ndarray:
    sound = 1e-4 * np.random.default_rng(0).normal(size=round(seconds * rate))
    start = round(moment * rate)
    sound[start : start + rate // 100] += 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate // 100) / rate)
    return sound.astype(np.float32)


def write_clip(
    write_video: Write, folder: Path, clip: str, *, suffix: str = "mp4", **more: object
) -> tuple[Path, Path]:
    """The video, and its track."""
    times, sound_start = CLIPS[clip]
    frames, flash = flashing(times)
    sound = clicking(flash - sound_start, SECONDS - sound_start)
    path = write_video(folder / f"talk.{suffix}", frames, times, sound, sound_start=sound_start, **more)
    sf.write(folder / "talk_face1.wav", read_audio(path).samples[0], RATE)
    return path, folder / "talk_face1.wav"


def moments(path: Path) -> tuple[float, float]:
    """When it flashes and when it clicks, seconds after the sound began."""
    light = [(float(picture.mean()), seconds) for seconds, picture in pictures(path)]
    audio = read_audio(path)
    loud = np.abs(audio.samples.mean(axis=0)) > 0.1
    return max(light)[1], float(np.argmax(loud)) / audio.sample_rate


def length(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.duration) / av.time_base


@pytest.mark.parametrize(
    ("kind", "clip"),
    [*(("faces", clip) for clip in CLIPS), ("side-by-side", "29.97"), ("side-by-side", "variable")],
)
def test_flash_and_click_stay_together(
    kind: str, clip: str, tmp_path: Path, write_video: Write, make_face: Callable[..., FaceTrack]
) -> None:
    source, wav = write_clip(write_video, tmp_path, clip)
    out = tmp_path / "out"
    out.mkdir()
    if kind == "faces":
        (rendered,) = render_faces(source, [Track("face1", -20.0, 1.0, None, wav)], out)
    else:
        seen = FaceReport([make_face("face1", np.full(40, 0.1))], SECONDS, (128, 64))
        rendered = render_side_by_side(source, [Track("face1", -20.0, 1.0, None, wav)], seen, out / "talk_faces.mp4")
    flash, click = moments(rendered)
    assert abs(flash - click) < 0.010
    assert moments(source) == pytest.approx((flash, click), abs=0.025)  # a late sound's AAC padding is sound to FFmpeg
    assert abs(length(rendered) - length(source)) < 1 / 50


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_packets_of_the_picture_are_not_touched(suffix: str, tmp_path: Path, write_video: Write) -> None:
    source, wav = write_clip(write_video, tmp_path, "25", b_frames=2, suffix=suffix)
    (tmp_path / "out").mkdir()
    (rendered,) = render_faces(source, [Track("face1", -20.0, 1.0, None, wav)], tmp_path / "out")

    def packets(path: Path) -> list[tuple[float, int]]:
        with av.open(str(path)) as container:
            found = [packet for packet in container.demux(video=0) if packet.size]
            return [(round(float(packet.pts * packet.time_base), 3), packet.size) for packet in found]

    assert packets(rendered) == packets(source)
    assert rendered.name == "talk_face1.mp4"
    assert moments(rendered) == pytest.approx(moments(source), abs=0.005)


def turn(path: Path) -> Path:
    """Hold the camera upright: a display matrix that turns the picture clockwise."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def test_a_turned_picture_stays_turned(tmp_path: Path, write_video: Write, make_face: Callable[..., FaceTrack]) -> None:
    source, wav = write_clip(write_video, tmp_path, "25")
    turn(source)
    track = Track("face1", -20.0, 1.0, None, wav)
    (tmp_path / "out").mkdir()
    (copied,) = render_faces(source, [track], tmp_path / "out")
    seen = FaceReport([make_face("face1", np.full(40, 0.1))], SECONDS, (64, 128))
    drawn = render_side_by_side(source, [track], seen, tmp_path / "out" / "talk_faces.mp4")
    assert probe_video(source).picture == probe_video(copied).picture == probe_video(drawn).picture == (64, 128)
    picture = next(iter(pictures(drawn)))[1].astype(int)
    assert picture[30, 10].max() - picture[40, 30].max() > 40  # the left edge of the box at x 10, y 10 .. 50


def test_a_coding_that_no_mp4_holds_is_encoded_anew(tmp_path: Path, write_video: Write) -> None:
    times = even_times(25)
    frames, flash = flashing(times)
    source = write_video(tmp_path / "talk.avi", frames, times, None, codec="wmv2")
    sf.write(tmp_path / "talk_face1.wav", clicking(flash, SECONDS), RATE)
    (tmp_path / "out").mkdir()
    track = Track("face1", -20.0, 1.0, None, tmp_path / "talk_face1.wav")
    (rendered,) = render_faces(source, [track], tmp_path / "out")
    assert moments(rendered) == pytest.approx((flash, flash), abs=0.010)


def test_voices_come_from_where_their_faces_are(
    tmp_path: Path, write_video: Write, make_face: Callable[..., FaceTrack]
) -> None:
    times = even_times(25)
    source = write_video(tmp_path / "talk.mp4", flashing(times)[0], times, clicking(0.3, SECONDS))
    tracks = []
    for number, moment in enumerate((0.3, 1.2), start=1):
        sf.write(tmp_path / f"talk_face{number}.wav", 2 * clicking(moment, SECONDS), RATE, subtype="FLOAT")
        tracks.append(Track(f"face{number}", -20.0, 1.0, None, tmp_path / f"talk_face{number}.wav"))
    seen = FaceReport(
        [make_face("face1", np.full(40, 0.1), x=5), make_face("face2", np.full(40, 0.1), x=80)], SECONDS, (128, 64)
    )
    rendered = render_side_by_side(source, tracks, seen, tmp_path / "talk_faces.mp4")
    sound = read_audio(rendered).samples
    early, late = (
        np.abs(sound[:, int(48_000 * start) : int(48_000 * (start + 0.5))]).max(axis=1) for start in (0.1, 1.0)
    )
    assert early[0] > 1.5 * early[1]
    assert late[1] > 1.5 * late[0]
    assert np.abs(sound).max() < 1.05  # 2 x 0.5, in AAC
    brightness = {round(seconds, 2): picture[25:35, 2:10].astype(int).max() for seconds, picture in pictures(rendered)}
    assert brightness[0.32] > 230 > brightness[1.2]  # the box of the left face is bright while it speaks only
