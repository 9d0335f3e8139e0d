"""The one way from a recording to its tracks, for arrays and for files, in bounded memory.

    listen     blocks -> one channel -> model's rate -> windows through the network -> store
    hand_out   store -> voices -> recording's rate -> finished with the recording's samples -> sink

In between it is decided which voice each track is (`identity.py`), with the whole recording in view. Every stage cuts
its own pieces, so the result does not depend on the size of the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from unmingle.audio.framing import SampleQueue, Samples, fit_length
from unmingle.audio.levels import gain_from_db, power_dbfs
from unmingle.audio.resample import StreamResampler
from unmingle.audio.survey import Downmix, Survey
from unmingle.errors import CheckpointError
from unmingle.inference.finish import Finisher
from unmingle.inference.handle import Model
from unmingle.inference.journal import Journal
from unmingle.inference.report import Progress, SeparationOptions
from unmingle.inference.routing import Routing
from unmingle.inference.store import TrackStore
from unmingle.inference.windows import WindowedSeparation

BLOCK_SECONDS = 2.0
"""How much is read at once."""

LISTENING, DECIDING = 0.9, 0.06
"""Shares of the time that the network takes, and what lies between the two passes."""

_LARGEST_GAIN_DB = 40.0
LARGEST_TRUE_PEAK_DB = -1.0
"""Above it a track is not raised for the sake of its loudness (EBU R 128)."""


class Sink(Protocol):
    """Takes finished (n_out, time) pieces in order."""

    def __call__(self, piece: Samples, /) -> None:
        """Take one piece."""
        ...


@dataclass(frozen=True)
class Heard:
    """What the network made of a recording.

    Attributes:
        store: its tracks, at its rate.
        sample_rate: that rate.
        confidence: agreement of neighbouring windows, per track.
    """

    store: TrackStore
    sample_rate: int
    confidence: list[float | None]


@dataclass(frozen=True)
class Measures:
    """What was measured on the way, one value per voice (the residual, when kept, is last in `levels_dbfs`)."""

    levels_dbfs: list[float]
    active_seconds: list[float]
    active_powers: list[float]
    loudness: list[tuple[float | None, float]]  # LUFS and true peak, where a loudness was asked for


def listen(
    model: Model,
    blocks: Iterable[Samples],
    recording: Survey,
    downmix: Downmix,
    options: SeparationOptions,
    *,
    store: TrackStore,
    progress: Progress | None = None,
    second_look: bool = True,
    journal: Journal | None = None,
) -> Heard:
    """Run the network over one recording.

    Args:
        model: the network with its rate.
        blocks: (channels, time) pieces at the recording's rate.
        recording: what the survey of the same blocks found.
        downmix: how channels become one.
        options: how to separate.
        store: gets the tracks.
        progress: called after every window.
        second_look: spend half as much again on a recording of one window, to know the confidence.
        journal: is told after every window how far it came; what it says of an earlier run is not done again.
    """
    down = StreamResampler(recording.sample_rate, model.sample_rate, 1)
    windows = WindowedSeparation(
        lambda mixture: _run_network(model, mixture),
        n_src=model.n_src,
        sample_rate=model.sample_rate,
        options=options,
        second_look=second_look,
    )
    if journal is not None and journal.state is not None:
        windows.restore(journal.state)
    total = recording.n_samples / recording.sample_rate

    def tell() -> None:
        if progress is not None:
            progress(LISTENING * min(store.n_samples / model.sample_rate, total), total)

    tell()
    known = windows.end  # samples that an earlier run has pushed
    for block in blocks:
        heard = down.push(downmix(block)[np.newaxis])[0]
        known, heard = max(0, known - heard.shape[0]), heard[known:]
        for tracks in (ready := windows.push(heard)):
            store.append(tracks)
            tell()
        if ready and journal is not None:
            journal.save(windows.state())
    rest = down.push(np.zeros((1, 0), np.float32), last=True)[0]
    for tracks in windows.push(rest[known:], last=True):
        store.append(tracks)
    return Heard(store, model.sample_rate, windows.agreement.confidence())


def hand_out(
    blocks: Iterable[Samples],
    heard: Heard,
    routing: Routing,
    recording: Survey,
    downmix: Downmix,
    options: SeparationOptions,
    *,
    sink: Sink,
    progress: Progress | None = None,
) -> Measures:
    """Bring the tracks to their voices, to the recording's rate and to its levels.

    Args:
        blocks: the recording once more, (channels, time) pieces at its rate.
        heard: what `listen` gave.
        routing: which voice gets which track.
        recording: what the survey of the same blocks found.
        downmix: how channels become one.
        options: how to separate.
        sink: gets exactly `recording.n_samples` samples of every voice.
        progress: called after every piece.
    """
    up = StreamResampler(heard.sample_rate, recording.sample_rate, routing.n_out)
    finisher = Finisher(
        routing.n_out,
        recording.sample_rate,
        speech_power=downmix.speech_power,
        heard_hz=heard.sample_rate / 2,
        keep_residual=options.keep_residual,
        gate=options.gate,
        loudness=options.loudness_lufs is not None,
    )
    mixture = _Mixture(blocks, downmix)
    n_samples, seconds = recording.n_samples, recording.n_samples / recording.sample_rate
    start, done, given = 0, 0, 0
    for tracks in heard.store.pieces(round(BLOCK_SECONDS * heard.sample_rate)):
        voices = up.push(routing(tracks, start=start))[:, : n_samples - done]
        start, done = start + tracks.shape[1], done + voices.shape[1]
        finished = finisher.push(voices, mixture.take(voices.shape[1]))
        given += finished.shape[1]
        sink(finished)
        if progress is not None:
            before = LISTENING + DECIDING
            progress(seconds * (before + (1 - before) * given / n_samples), seconds)
    rest = fit_length(up.push(np.zeros((routing.n_out, 0), np.float32), last=True), n_samples - done)
    finished = finisher.push(rest, mixture.take(rest.shape[1]), last=True)
    sink(fit_length(finished, n_samples - given))
    if progress is not None:
        progress(seconds, seconds)
    return Measures(finisher.levels_dbfs(), finisher.active_seconds(), finisher.active_powers(), finisher.loudness())


def level_gains(measures: Measures, options: SeparationOptions) -> list[float]:
    """What each track is multiplied with so that it has the level or loudness asked for; the residual stays."""
    gains = [1.0] * len(measures.levels_dbfs)
    if options.level_dbfs is not None:
        for track, power in enumerate(measures.active_powers):
            if power > 0.0:
                gains[track] = gain_from_db(min(options.level_dbfs - power_dbfs(power), _LARGEST_GAIN_DB))
    if options.loudness_lufs is not None:
        for track, (lufs, true_peak) in enumerate(measures.loudness):
            if lufs is not None:
                wanted = gain_from_db(min(options.loudness_lufs - lufs, _LARGEST_GAIN_DB))
                gains[track] = min(wanted, gain_from_db(LARGEST_TRUE_PEAK_DB) / max(true_peak, 1e-9))
    return gains


def missed_loudness(
    measures: Measures, options: SeparationOptions, gains: Sequence[float], *, names: Sequence[str]
) -> list[str]:
    """Which tracks did not get the loudness asked for, one sentence each."""
    sentences: list[str] = []
    for (lufs, _), gain, name in zip(measures.loudness, gains, names, strict=False):
        reached = None if lufs is None else lufs + 20.0 * math.log10(gain)
        if reached is not None and options.loudness_lufs is not None and reached < options.loudness_lufs - 0.1:
            sentences.append(
                f"{name} has {reached:.1f} LUFS instead of {options.loudness_lufs:g}: louder, it would exceed a true "
                f"peak of {LARGEST_TRUE_PEAK_DB:g} dB, or be raised by more than {_LARGEST_GAIN_DB:g} dB"
            )
    return sentences


class _Mixture:
    """The recording as one channel, taken in any sizes."""

    def __init__(self, blocks: Iterable[Samples], downmix: Downmix) -> None:
        self._blocks, self._downmix = iter(blocks), downmix
        self._queue = SampleQueue()
        self._waiting = 0

    def take(self, length: int) -> Samples:
        """The next (length,) samples; zeros beyond the end."""
        while self._waiting < length and (block := next(self._blocks, None)) is not None:
            self._queue.put(self._downmix(block))
            self._waiting += block.shape[1]
        self._waiting = max(0, self._waiting - length)
        return fit_length(self._queue.take(length), length)


def _run_network(model: Model, mixture: Samples) -> Samples:
    estimates = model.run(mixture)
    wanted = (mixture.shape[0], model.n_src, mixture.shape[1])
    if estimates.shape != wanted:
        raise CheckpointError(f"{model.name} gave {estimates.shape} where {wanted} was wanted")
    return estimates
