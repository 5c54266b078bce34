"""Reading what was relayed, as a member of a consumer group."""

from __future__ import annotations

import threading
import time

import pytest
import redis.asyncio as library_of_asyncio
from numbered_server import wait_for
from support import Running

from sse_client import ServerSentEvent
from sse_client.relay import RelayError, incoming_from_redis

GROUP = "workers"


def write(redis, *numbers, stream="orders"):
    for number in numbers:
        fields = {"event": "message", "data": str(number), "id": f"n{number}", "source": "x"}
        redis.client.xadd(stream, fields)


def read(redis, **options):
    return incoming_from_redis(redis.url, "orders", **{"group": GROUP, **options})


def take(incoming, count):
    return [int(next(incoming).data) for _ in range(count)]


def pending(redis):
    return redis.client.xpending("orders", GROUP)["pending"]


def consumers(redis):
    return [each["name"].decode() for each in redis.client.xinfo_consumers("orders", GROUP)]


def test_the_events_are_those_of_the_stream(redis):
    redis.client.xadd("orders", {"event": "note", "data": "ä\nb", "id": "é 1", "source": "x"})
    with read(redis) as incoming:
        assert next(incoming) == ServerSentEvent("ä\nb", event="note", id="é 1")
        assert incoming.deliveries == 1


def test_an_event_is_acknowledged_when_its_consumer_comes_back(redis):
    write(redis, 1, 2)
    with read(redis, count=1) as incoming:
        assert take(incoming, 1) == [1]
        assert pending(redis) == 1
        assert take(incoming, 1) == [2]
        assert pending(redis) == 1
        closing = threading.Timer(0.05, incoming.close)
        closing.start()
        assert list(incoming) == []
        closing.join()
    assert pending(redis) == 0
    assert consumers(redis) == []


def test_with_explicit_acknowledgement_nothing_else_counts(redis):
    write(redis, 1, 2, 3)
    with read(redis, auto_acknowledge=False) as incoming:
        first, second, _ = (next(incoming) for _ in range(3))
        assert pending(redis) == 3
        incoming.acknowledge(second)
        incoming.acknowledge(ServerSentEvent(first.data, id=first.id))
        assert pending(redis) == 1
        with pytest.raises(ValueError, match="already"):
            incoming.acknowledge(first)
    assert len(consumers(redis)) == 1, "what it has in hand would go with it"


def test_the_consumers_of_a_group_share_the_events(redis):
    with read(redis, count=1) as one, read(redis, count=1) as other:
        write(redis, 1)
        assert take(one, 1) == [1]
        write(redis, 2)
        assert take(other, 1) == [2]


def test_a_group_may_begin_with_what_comes(redis):
    write(redis, 1)
    with read(redis, start="$") as incoming:
        reading = Running(lambda: take(incoming, 1))
        wait_for(lambda: redis.client.xinfo_groups("orders"))
        write(redis, 2)
        assert reading.outcome() == [2]


@pytest.mark.parametrize("exists", [False, True])
def test_a_group_of_what_comes_that_is_gone_misses_nothing_that_came(redis, exists):
    if exists:
        write(redis, 1)
    with read(redis, start="$") as incoming:
        incoming._group._make_group()
        write(redis, 2)
        assert take(incoming, 1) == [2]
        redis.client.xgroup_destroy("orders", GROUP)
        write(redis, 3)
        assert take(incoming, 2) == [2, 3]


def test_a_group_of_what_comes_to_no_stream_is_a_refusal(redis):
    redis.client.set("orders", "a string")
    with read(redis, start="$") as incoming, pytest.raises(Exception, match="WRONGTYPE"):
        incoming._group._make_group()


def test_what_a_dead_consumer_left_is_claimed(redis):
    write(redis, 1, 2, 3)
    dead = read(redis)
    assert take(dead, 1) == [1]
    with read(redis, claim_after=0.05, count=2) as alive:
        # In pieces: it reads two at a time.
        assert take(alive, 3) == [1, 2, 3]
        assert alive.deliveries == 2
    with dead:
        pass


