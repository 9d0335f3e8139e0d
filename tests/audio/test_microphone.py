"""The microphone, with a PortAudio that pretends."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from unmingle.audio import microphone
from unmingle.audio.microphone import Microphone, input_devices
from unmingle.errors import DeviceError, MissingExtraError


class PortAudioError(Exception):
    pass


class InputStream:
    def __init__(self, samplerate, blocksize, device, callback, **_):
        if device == "gone":
            raise ValueError("No input device matching 'gone'")
        if samplerate == 12_345:
            raise PortAudioError("Invalid sample rate")
        self.callback, self.closed = callback, False

    def start(self):
        pass

    def close(self):
        self.closed = True

    def send(self, value, *, overflow=False, size=4):
        block = np.full((size, 1), value, np.float32)
        self.callback(block, size, None, SimpleNamespace(input_overflow=overflow))
        block[:] = -1  # PortAudio uses its buffer again


DEVICES = [
    {"name": "Speaker", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"name": "Headset", "max_input_channels": 1, "default_samplerate": 16_000.0},
]


@pytest.fixture
def portaudio(monkeypatch):
    library = SimpleNamespace(InputStream=InputStream, PortAudioError=PortAudioError, query_devices=lambda: DEVICES)
    monkeypatch.setitem(sys.modules, "sounddevice", library)


def test_blocks_come_in_order_and_keep_their_samples(portaudio):
    with Microphone(16_000, 4) as mic:
        for value in (0.1, 0.2):
            mic._stream.send(value)
        blocks = mic.blocks()
        assert [next(blocks)[0, 0] for _ in range(2)] == pytest.approx([0.1, 0.2])
    assert mic._stream.closed


def test_what_nobody_fetches_is_lost_oldest_first_and_counted(portaudio):
    with Microphone(16_000, 8_000) as mic:  # four blocks are two seconds
        for value in range(6):
            mic._stream.send(value / 10, size=8_000)
        assert mic.lost == 16_000
        assert next(mic.blocks())[0, 0] == pytest.approx(0.2)


def test_overruns_of_the_system_are_counted_and_the_sound_goes_on(portaudio):
    with Microphone(16_000, 4) as mic:
        mic._stream.send(0.1, overflow=True)
        mic._stream.send(0.2)
        assert mic.overruns == 1
        assert next(mic.blocks()).shape == (1, 4)


def test_a_microphone_that_falls_silent_for_good_is_an_error(portaudio, monkeypatch):
    monkeypatch.setattr(microphone, "_PATIENCE_SECONDS", 0.01)
    with Microphone(16_000, 4) as mic, pytest.raises(DeviceError, match="plugged in"):
        next(mic.blocks())


@pytest.mark.parametrize(("rate", "device"), [(16_000, "gone"), (12_345, None)])
def test_a_device_that_cannot_be_opened_says_how_to_find_another(portaudio, rate, device):
    with pytest.raises(DeviceError, match="--list-devices"):
        Microphone(rate, 4, device=device)


def test_only_devices_that_listen_are_listed(portaudio):
    assert input_devices() == [(1, "Headset", 1, 16_000)]


def test_without_sounddevice_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingExtraError, match=r"unmingle\[live\]"):
        input_devices()


def test_without_portaudio_it_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeviceError, match=r"apt install libportaudio2.*brew install portaudio"):
        Microphone(16_000, 4)
