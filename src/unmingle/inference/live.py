"""A live stream from its source to its sink, with an eye on the clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from unmingle.audio.framing import Samples
from unmingle.audio.levels import unusable
from unmingle.inference.stream import Stream

_REMEMBERED = 20_000  # latest blocks that the percentiles are taken over
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
    """Push every block, hand on what comes out, and flush at the end. Ctrl-C ends the sound, not the work.

    Args:
        stream: a fresh stream.
        blocks: (channels, time); several channels are averaged.
        sink: takes (n_src, time).
        timed: whether sound comes at its own speed, so that its lag can be told.
        clock: seconds, ever growing.
    """
    report = LiveReport(stream.latency_seconds, stream.sample_rate)
    began = 0.0
    try:
        for block in blocks:
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
    except KeyboardInterrupt:
        report.interrupted = True
    sink(stream.flush())
    return report


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
    bad = unusable(mono)
    if bad.any():
        report.replaced += int(bad.sum())
        mono = np.where(bad, np.float32(0), mono)
    return mono
