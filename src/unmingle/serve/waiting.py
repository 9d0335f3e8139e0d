"""What one stream has received and not yet separated: in order, bounded, with a policy.

    put -> [sound] [sound] [flush] [sound] ... -> take

Full, the queue either lets `put` wait, which stops the reading from the socket and so holds the sender back; or it
drops all the sound that waits and leaves a `Gap` in its place, so that the client can be told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from unmingle.serve.hello import Command, WhenLate

_MOST_ITEMS = 64  # beside which no command waits


@dataclass(frozen=True)
class Gap:
    """Samples that were dropped here."""

    samples: int


class End:
    """Nothing follows."""


Item = bytes | Gap | Command | End


class Waiting:
    """The queue of one stream; for one putter and one taker, in one event loop."""

    def __init__(self, *, width: int, limit: int, piece: int, when_late: WhenLate) -> None:
        """Prepare an empty queue.

        Args:
            width: bytes of a sample.
            limit: samples that may wait.
            piece: samples that `take` hands out at once, at most.
            when_late: what a full queue does.
        """
        self._width, self._limit, self._piece = width, limit, piece
        self._drop = when_late == "drop"
        self._items: deque[Item] = deque()
        self._samples = 0
        self._in_work = False
        self._changed = asyncio.Condition()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing that was taken is still worked on."""
        return not self._items and not self._in_work

    def done(self) -> None:
        """What was taken last is dealt with."""
        self._in_work = False

    async def put_sound(self, data: bytes) -> None:
        """Append whole samples."""
        samples = len(data) // self._width
        async with self._changed:
            if self._drop and self._samples + samples > self._limit:
                self._drop_sound()
            await self._changed.wait_for(lambda: self._samples < self._limit)
            self._items.append(data)
            self._samples += samples
            self._changed.notify_all()

    async def put(self, item: Command) -> None:
        """Append a command; there is room for some."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) < _MOST_ITEMS)
            self._items.append(item)
            self._changed.notify_all()

    async def end(self) -> None:
        """Append the end, for which there is always room."""
        async with self._changed:
            self._items.append(End())
            self._changed.notify_all()

    async def take(self) -> Item:
        """The next item; neighbouring sound comes together, up to a piece, which is cheaper to separate."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            item = self._items.popleft()
            self._in_work = True
            if isinstance(item, bytes):
                item = self._take_piece(item)
                self._samples -= len(item) // self._width
            self._changed.notify_all()
            return item

    def _take_piece(self, first: bytes) -> bytes:
        parts, size, wanted = [first], len(first), self._piece * self._width
        while size < wanted and self._items and isinstance(self._items[0], bytes):
            more = self._items.popleft()
            assert isinstance(more, bytes)
            parts.append(more)
            size += len(more)
        joined = b"".join(parts)
        if size > wanted:
            self._items.appendleft(joined[wanted:])
        return joined[:wanted]

    def _drop_sound(self) -> None:
        kept: deque[Item] = deque()
        gap = 0
        for item in self._items:
            if isinstance(item, bytes):
                gap += len(item) // self._width
            elif isinstance(item, Gap):
                gap += item.samples
            else:
                kept.extend([Gap(gap), item] if gap else [item])
                gap = 0
        self._items = kept
        if gap:
            self._items.append(Gap(gap))
        self._samples = 0
