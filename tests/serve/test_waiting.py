"""The queue of a stream: in order, bounded, and nothing lost without a word."""

import asyncio

from unmingle.serve.waiting import End, Gap, Waiting


def queue(*, limit=10, piece=4, when_late="wait"):
    return Waiting(width=2, limit=limit, piece=piece, when_late=when_late)


def test_sound_comes_out_in_order_and_in_pieces_and_never_across_a_command():
    async def work():
        waiting = queue()
        for item in (b"aabb", b"cc", b"ddeeff"):
            await waiting.put_sound(item)
        await waiting.put("flush")
        await waiting.put_sound(b"gg")
        return [await waiting.take() for _ in range(4)]

    assert asyncio.run(work()) == [b"aabbccdd", b"eeff", "flush", b"gg"]


def test_a_full_queue_lets_the_sender_wait():
    async def work():
        waiting = queue(limit=2)
        await waiting.put_sound(b"aabb")
        more = asyncio.create_task(waiting.put_sound(b"cc"))
        await asyncio.sleep(0)
        assert not more.done()
        assert await waiting.take() == b"aabb"
        await more
        return await waiting.take()

    assert asyncio.run(work()) == b"cc"


def test_or_it_drops_all_sound_that_waits_and_says_where_and_how_much():
    async def work():
        waiting = queue(limit=2, when_late="drop")
        for item in (b"aa", b"bb", b"cc", b"dd", b"ee"):
            await waiting.put_sound(item)
        await waiting.put("reset")
        await waiting.put_sound(b"ffgg")
        await waiting.end()
        return [await waiting.take() for _ in range(4)]

    gap, reset, sound, *_ = items = asyncio.run(work())
    assert (gap, reset, sound) == (Gap(5), "reset", b"ffgg")
    assert isinstance(items[3], End)


def test_commands_do_not_pile_up_either_but_the_end_always_fits():
    async def work():
        waiting = queue()
        flood = asyncio.create_task(flooding(waiting))
        await asyncio.sleep(0.01)
        assert not flood.done()
        flood.cancel()
        await waiting.end()
        taken = 1
        while not isinstance(await waiting.take(), End):
            taken += 1
        return taken

    assert asyncio.run(work()) <= 65


async def flooding(waiting):
    for _ in range(1000):
        await waiting.put("reset")


def test_it_is_idle_only_when_what_was_taken_is_dealt_with():
    async def work():
        waiting = queue()
        assert waiting.idle
        await waiting.put("flush")
        assert not waiting.idle
        await waiting.take()
        assert not waiting.idle
        waiting.done()
        assert waiting.idle

    asyncio.run(work())
