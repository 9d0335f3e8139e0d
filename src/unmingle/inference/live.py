"""A live stream from its source to its sink, with an eye on the clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.audio.levels import silenced
from unmingle.errors import OutputError, UnmingleError
from unmingle.inference.pauses import Pauses
from unmingle.inference.stream import Stream

_REMEMBERED = 20_000  # latest blocks that the percentiles are taken over
LONGEST_TRACK = 975_000_000
"""Samples that surely fit in a WAV file of 4 GB: one that clips has 4 bytes each."""

Sink = Callable[[Samples], None]
Clock = Callable[[], float]


@dataclass
class LiveReport:
    """How a live stream went.

    Attributes:
        latency_seconds: algorithmic, see `Stream.latency_seconds`.
        samples: how many came.
        sample_rate: Hz.
        busy_seconds: spent computing.
        replaced: samples that were NaN, infinite or beyond all levels and counted as silence.
        interrupted: ended by Ctrl-C rather than by its source.
        failure: what ended the source, if that was an error.
        block_seconds: computing time of the latest blocks.
        lag_seconds: for the latest blocks that brought something out, how long ago the newest sample that came out had
            come in; empty where sound does not come at the speed of sound.
    """

    latency_seconds: float
    sample_rate: int
    samples: int = 0
    busy_seconds: float = 0.0
    replaced: int = 0
    interrupted: bool = False
    failure: UnmingleError | None = None
    block_seconds: deque[float] = field(default_factory=lambda: deque[float](maxlen=_REMEMBERED))
    lag_seconds: deque[float] = field(default_factory=lambda: deque[float](maxlen=_REMEMBERED))

    @property
    def seconds(self) -> float:
        """Sound that came."""
        return self.samples / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Computing time over sound."""
        return self.busy_seconds / self.seconds if self.samples else 0.0


def run_live(
    stream: Stream,
    blocks: Iterable[Samples],
    sink: Sink,
    *,
    timed: bool,
    clock: Clock = time.monotonic,
) -> LiveReport:
    """Push every block, hand on what comes out, and flush at the end.

    Ctrl-C ends the sound, not the work: it counts while the next block is waited for, so that the sink gets every block
    whole. A second one ends at once. A source that fails ends the sound likewise; the report says how.

    Args:
        stream: a fresh stream.
        blocks: (channels, time); several channels are averaged.
        sink: takes (n_src, time).
        timed: whether sound comes at its own speed, so that its lag can be told.
        clock: seconds, ever growing.

    Raises:
        UnmingleError: the source failed before anything came.
    """
    report = LiveReport(stream.latency_seconds, stream.sample_rate)
    source, began = iter(blocks), 0.0
    with Pauses() as pauses:
        while (block := _next(source, pauses, report)) is not None:
            arrived = clock()
            if report.samples == 0:
                began = arrived - block.shape[1] / stream.sample_rate
            out = stream.push(_one_channel(block, report))
            report.samples += block.shape[1]
            report.busy_seconds += clock() - arrived
            report.block_seconds.append(clock() - arrived)
            sink(out)
            if timed and out.shape[1]:
                report.lag_seconds.append(clock() - began - stream.state.given / stream.sample_rate)
        if report.failure is not None and not report.samples:
            raise report.failure
        sink(stream.flush())
    return report


def _next(source: Iterator[Samples], pauses: Pauses, report: LiveReport) -> Samples | None:
    """The next block; None at the end, and the report says why."""
    try:
        return pauses.during(lambda: next(source, None))
    except KeyboardInterrupt:
        report.interrupted = True
    except UnmingleError as error:
        report.failure = error
    return None


def fitting(blocks: Iterable[Samples], sample_rate: int, *, longest: int = LONGEST_TRACK) -> Iterator[Samples]:
    """Blocks of a sound of unknown length, as many as fit in WAV files.

    Raises:
        OutputError: instead of the block that no longer fits.
    """
    samples = 0
    for block in blocks:
        samples += block.shape[1]
        if samples > longest:
            raise OutputError(
                f"the tracks are full, as WAV files hold {longest / sample_rate / 3600:.1f} h at {sample_rate} Hz; "
                "begin another recording, or take raw samples from stdout, which have no end"
            )
        yield block


def pace(
    blocks: Iterable[Samples],
    sample_rate: int,
    *,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Samples]:
    """Blocks at the moment at which a microphone would have them: when their last sample has sounded."""
    began, samples = clock(), 0
    for block in blocks:
        samples += block.shape[1]
        wait = began + samples / sample_rate - clock()
        if wait > 0:
            sleep(wait)
        yield block


def _one_channel(block: Samples, report: LiveReport) -> Samples:
    mono = block[0] if block.shape[0] == 1 else block.mean(axis=0, dtype=np.float32)
    mono, replaced = silenced(mono)
    report.replaced += replaced
    return mono
