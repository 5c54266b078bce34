"""Tasks of asyncio that wait for the events of a channel."""

from __future__ import annotations

import asyncio
import time

import pytest
from support import PATIENCE

from sse_client import ChannelClosed, IncomingChannel, ServerSentEvent
from sse_client.channel.waiting import WaitList


def events(*data: str) -> list[ServerSentEvent]:
    return [ServerSentEvent(each) for each in data]


async def all_of(channel: IncomingChannel) -> list[str]:
    return [event.data async for event in channel]


async def until(is_due) -> None:
    """Let the loop run until other tasks have made a condition true."""
    deadline = time.monotonic() + PATIENCE
    while not is_due():  # no hook reports it
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0)


@pytest.fixture(params=["with a global lock", "without one"])
def channel(request, monkeypatch):
    monkeypatch.setattr(
        "sse_client.channel.incoming.HAS_GIL", request.param == "with a global lock"
    )
    return IncomingChannel(capacity=64)


def test_a_task_takes_what_is_there_and_stops_at_the_end(channel):
    channel.offer(events("a", "b"), 20)
    channel.end()
    assert asyncio.run(all_of(channel)) == ["a", "b"]


def test_a_task_waits_while_the_loop_goes_on(channel):
    async def main():
        consumer = asyncio.ensure_future(all_of(channel))
        await until(lambda: len(channel._takers.wakes))
        await asyncio.to_thread(channel.offer, events("a"), 10)
        await until(lambda: not channel.qsize() and len(channel._takers.wakes))
        await asyncio.to_thread(channel.end)
        return await consumer

    assert asyncio.run(main()) == ["a"]


def test_the_error_comes_after_the_last_event(channel):
    channel.offer(events("a"), 10)
    channel.end(LookupError("lost"))

    async def main():
        assert (await anext(channel)).data == "a"
        with pytest.raises(LookupError, match="lost"):
            await anext(channel)

    asyncio.run(main())


def test_many_tasks_share_the_events(channel):
    async def main():
        consumers = [asyncio.ensure_future(all_of(channel)) for _ in range(5)]
        await until(lambda: len(channel._takers.wakes) == 5)

        def produce():
            for number in range(0, 1000, 10):
                rest = events(*(str(number + offset) for offset in range(10)))
                while rest := channel.offer(rest, 10):
                    channel.room.wait(PATIENCE)
            channel.end()

        await asyncio.to_thread(produce)
        return [each for consumer in consumers for each in await consumer]

    assert sorted(asyncio.run(main()), key=int) == [str(number) for number in range(1000)]


@pytest.mark.parametrize("is_woken", [False, True], ids=["waiting", "woken"])
def test_a_cancelled_task_loses_no_event(channel, is_woken):
    async def main():
        first = asyncio.ensure_future(anext(channel))
        await until(lambda: len(channel._takers.wakes) == 1)
        second = asyncio.ensure_future(anext(channel))
        await until(lambda: len(channel._takers.wakes) == 2)
        if is_woken:
            channel.offer(events("a"), 10)
        first.cancel()
        if not is_woken:
            await until(first.done)
            channel.offer(events("a"), 10)
        with pytest.raises(asyncio.CancelledError):
            await first
        event = await asyncio.wait_for(second, PATIENCE)
        assert not len(channel._takers.wakes)
        return event.data

    assert asyncio.run(main()) == "a"


def test_an_event_that_comes_just_before_a_task_waits_is_noticed(channel):
    class Late(WaitList):
        def join(self, wake):
            channel.offer(events("a"), 10)  # no task waits yet
            super().join(wake)

    takers = channel._takers = Late(channel._mutex)

    async def main():
        return await asyncio.wait_for(anext(channel), PATIENCE)

    assert asyncio.run(main()).data == "a"
    assert not takers.wakes


def test_a_task_whose_loop_was_closed_is_passed_over(channel):
    loop = asyncio.new_event_loop()
    waiting = anext(channel)
    task = loop.create_task(waiting)
    loop.run_until_complete(asyncio.sleep(0))
    assert len(channel._takers.wakes) == 1
    loop.close()
    channel.offer(events("a"), 10)
    assert channel.get_nowait().data == "a"
    task._log_destroy_pending = False
    waiting.close()


def test_a_thread_and_a_task_wait_for_the_same_channel(channel):
    async def main():
        task = asyncio.ensure_future(all_of(channel))
        thread = asyncio.ensure_future(asyncio.to_thread(list, channel))
        await until(lambda: len(channel._takers.wakes) == 2)
        channel.offer(events(*"abcdef"), 10)
        channel.end()
        return [*await task, *(event.data for event in await thread)]

    assert sorted(asyncio.run(main())) == list("abcdef")


def test_a_backlog_does_not_keep_the_loop_from_other_tasks():
    channel = IncomingChannel()
    channel.offer(events(*map(str, range(1000))), 1000)
    channel.end()

    async def main():
        turns = 0

        async def count_turns():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.ensure_future(count_turns())
        await all_of(channel)
        other.cancel()
        return turns

    assert asyncio.run(main()) >= 10


def test_anext_at_the_end_stops_and_get_says_why(channel):
    channel.end()

    async def main():
        with pytest.raises(StopAsyncIteration):
            await anext(channel)

    asyncio.run(main())
    with pytest.raises(ChannelClosed):
        channel.get()
