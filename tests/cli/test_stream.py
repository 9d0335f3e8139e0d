"""`unmingle stream`: pipes, files, messages."""

import errno
import io
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from unmingle.errors import AudioReadError, DeviceError
from unmingle.inference.live import fitting

RATE = 8000


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Weights of a network too small to separate well, that streams."""
    import torch

    from unmingle.checkpoint import save_checkpoint
    from unmingle.models import build_model
    from unmingle.presets import TFACMConfig

    torch.manual_seed(0)
    config = TFACMConfig(
        window=64, hop=32, channels=8, n_blocks=1, kernel=4, query_width=33, segment_size=6, attn_context=9
    )
    path = tmp_path_factory.mktemp("weights") / "live.safetensors"
    save_checkpoint(path, build_model(config), name="live", metadata={"licence": "MIT"})
    return path


def expected(path, samples):
    from unmingle.inference.handle import load_model

    return load_model(path).run(samples[np.newaxis])[0]


class Pipe:
    """Bytes in place of a terminal."""

    def __init__(self, data=b""):
        self.buffer = io.BytesIO(data)

    def isatty(self):
        return False

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def test_a_pipe_in_and_a_pipe_out(live, talk):
    samples = talk(0.3)
    command = [sys.executable, "-m", "unmingle.cli.app", "stream", "-", "-m", str(live), "--sample-rate", str(RATE)]
    ran = subprocess.run(
        [*command, "--format", "f32le"], input=samples.astype("<f4").tobytes(), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    out = np.frombuffer(ran.stdout, "<f4").reshape(-1, 2).T
    np.testing.assert_allclose(out, expected(live, samples), rtol=0, atol=1e-5)
    assert b"algorithmic latency 8.0 ms" in ran.stderr
    assert b"real-time factor" in ran.stderr


def test_integers_on_stdin_and_files_out(cli, live, talk, tmp_path, monkeypatch):
    samples = talk(0.3)
    coded = np.rint(samples * 32768).astype("<i2")
    monkeypatch.setattr(sys, "stdin", Pipe(coded.tobytes() + b"\1"))
    ran = cli("stream", "-", "-m", live, "--sample-rate", RATE, "-o", tmp_path)
    assert ran.code == 0
    assert ran.out.splitlines() == [str(tmp_path / "stream_spk1.wav"), str(tmp_path / "stream_spk2.wav")]
    wanted = expected(live, coded.astype(np.float32) / 32768)
    for number, path in enumerate(ran.out.splitlines()):
        track, rate = sf.read(path, dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(track, wanted[number], rtol=0, atol=1e-4)
    assert "1 byte" in ran.err


def test_two_channels_are_averaged_and_two_voices_interleaved(cli, live, talk, monkeypatch):
    samples = talk(0.2)
    both = np.stack([samples * 1.5, samples * 0.5])
    out = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe(both.T.astype("<f4").tobytes()))
    monkeypatch.setattr(sys, "stdout", out)
    assert cli("stream", "-m", live, "--sample-rate", RATE, "--format", "f32le", "--channels", 2).code == 0
    voices = np.frombuffer(out.buffer.getvalue(), "<f4").reshape(-1, 2).T
    np.testing.assert_allclose(voices, expected(live, samples), rtol=0, atol=1e-5)


def test_a_file_is_played_through_as_if_it_were_live(cli, live, talk, tmp_path):
    recording = tmp_path / "talk.wav"
    sf.write(recording, talk(0.2), RATE)
    ran = cli("stream", recording, "-m", live, "-o", tmp_path / "voices", "--hops", 4)
    assert ran.code == 0
    assert "measured latency" in ran.err
    assert "algorithmic 20.0 ms" in ran.err
    assert sf.info(tmp_path / "voices" / "talk_spk2.wav").frames == sf.info(recording).frames
    again = cli("stream", recording, "-m", live, "-o", tmp_path / "voices", "--no-pace")
    assert again.code == 1
    assert "already there" in again.err
    ran = cli("stream", recording, "-m", live, "-o", tmp_path / "voices", "--no-pace", "--overwrite")
    assert ran.code == 0
    assert "measured latency" not in ran.err


@pytest.fixture
def microphone(monkeypatch):
    """A microphone that gives three blocks, then an error: microphone(KeyboardInterrupt())."""
    from unmingle.audio import microphone

    def plug_in(error):
        class Three:
            overruns, lost = 1, 80

            def __init__(self, sample_rate, block, *, device):
                assert (sample_rate, block, device) == (RATE, 32, 3)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

            def blocks(self):
                for _ in range(3):
                    yield np.zeros((1, 32), np.float32)
                raise error

        monkeypatch.setattr(microphone, "Microphone", Three)

    return plug_in


def test_the_microphone_is_heard_until_ctrl_c(cli, live, tmp_path, microphone):
    microphone(KeyboardInterrupt())
    ran = cli("stream", "mic", "-m", live, "--sample-rate", RATE, "--input-device", 3, "-o", tmp_path)
    assert ran.code == 0
    assert sf.info(tmp_path / "microphone_spk1.wav").frames == 96
    assert "dropped sound 1 times, and 80 samples" in ran.err


def test_what_came_before_the_microphone_failed_is_saved(cli, live, tmp_path, microphone):
    microphone(DeviceError("the microphone is gone"))
    ran = cli("stream", "mic", "-m", live, "--sample-rate", RATE, "--input-device", 3, "-o", tmp_path / "voices")
    assert ran.code == 1
    assert ran.err.endswith("Error: the microphone is gone; the 0.0 s that came before are saved\n")
    assert [sf.info(path).frames for path in (tmp_path / "voices").iterdir()] == [96, 96]


def test_what_came_before_the_damaged_end_of_a_file_is_saved(cli, live, talk, tmp_path, monkeypatch):
    from unmingle.audio import io

    def blocks(path, *_):
        yield np.zeros((1, 640), np.float32)
        raise AudioReadError(f"{path.name} is damaged")

    monkeypatch.setattr(io, "_plain_blocks", blocks)
    recording = tmp_path / "talk.wav"
    sf.write(recording, talk(0.2), RATE)
    ran = cli("stream", recording, "-m", live, "--no-pace", "-o", tmp_path / "voices")
    assert ran.code == 1
    assert ran.err.endswith("Error: talk.wav is damaged; the 0.1 s that came before are saved\n")
    assert [sf.info(path).frames for path in (tmp_path / "voices").iterdir()] == [640, 640]


def test_tracks_get_their_names_together_or_not_at_all(cli, live, recording, tmp_path, monkeypatch):
    rename = Path.replace

    def fail_at_the_second(self, target):
        if target.stem.endswith("spk2"):
            raise OSError(errno.ENOSPC, "no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_second)
    ran = cli("stream", recording, "-m", live, "--no-pace", "-o", tmp_path / "voices")
    assert ran.code == 1
    assert "no space left" in ran.err
    assert not (tmp_path / "voices").exists()


def test_a_long_file_gets_tracks_that_can_be_as_long(cli, live, recording, tmp_path, monkeypatch):
    from unmingle.audio import writing

    monkeypatch.setattr(writing, "_LARGEST_WAV", 1_000)
    ran = cli("stream", recording, "-m", live, "--no-pace", "-o", tmp_path)
    assert ran.code == 0
    assert {sf.info(path).format for path in ran.out.splitlines()} == {"RF64"}


def test_sound_without_end_ends_in_words_before_its_tracks_are_full(cli, live, talk, tmp_path, monkeypatch):
    monkeypatch.setattr("unmingle.inference.live.fitting", partial(fitting, longest=1_000))
    monkeypatch.setattr(sys, "stdin", Pipe(talk(0.3).astype("<f4").tobytes()))
    ran = cli("stream", "-", "-m", live, "--sample-rate", RATE, "--format", "f32le", "-o", tmp_path)
    assert ran.code == 1
    assert "the tracks are full" in ran.err
    assert [sf.info(path).frames for path in tmp_path.iterdir()] == [992, 992]


def test_without_portaudio_the_message_says_what_to_do(cli, live, tmp_path, monkeypatch):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for words in (("stream", "mic", "-m", live, "-o", tmp_path), ("stream", "--list-devices")):
        ran = cli(*words)
        assert ran.code == 1
        assert "libportaudio2" in ran.err


def test_devices_are_listed(cli, monkeypatch):
    device = {"name": "Headset", "max_input_channels": 1, "default_samplerate": 16_000.0}
    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(query_devices=lambda: [device]))
    ran = cli("stream", "--list-devices")
    assert ran.code == 0
    assert ran.out.splitlines()[1].split() == ["0", "Headset", "1", "16000"]
    assert json.loads(cli("stream", "--list-devices", "--json").out) == [
        {"number": 0, "name": "Headset", "channels": 1, "sample_rate": 16000}
    ]


def test_a_file_is_no_folder_for_voices(cli, live, recording):
    ran = cli("stream", recording, "-m", live, "--no-pace", "-o", recording)
    assert ran.code == 1
    assert "is a file, not a folder" in ran.err


def test_a_model_is_asked_for_where_none_that_streams_is_bundled(cli, tmp_path, monkeypatch):
    from unmingle.inference import handle

    monkeypatch.setattr(handle, "WEIGHTS", tmp_path)
    ran = cli("stream", "-", "-o", tmp_path)
    assert ran.code == 1
    assert "--model PATH" in ran.err
    assert "Traceback" not in ran.err


def test_a_model_that_does_not_stream_and_other_misuse_are_refused(cli, live, tiny, recording, tmp_path):
    ran = cli("stream", recording, "-m", tiny, "-o", tmp_path)
    assert ran.code == 1
    assert "does not stream" in ran.err
    assert cli("stream", recording, "-m", live, "-o", tmp_path, "--sample-rate", 8000).code == 2
    assert cli("stream", "-", "-m", live, "-o", tmp_path, "--format", "mp3").code == 2
    assert cli("stream", "-", "-m", live, "-o", tmp_path, "--sample-rate", 0).code == 2
    assert not list(tmp_path.glob("*.wav"))


def test_levels_are_drawn_where_somebody_looks(capsys):
    from unmingle.cli.meters import meters

    with meters(2, RATE, wanted=True) as watch:
        watch(np.stack([np.full(RATE, 0.1), np.zeros(RATE)]).astype(np.float32))
    shown = capsys.readouterr().err
    assert "1 #############------" in shown
    assert "-20 dBFS" in shown
    assert "2 --------------------" in shown
    with meters(2, RATE, wanted=False) as watch:
        watch(np.zeros((2, RATE), np.float32))
    assert capsys.readouterr().err == ""