def test_what_was_read_ahead_is_kept_and_what_others_have_claimed_is_dropped(redis):
    write(redis, 1, 2, 3)
    with read(redis, claim_after=10.0) as incoming:
        assert take(incoming, 1) == [1]
        (second, third) = incoming._buffer

        def idle():
            pending = redis.client.xpending_range("orders", GROUP, second.id, second.id, 1)
            return pending[0]["time_since_delivered"]

        wait_for(lambda: idle() > 300)
        redis.client.xclaim("orders", GROUP, "other", 0, [third.id])
        incoming._read_at = time.monotonic() - 5.2
        assert take(incoming, 1) == [2]
        assert not incoming._buffer
        assert idle() < 300


def test_a_group_that_somebody_else_has_made_meanwhile_is_as_good(redis):
    with read(redis) as incoming:
        incoming._group._make_group()
        incoming._group._make_group()
        redis.client.delete("orders")
        redis.client.set("orders", "a string")
        with pytest.raises(Exception, match="WRONGTYPE"):
            incoming._group._make_group()


def test_nothing_is_handed_out_once_it_is_closed(redis, monkeypatch):
    write(redis, 1)
    with read(redis) as incoming:
        reading = incoming._group.read

        def close_and_read():
            incoming.close()
            return reading() or reading()

        monkeypatch.setattr(incoming._group, "read", close_and_read)
        assert list(incoming) == []


def test_a_consumer_of_the_same_name_gets_first_what_it_had(redis):
    write(redis, 1, 2, 3)
    with read(redis, consumer="me") as incoming:
        assert take(incoming, 2) == [1, 2]
    with read(redis, consumer="me") as incoming:
        write(redis, 4)
        assert take(incoming, 3) == [2, 3, 4]
    assert consumers(redis) == ["me"]


def test_an_entry_of_which_everybody_dies_is_put_aside(redis, caplog):
    write(redis, 1, 2)
    for _ in range(2):
        with read(redis, count=1, claim_after=0.001, max_deliveries=2) as incoming:
            assert take(incoming, 1) == [1]
    with read(redis, count=1, claim_after=0.001, max_deliveries=2) as incoming:
        assert take(incoming, 1) == [2]
    (letter,) = redis.entries("sse-client:{orders}:dead-letters")
    assert letter["data"] == "1"
    assert letter["deliveries"] == "3"
    assert "never acknowledged" in caplog.text


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize("named", [None, "me"])
def test_what_was_read_ahead_of_an_entry_that_kills_is_handed_out(redis, named, most):
    write(redis, *range(1, 11))
    options = {"claim_after": 0.001, "max_deliveries": most, "consumer": named}
    for _ in range(most):
        with read(redis, **options) as incoming:
            assert take(incoming, 1) == [1]
    with read(redis, **options) as incoming:
        assert sorted(take(incoming, 9)) == list(range(2, 11))
    assert [each["data"] for each in redis.entries("sse-client:{orders}:dead-letters")] == ["1"]


def test_each_entry_is_counted_whatever_else_its_consumer_has_in_hand(redis):
    write(redis, 1, 2, 3, 4)
    ids = [id for id, _ in redis.client.xrange("orders")]
    with read(redis, count=4, auto_acknowledge=False) as incoming:
        assert take(incoming, 4) == [1, 2, 3, 4]
        for id in (ids[0], ids[3]):
            redis.client.xclaim("orders", GROUP, "dead", 0, [id], idle=100_000, retrycount=7)
        incoming._group._claim_at = 0.0
        handed_out = [(next(incoming).data, incoming.deliveries) for _ in range(2)]
    assert handed_out == [("1", 8), ("4", 8)]


def test_an_entry_that_cannot_be_put_aside_stays_in_the_group(redis):
    write(redis, 1)
    redis.client.set("sse-client:{orders}:dead-letters", "a string")
    with read(redis, claim_after=0.001, max_deliveries=1) as incoming:
        take(incoming, 1)
    with (
        read(redis, claim_after=0.001, max_deliveries=1) as incoming,
        pytest.raises(RelayError, match="WRONGTYPE"),
    ):
        next(incoming)
    assert pending(redis) == 1


def test_an_entry_that_no_relay_has_written_is_handed_out_as_it_is(redis):
    redis.client.xadd("orders", {b"data": b"a\xff\rb", b"other": b"\xfe"})
    with read(redis) as incoming:
        event = next(incoming)
    assert (event.data, event.event, event.id) == ("a\ufffd\rb", "message", "")


