"""What nobody can separate: each gets one clear message and exit code 1, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

RATE = 8000
Cli = Callable[..., Any]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(cli: Cli, tiny: Path, tmp_path: Path) -> Callable[..., str]:
    """Run `separate`, hold it to the rules for bad input, and return its one message."""

    def run(*arguments: object, model: object = tiny) -> str:
        before = contents(tmp_path)
        ran = cli("separate", *arguments, "--model", model, "--threads", 1)
        assert (ran.code, ran.out) == (1, ""), ran
        assert ran.err.startswith("Error: ")
        assert len(ran.err.splitlines()) == 1, ran.err
        assert "Traceback" not in ran.err
        assert contents(tmp_path) == before
        return ran.err

    return run


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT") -> Path:
    sf.write(path, samples, rate, subtype)
    return path


def cut(path: Path, keep: float = 0.5) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    return path


# What is read


def test_a_missing_file(refused: Callable[..., str], tmp_path: Path) -> None:
    assert f"there is no file {tmp_path / 'missing.wav'}" in refused(tmp_path / "missing.wav")


def test_an_empty_file(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert "empty.wav is empty (0 bytes)" in refused(tmp_path / "empty.wav")


@pytest.mark.parametrize("suffix", ["wav", "aiff"])
def test_a_file_of_zero_samples(refused: Callable[..., str], tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"nothing.{suffix}", np.zeros(0), subtype="PCM_16")
    assert f"nothing.{suffix}" in (message := refused(path))
    assert "no sound" in message or "no samples" in message


def test_a_text_file_named_wav(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("Dear diary,\n" * 100)
    assert "text.wav is not an audio or video file that can be read" in refused(tmp_path / "text.wav")


def test_a_truncated_wav(refused: Callable[..., str], tmp_path: Path, talk: Callable[..., np.ndarray]) -> None:
    assert "talk.wav is cut short" in refused(cut(write(tmp_path / "talk.wav", talk())))


def test_a_wav_of_half_a_header(refused: Callable[..., str], tmp_path: Path, talk: Callable[..., np.ndarray]) -> None:
    path = write(tmp_path / "talk.wav", talk())
    path.write_bytes(path.read_bytes()[:20])
    assert "talk.wav" in refused(path)


def test_a_truncated_mp3(refused: Callable[..., str], tmp_path: Path, talk: Callable[..., np.ndarray]) -> None:
    sf.write(tmp_path / "talk.mp3", talk(4), RATE, format="MP3")
    assert "talk.mp3 is cut short" in refused(cut(tmp_path / "talk.mp3"))


@pytest.mark.parametrize("index_first", [True, False])
def test_a_truncated_mp4(
    refused: Callable[..., str],
    tmp_path: Path,
    talk: Callable[..., np.ndarray],
    write_movie: Callable[..., Path],
    index_first: bool,
) -> None:
    whole = write_movie(tmp_path / "talk.mp4", talk(4), picture=True, index_first=index_first)
    assert "talk.mp4 is cut short" in refused(cut(whole))


def test_a_video_without_sound(refused: Callable[..., str], tmp_path: Path, write_movie: Callable[..., Path]) -> None:
    path = write_movie(tmp_path / "mute.mp4", None, picture=True)
    assert "mute.mp4 has no sound track" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 4e29])
def test_samples_that_are_no_numbers(
    refused: Callable[..., str], tmp_path: Path, talk: Callable[..., np.ndarray], value: float
) -> None:
    samples = talk()
    samples[samples.size // 2] = value
    message = refused(write(tmp_path / "broken.wav", samples))
    assert "broken.wav" in message
    assert "NaN" in message or "infinite" in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(refused: Callable[..., str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "pipe.wav is a pipe" in refused(tmp_path / "pipe.wav")


def test_silence(refused: Callable[..., str], tmp_path: Path) -> None:
    message = refused(write(tmp_path / "silence.wav", np.zeros(RATE)))
    assert "silence.wav" in message
    assert "silent" in message


def test_five_milliseconds(refused: Callable[..., str], tmp_path: Path, talk: Callable[..., np.ndarray]) -> None:
    message = refused(write(tmp_path / "click.wav", talk(0.005)))
    assert "click.wav" in message
    assert "5 ms" in message or "0.005 s" in message


@pytest.mark.parametrize("rate", [1, 1_000_000])
def test_absurd_sample_rates(refused: Callable[..., str], tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "odd.wav", np.random.default_rng(0).normal(0, 0.1, 4000), rate)
    message = refused(path)
    assert "odd.wav" in message
    assert f"{rate} Hz" in message


def test_a_folder_without_recordings(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("hello")
    assert f"the folder {tmp_path / 'papers'} holds no recording" in refused(tmp_path / "papers")


def test_two_inputs_of_one_name(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Path(shutil.copy(recording, tmp_path / "other"))
    message = refused(recording, other, "-o", tmp_path / "out")
    assert f"{recording} and {other} would both write" in message


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
def test_a_name_that_is_not_utf_8(refused: Callable[..., str], recording: Path) -> None:
    odd = recording.rename(recording.with_name(os.fsdecode(b"caf\xe9.wav")))
    assert "caf\ufffd.wav or of its folder is not UTF-8" in refused(odd)


# What separates


def test_a_model_that_is_not_known(refused: Callable[..., str], recording: Path) -> None:
    assert "did you mean 'tdanet'" in refused(recording, model="tdanett")


def test_weights_that_are_damaged(refused: Callable[..., str], recording: Path, tiny: Path, tmp_path: Path) -> None:
    damaged = cut(Path(shutil.copy(tiny, tmp_path / "damaged.safetensors")))
    assert "damaged.safetensors" in (message := refused(recording, model=damaged))
    assert "is not a whole safetensors file" in message


def test_weights_with_a_flipped_bit(refused: Callable[..., str], recording: Path, tiny: Path, tmp_path: Path) -> None:
    whole = bytearray(tiny.read_bytes())
    whole[-100] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(whole)
    assert "flipped.safetensors is damaged" in refused(recording, model=tmp_path / "flipped.safetensors")


def test_weights_of_somebody_else(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "foreign.safetensors")
    assert "unmingle import" in refused(recording, model=tmp_path / "foreign.safetensors")


def test_weights_that_are_a_text_file(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("these are not the weights you are looking for")
    assert "is not a whole safetensors file" in refused(recording, model=tmp_path / "model.safetensors")


def test_weights_that_are_not_there(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    assert "missing.safetensors" in refused(recording, model=tmp_path / "missing.safetensors")


def test_a_device_that_is_not_there(refused: Callable[..., str], recording: Path) -> None:
    assert "nonsense" in refused(recording, "--device", "nonsense")


# What is written


def test_an_output_folder_below_a_file(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused(recording, "-o", tmp_path / "file" / "out")


def test_an_output_folder_that_is_a_file(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is a file, not a folder" in refused(recording, "-o", tmp_path / "file")


def test_an_output_folder_that_cannot_be_made(refused: Callable[..., str], recording: Path) -> None:
    assert "/proc/tracks" in refused(recording, "-o", "/proc/tracks")


def test_an_output_folder_without_permission(
    refused: Callable[..., str], recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(self: Path, *_args: object, **_more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", forbid)
    message = refused(recording, "-o", tmp_path / "out")
    assert "Permission denied" in message
    assert str(tmp_path / "out") in message


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond some bytes, as a disk does that is nearly full; the log of the tests included."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("track_format", ["wav", "flac"])
@pytest.mark.parametrize(
    ("room", "question"), [(0, "is the disk full, or the folder read-only?"), (2000, "is the disk full?")]
)
def test_a_disk_without_room_for_the_tracks(
    refused: Callable[..., str], recording: Path, tmp_path: Path, room: int, question: str, track_format: str
) -> None:
    with full_disk(room):
        message = refused(recording, "-o", tmp_path / "out", "--format", track_format)
    assert str(tmp_path / "out") in message
    assert question in message


def test_a_disk_without_room_for_the_report(
    refused: Callable[..., str], recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    message = refused(recording, "-o", tmp_path / "out")
    assert "talk.rttm cannot be written (No space left on device)" in message


@pytest.mark.parametrize("there", ["talk_spk1.wav", "talk_spk2.wav", "talk.separation.json"])
def test_output_that_is_already_there(refused: Callable[..., str], recording: Path, there: str) -> None:
    (recording.parent / there).write_text("mine")
    message = refused(recording)
    assert f"{there} is already there" in message
    assert "--overwrite" in message


def test_an_output_name_that_is_a_folder(refused: Callable[..., str], recording: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "talk_spk1.wav").mkdir(parents=True)
    assert "talk_spk1.wav" in refused(recording, "-o", tmp_path / "out", "--overwrite")
