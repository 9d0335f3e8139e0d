"""The one way from a recording to its tracks, for arrays and for files, in bounded memory.

    blocks -> one channel -> model's rate -> windows through the network -> recording's rate -> finished -> sink
                   |______________________ waits for its tracks ____________________________|

Every stage after the first cuts its own pieces, so the result does not depend on the size of the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from unmingle.audio.framing import SampleQueue, Samples, fit_length
from unmingle.audio.levels import gain_from_db, power_dbfs
from unmingle.audio.resample import StreamResampler
from unmingle.audio.survey import Downmix, Survey
from unmingle.errors import CheckpointError
from unmingle.inference.finish import Finisher
from unmingle.inference.handle import Model
from unmingle.inference.report import Progress, SeparationOptions
from unmingle.inference.windows import WindowedSeparation

BLOCK_SECONDS = 2.0
"""How much is read at once."""

_LARGEST_GAIN_DB = 40.0

Sink = Callable[[Samples], None]
"""Takes finished (n_out, time) pieces in order."""


@dataclass(frozen=True)
class Measures:
    """What was measured on the way, one value per track (the residual, when kept, is last in `levels_dbfs`)."""

    levels_dbfs: list[float]
    active_seconds: list[float]
    active_powers: list[float]
    confidence: list[float | None]


def run(
    model: Model,
    blocks: Iterable[Samples],
    recording: Survey,
    downmix: Downmix,
    options: SeparationOptions,
    *,
    sink: Sink,
    progress: Progress | None = None,
    second_look: bool = True,
) -> Measures:
    """Separate one recording.

    Args:
        model: the network with its rate.
        blocks: (channels, time) pieces at the recording's rate.
        recording: what the survey of the same blocks found.
        downmix: how channels become one.
        options: how to separate.
        sink: gets exactly `recording.n_samples` samples of every track.
        progress: called after every window.
        second_look: spend half as much again on a recording of one window, to know the confidence.
    """
    pipeline = _Pipeline(model, recording, downmix, options, second_look=second_look)
    for block in blocks:
        for piece in pipeline.push(downmix(block)):
            sink(piece)
            if progress is not None:
                progress(pipeline.n_given / recording.sample_rate, recording.n_samples / recording.sample_rate)
    sink(pipeline.finish())
    if progress is not None:
        progress(recording.n_samples / recording.sample_rate, recording.n_samples / recording.sample_rate)
    return pipeline.measures()


def level_gains(measures: Measures, options: SeparationOptions, *, n_tracks: int) -> list[float]:
    """What each track is multiplied with so that its active parts have the level asked for; the residual stays."""
    gains = [1.0] * n_tracks
    if options.level_dbfs is not None:
        for track, power in enumerate(measures.active_powers):
            if power > 0.0:
                gains[track] = gain_from_db(min(options.level_dbfs - power_dbfs(power), _LARGEST_GAIN_DB))
    return gains


class _Pipeline:
    def __init__(
        self, model: Model, recording: Survey, downmix: Downmix, options: SeparationOptions, *, second_look: bool
    ) -> None:
        rate = recording.sample_rate
        self._model, self._n_samples = model, recording.n_samples
        self._down = StreamResampler(rate, model.sample_rate, 1)
        self._up = StreamResampler(model.sample_rate, rate, model.n_src)
        self._windows = WindowedSeparation(
            self._run_network,
            n_src=model.n_src,
            sample_rate=model.sample_rate,
            options=options,
            second_look=second_look,
        )
        self._finisher = Finisher(
            model.n_src,
            rate,
            speech_power=downmix.speech_power,
            keep_residual=options.keep_residual,
            gate=options.gate,
        )
        self._waiting = SampleQueue()
        self._n_matched = 0
        self.n_given = 0

    def push(self, mixture: Samples) -> list[Samples]:
        """(time,) of the recording -> finished pieces, one per window."""
        self._waiting.put(mixture)
        heard = self._down.push(mixture[np.newaxis])[0]
        return [self._finish_piece(self._up.push(tracks)) for tracks in self._windows.push(heard)]

    def finish(self) -> Samples:
        """The rest."""
        heard = self._down.push(np.zeros((1, 0), np.float32), last=True)[0]
        rest = np.concatenate(self._windows.push(heard, last=True), axis=1)
        tracks = fit_length(self._up.push(rest, last=True), self._n_samples - self._n_matched)
        finished = self._finisher.push(tracks, self._waiting.take(tracks.shape[1]), last=True)
        return fit_length(finished, self._n_samples - self.n_given)

    def measures(self) -> Measures:
        return Measures(
            self._finisher.levels_dbfs(),
            self._finisher.active_seconds(),
            self._finisher.active_powers(),
            self._windows.agreement.confidence(),
        )

    def _finish_piece(self, tracks: Samples) -> Samples:
        self._n_matched += tracks.shape[1]
        finished = self._finisher.push(tracks, self._waiting.take(tracks.shape[1]))
        self.n_given += finished.shape[1]
        return finished

    def _run_network(self, mixture: Samples) -> Samples:
        estimates = self._model.run(mixture)
        wanted = (mixture.shape[0], self._model.n_src, mixture.shape[1])
        if estimates.shape != wanted:
            raise CheckpointError(f"{self._model.name} gave {estimates.shape} where {wanted} was wanted")
        return estimates
