"""Putting events into the channel: which bytes are counted, and when."""

from __future__ import annotations

from support import PATIENCE, Running, Signal, fill, sse_client_for_tests

from sse_client import IncomingChannel, ServerSentEvent
from sse_client.clock import SYSTEM_CLOCK
from sse_client.session.delivery import Delivery
from sse_client.session.state import StreamState
from sse_client.session.statistics import Statistics
from sse_client.session.time_limits import Timekeeper, TimeLimits


def test_the_bytes_of_a_batch_with_room_for_a_part_of_it_are_counted_once():
    channel = IncomingChannel(capacity=2, capacity_bytes=100)
    timekeeper = Timekeeper(TimeLimits(), SYSTEM_CLOCK, "127.0.0.1")
    delivery = Delivery(
        channel,
        StreamState(channel.room),
        Statistics(),
        timekeeper,
        SYSTEM_CLOCK,
        is_end=None,
        is_error=None,
    )
    delivery.undelivered_bytes = 60
    assert delivery.deliver([ServerSentEvent(each) for each in "abc"]) is False
    assert delivery.rest
    assert channel.get().data == "a"
    # If they were counted twice, there would be no room for the last event before the second is
    # taken.
    delivery.put_rest()
    assert not delivery.rest
    assert [channel.get_nowait().data for _ in range(2)] == ["b", "c"]


def test_all_the_bytes_of_an_event_are_counted_whatever_chunks_it_came_in(server):
    commented = Signal()
    options = {"overflow": "drop_newest", "capacity_bytes": 1000, "reconnect": "never"}
    with sse_client_for_tests(on_comment=commented, **options) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.write(b": the first chunk\ndata: " + b"x" * 600)
        commented.await_()
        exchange.write(b"\n\n")
        session = opening.outcome()
        fill(session.incoming, 1)
        exchange.write(b"data: " + b"y" * 500 + b"\n\n")
        exchange.end()
        session._reader.join(PATIENCE)
        assert [event.data for event in session.incoming] == ["x" * 600]
        assert session.statistics.dropped == 1