def test_an_entry_that_somebody_else_has_acknowledged_is_not_put_aside(redis):
    write(redis, 1)
    with read(redis) as incoming:
        take(incoming, 1)
        entry = incoming._in_hand[0][0]
        redis.client.xack("orders", GROUP, entry.id)
        incoming._group._bury(entry)
    assert redis.entries("sse-client:{orders}:dead-letters") == []


def test_what_was_trimmed_while_it_was_pending_is_passed_over(redis):
    write(redis, 1, 2)
    with read(redis, consumer="me") as incoming:
        take(incoming, 1)
    redis.client.xtrim("orders", maxlen=1, approximate=False)
    with read(redis, consumer="me") as incoming:
        assert take(incoming, 1) == [2]


def test_reading_goes_on_when_redis_has_restarted(redis):
    write(redis, 1, 2)
    with read(redis, count=1) as incoming:
        assert take(incoming, 1) == [1]
        redis.kill()
        reading = Running(lambda: take(incoming, 1))
        redis.start()
        assert reading.outcome() == [2]
    assert pending(redis) == 1


def test_a_group_that_is_gone_is_made_anew(redis):
    write(redis, 1)
    with read(redis) as incoming:
        take(incoming, 1)
        redis.client.flushall()
        write(redis, 7)
        assert take(incoming, 1) == [7]


def test_a_group_that_is_gone_while_something_was_read_ahead_is_made_anew(redis):
    write(redis, 1, 2)
    with read(redis, claim_after=10.0) as incoming:
        take(incoming, 1)
        redis.client.flushall()
        write(redis, 7)
        incoming._read_at -= 6.0
        assert take(incoming, 1) == [7]


def test_a_refusal_while_something_was_read_ahead_is_told(redis):
    write(redis, 1, 2)
    with read(redis, claim_after=10.0, auto_acknowledge=False) as incoming:
        take(incoming, 1)
        redis.client.delete("orders")
        redis.client.set("orders", "a string")
        incoming._read_at -= 6.0
        with pytest.raises(RelayError, match="WRONGTYPE"):
            take(incoming, 1)


def connections(redis):
    return len(redis.client.client_list())


@pytest.mark.parametrize("comes_back", [False, True])
def test_closing_leaves_no_connection_and_no_consumer(redis, comes_back):
    write(redis, 1)
    before = connections(redis)
    incoming = read(redis)
    if comes_back:
        assert [incoming.close() for _ in incoming] == [None]
        assert pending(redis) == 0
    else:
        incoming.acknowledge(next(incoming))
        incoming.close()
    assert consumers(redis) == []
    wait_for(lambda: connections(redis) == before)


def test_closing_ends_waiting_for_a_redis_that_is_gone(redis):
    write(redis, 1, 2)
    with read(redis, count=1, auto_acknowledge=False) as incoming:
        event = next(incoming)
        redis.kill()
        reading = Running(lambda: list(incoming))
        incoming.close()
        assert reading.outcome() == []
        incoming.acknowledge(event)  # is logged: nobody can be told
        assert list(incoming) == []


def test_a_refusal_is_told(redis):
    redis.client.set("orders", "a string")
    with pytest.raises(RelayError, match="WRONGTYPE"):
        next(read(redis))


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decode", [False, True])
def test_a_client_of_ones_own_stays_open(redis, decode, protocol):
    import redis as library

    write(redis, 1)
    with library.Redis(port=redis.port, decode_responses=decode, protocol=protocol) as client:
        with incoming_from_redis(client, "orders", group=GROUP) as incoming:
            assert take(incoming, 1) == [1]
            assert "orders" in repr(incoming)
            assert str(incoming.consumer) in consumers(redis)
        assert client.ping()


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"stream": ""}, ValueError, "stream"),
        ({"group": ""}, TypeError, "group"),
        ({"consumer": 5}, TypeError, "consumer"),
        ({"start": None}, TypeError, "start"),
        ({"count": 0}, ValueError, "count"),
        ({"max_deliveries": 0}, ValueError, "max_deliveries"),
        ({"claim_after": 0}, ValueError, "claim_after"),
        ({"claim_after": "5"}, TypeError, "claim_after"),
        ({"claim_after": True}, TypeError, "claim_after"),
        ({"redis": library_of_asyncio.Redis()}, TypeError, "redis must be .* not redis.asyncio"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, error, named):
    given = {"redis": "redis://127.0.0.1", "stream": "orders", "group": GROUP, **options}
    with pytest.raises(error, match=named):
        incoming_from_redis(**given)
