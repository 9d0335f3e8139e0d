"""The microphone, through PortAudio, in blocks."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.errors import DeviceError, MissingExtraError

_QUEUE_SECONDS = 2.0
_PATIENCE_SECONDS = 5.0


class Microphone:
    """One channel of an input device. What comes faster than it is fetched waits for two seconds, then is lost.

    Attributes:
        overruns: times that the system lost samples before we had them.
        lost: samples lost because nobody fetched them.
    """

    def __init__(self, sample_rate: int, block: int, *, device: str | int | None = None) -> None:
        """Open a device.

        Args:
            sample_rate: Hz.
            block: samples that come at once.
            device: number, or part of the name, of an input device; None is the system's own choice.

        Raises:
            MissingExtraError: sounddevice is not installed.
            DeviceError: PortAudio is missing, or the device is, or it cannot have this rate.
        """
        self.overruns = 0
        self.lost = 0
        self._blocks: queue.Queue[Samples] = queue.Queue(max(2, round(_QUEUE_SECONDS * sample_rate / block)))
        library = portaudio()
        try:
            self._stream: Any = library.InputStream(
                samplerate=sample_rate,
                blocksize=block,
                device=device,
                channels=1,
                dtype="float32",
                latency="low",
                callback=self._take,
            )
        except (ValueError, library.PortAudioError) as error:
            raise DeviceError(
                f"the microphone {device if device is not None else '(default)'} cannot be opened at {sample_rate} Hz "
                f"({error}); `unmingle stream --list-devices` names the devices, --sample-rate asks for another rate"
            ) from error

    def blocks(self) -> Iterator[Samples]:
        """(1, block) as they come, without end.

        Raises:
            DeviceError: nothing has come for five seconds; the device is gone.
        """
        while True:
            try:
                yield self._blocks.get(timeout=_PATIENCE_SECONDS)
            except queue.Empty:
                raise DeviceError(
                    f"the microphone has sent nothing for {_PATIENCE_SECONDS:g} s; look whether it is still plugged in"
                ) from None

    def _take(self, samples: Any, _frames: int, _time: Any, status: Any) -> None:
        """Called by PortAudio, in its own thread, which must never wait."""
        self.overruns += bool(status.input_overflow)
        while True:
            try:
                self._blocks.put_nowait(np.array(samples.T, np.float32))
                return
            except queue.Full:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        try:
            self.lost += self._blocks.get_nowait().shape[1]
        except queue.Empty:
            return

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._stream.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device."""
        self._stream.close()


def portaudio() -> ModuleType:
    """The sounddevice package, with its library behind it.

    Raises:
        MissingExtraError: it is not installed.
        DeviceError: it is, but PortAudio is not.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise MissingExtraError("sounddevice", extra="live", purpose="the microphone") from error
    except OSError as error:
        raise DeviceError(
            "the microphone needs PortAudio, which is not installed; on Debian and Ubuntu: sudo apt install "
            "libportaudio2; on Fedora: sudo dnf install portaudio; on macOS: brew install portaudio. Without it, sound "
            "can come through a pipe: see `unmingle stream --help`"
        ) from error
    return sounddevice


def input_devices() -> list[tuple[int, str, int, int]]:
    """Number, name, channels and usual sample rate of every device that can listen.

    Raises:
        MissingExtraError, DeviceError: see `portaudio`.
    """
    devices: Any = portaudio().query_devices()
    return [
        (number, str(one["name"]), int(one["max_input_channels"]), round(one["default_samplerate"]))
        for number, one in enumerate(devices)
        if one["max_input_channels"] > 0
    ]
