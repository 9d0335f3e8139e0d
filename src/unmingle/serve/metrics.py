"""What happened since the start, in the text form that Prometheus reads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

PREFIX = "unmingle_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS = {
    "streams_total": "Live streams that began.",
    "stream_refusals_total": "Live streams that were refused or broken off, by close code.",
    "stream_sound_seconds_total": "Sound that was separated live.",
    "stream_busy_seconds_total": "Time spent separating live sound.",
    "stream_dropped_seconds_total": "Live sound that was dropped because it came faster than it was separated.",
    "separations_total": "Recordings, by how they ended: done, failed, abandoned or refused.",
    "separation_sound_seconds_total": "Sound in the recordings that were separated.",
    "separation_busy_seconds_total": "Time spent separating recordings.",
}
_BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024)
_HISTOGRAM = "stream_block_seconds"

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, gauges that are asked when they are read, and one histogram. Any thread may count."""

    def __init__(self) -> None:
        """Everything is zero."""
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {name: defaultdict(float) for name in _COUNTERS}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._sum = 0.0

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name][tuple(sorted(labels.items()))] += amount

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Show a number as it is whenever somebody looks."""
        self._gauges[name] = (about, value)

    def observe_block(self, seconds: float) -> None:
        """Note how long one piece of live sound took."""
        with self._lock:
            self._buckets[bisect_left(_BUCKETS, seconds)] += 1
            self._sum += seconds

    def render(self) -> str:
        """All of it, one number a line."""
        with self._lock:
            return "\n".join([*self._counter_lines(), *self._gauge_lines(), *self._histogram_lines(), ""])

    def _counter_lines(self) -> Iterator[str]:
        for name, about in _COUNTERS.items():
            yield from _head(name, "counter", about)
            for labels, value in (self._counts[name] or {(): 0.0}).items():
                yield f"{PREFIX}{name}{_braces(labels)} {value:g}"

    def _gauge_lines(self) -> Iterator[str]:
        for name, (about, value) in self._gauges.items():
            yield from _head(name, "gauge", about)
            yield f"{PREFIX}{name} {value():g}"

    def _histogram_lines(self) -> Iterator[str]:
        yield from _head(_HISTOGRAM, "histogram", "How long one piece of live sound took to separate.")
        total = 0
        for edge, count in zip((*map(str, _BUCKETS), "+Inf"), self._buckets, strict=True):
            total += count
            yield f'{PREFIX}{_HISTOGRAM}_bucket{{le="{edge}"}} {total}'
        yield f"{PREFIX}{_HISTOGRAM}_sum {self._sum:g}"
        yield f"{PREFIX}{_HISTOGRAM}_count {total}"


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {PREFIX}{name} {about}", f"# TYPE {PREFIX}{name} {kind}"]


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else ""
