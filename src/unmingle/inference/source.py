"""One recording on its way through the engine: looked through first, read again by each of the two passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unmingle.audio.formats import Subtype, choose_subtype
from unmingle.audio.io import AudioReader
from unmingle.audio.resample import StreamResampler, check_sample_rate
from unmingle.audio.survey import Downmix, Survey, plan_downmix, survey
from unmingle.inference import engine
from unmingle.inference.handle import Model
from unmingle.inference.journal import Journal
from unmingle.inference.report import Progress, SeparationOptions
from unmingle.inference.routing import Routing
from unmingle.inference.store import TrackStore

_BLOCK_VALUES = 1 << 21  # samples times channels that are read at once, at most


class Source:
    """A file that was looked through and can be separated."""

    recording: Survey
    downmix: Downmix
    subtype: Subtype

    def __init__(
        self, path: Path, model: Model, *, beyond: str = "is shared out by the treble that it does hear"
    ) -> None:
        """Look through a file from end to end.

        Args:
            path: the recording.
            model: what is to hear it.
            beyond: what becomes of the treble that the model does not hear, for the report.

        Raises:
            MissingFileError, AudioReadError: it is not there or not readable.
            SampleRateError, SignalError: its samples cannot be separated.
        """
        self.path = path
        self.reader = AudioReader(path)
        info = self.reader.info
        check_sample_rate(info.sample_rate, name=str(path))
        self._block = max(1, min(round(engine.BLOCK_SECONDS * info.sample_rate), _BLOCK_VALUES // info.channels))
        self.recording = survey(
            self.reader.blocks(self._block), sample_rate=info.sample_rate, channels=info.channels, name=str(path)
        )
        self.downmix = plan_downmix(self.recording)
        self.subtype = choose_subtype(info.subtype)
        self.conversions = [*_about_streams(info.n_streams), *self.reader.notes, *self.downmix.conversions]
        self.conversions += _about_rates(info.sample_rate, model.sample_rate, beyond)
        self._heard_rate = model.sample_rate

    def teller(self, progress: Progress | None) -> Callable[[float], None] | None:
        """What tells how far it is decided who is who."""
        if progress is None:
            return None
        seconds = self.seconds
        return lambda share: progress((engine.LISTENING + engine.DECIDING * share) * seconds, seconds)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.recording.n_samples / self.recording.sample_rate

    @property
    def warnings(self) -> list[str]:
        """What is doubtful about the recording itself, complete once it was read to its end."""
        return [*self.reader.doubts, *self.downmix.warnings]

    def resample(self, store: TrackStore) -> None:
        """Store the recording as the one channel that the model hears, at its rate."""
        down = StreamResampler(self.recording.sample_rate, self._heard_rate, 1)
        for block in self.reader.blocks(self._block):
            store.append(down.push(self.downmix(block)[np.newaxis]))
        store.append(down.push(np.zeros((1, 0), np.float32), last=True))

    def listen(
        self,
        model: Model,
        options: SeparationOptions,
        *,
        store: TrackStore,
        progress: Progress | None,
        journal: Journal | None = None,
    ) -> engine.Heard:
        """Let the network hear it; see `engine.listen`."""
        return engine.listen(
            model,
            self.reader.blocks(self._block),
            self.recording,
            self.downmix,
            options,
            store=store,
            progress=progress,
            journal=journal,
        )

    def hand_out(
        self,
        heard: engine.Heard,
        routing: Routing,
        options: SeparationOptions,
        *,
        sink: engine.Sink,
        progress: Progress | None,
    ) -> engine.Measures:
        """Give its tracks to a sink; see `engine.hand_out`."""
        return engine.hand_out(
            self.reader.blocks(self._block),
            heard,
            routing,
            self.recording,
            self.downmix,
            options,
            sink=sink,
            progress=progress,
        )


def _about_streams(n_streams: int) -> list[str]:
    return [f"took the first of {n_streams} sound tracks in the file"] if n_streams > 1 else []


def _about_rates(recorded: int, wanted: int, beyond: str) -> list[str]:
    """What changing the rate for the model means, in words."""
    if recorded == wanted:
        return []
    sentence = f"resampled from {recorded} to {wanted} Hz for the model, and its tracks back"
    if recorded > wanted:
        sentence += f"; what is above {wanted // 2} Hz, which it does not hear, {beyond}"
    return [sentence]
