"""Taking several events at once."""

from __future__ import annotations

import queue

import pytest
from support import PATIENCE, Running

from sse_client import ChannelClosed, DeserializationError, IncomingChannel, ServerSentEvent
from sse_client.cursors.keeper import PositionKeeper
from sse_client.typed.channel import TypedChannel


def events(*data: str) -> list[ServerSentEvent]:
    return [ServerSentEvent(each, id=each) for each in data]


def data(batch: list[ServerSentEvent]) -> list[str]:
    return [event.data for event in batch]


@pytest.fixture(params=["with a global lock", "without one"], autouse=True)
def interpreter(request, monkeypatch):
    monkeypatch.setattr(
        "sse_client.channel.incoming.HAS_GIL", request.param == "with a global lock"
    )


def test_a_batch_has_what_has_arrived_up_to_its_maximum():
    channel = IncomingChannel()
    channel.offer(events(*"abcde"), 50)
    assert data(channel.get_batch(3)) == ["a", "b", "c"]
    assert data(channel.get_batch(3, timeout=0)) == ["d", "e"]


def test_a_batch_waits_for_its_first_event():
    channel = IncomingChannel()
    taking = Running(lambda: channel.get_batch(3, timeout=PATIENCE))
    channel.offer(events("a"), 10)
    assert data(taking.outcome()) == ["a"]
    with pytest.raises(queue.Empty):
        channel.get_batch(3, timeout=0.001)


def test_the_end_comes_after_the_last_batch():
    channel = IncomingChannel()
    channel.offer(events("a"), 10)
    channel.end()
    assert data(channel.get_batch(3)) == ["a"]
    with pytest.raises(ChannelClosed):
        channel.get_batch(3)


def test_taking_a_batch_makes_room():
    channel = IncomingChannel(capacity=2)
    rest = channel.offer(events("a", "b", "c"), 30)
    assert len(channel.get_batch(2)) == 2
    channel.room.wait()
    assert channel.offer(rest, 0) == ()


@pytest.mark.parametrize(
    ("max_events", "error", "message"),
    [
        (0, ValueError, "max_events must be at least 1, not 0"),
        (2.0, TypeError, "max_events must be an int, not float"),
        (True, TypeError, "max_events must be an int, not bool"),
    ],
)
def test_a_wrong_maximum_is_refused(max_events, error, message):
    with pytest.raises(error, match=message):
        IncomingChannel().get_batch(max_events)


class Kept:
    """A cursor in memory."""

    def __init__(self) -> None:
        self.saved: list[str] = []

    def load(self) -> None:
        return None

    def save(self, event_id: str) -> None:
        self.saved.append(event_id)

    def close(self) -> None:
        pass


def kept_channel(kind=IncomingChannel, **arguments):
    channel, cursor = kind(**arguments), Kept()
    channel.keep_position(PositionKeeper(cursor))
    channel.keeper.load("")
    return channel, cursor


def test_a_batch_is_acknowledged_as_a_whole_when_its_thread_comes_back():
    channel, cursor = kept_channel()
    channel.offer(events(*"abcde"), 50)
    channel.get_batch(3)
    assert cursor.saved == []
    channel.get_batch(1)
    assert cursor.saved == ["c"]
    assert data(channel.get_batch(5)) == ["e"]
    with pytest.raises(queue.Empty):
        channel.get_batch(5, timeout=0)
    assert cursor.saved == ["c", "d", "e"]
    channel.close()


def test_a_typed_batch_ends_before_an_event_that_cannot_be_decoded():
    def decode(event):
        if event.data == "c":
            raise DeserializationError("no letter", event=event)
        return event.data

    channel, cursor = kept_channel(
        TypedChannel, decode=decode, capacity=9, capacity_bytes=999, overflow="block"
    )
    channel.offer(events(*"abcde"), 50)
    assert channel.get_batch(9) == ["a", "b"]
    with pytest.raises(DeserializationError, match="no letter"):
        channel.get_batch(9)
    assert cursor.saved == []
    assert channel.get_batch(9) == ["d", "e"]
    assert cursor.saved == ["c"]
    channel.close()


@pytest.mark.parametrize("take", ["get", "__next__"])
def test_the_next_call_of_the_thread_raises_what_ended_its_batch(take):
    def decode(event):
        if event.data == "b":
            raise DeserializationError("no letter", event=event)
        return event.data

    channel = TypedChannel(decode, 9, 999, "block")
    channel.offer(events(*"abc"), 50)
    assert channel.get_batch(9) == ["a"]
    assert Running(channel.get).outcome() == "c", "another thread's calls are not concerned"
    with pytest.raises(DeserializationError, match="no letter"):
        getattr(channel, take)()
