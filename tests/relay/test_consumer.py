"""Reading relayed events as a member of a consumer group."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import closing

import pytest
import redis.asyncio as library_of_asyncio
from numbered_server import wait_for
from redis_clock import move_clock_back
from support import Running
from tables import each_of

from sse_client import ChannelClosed, ServerSentEvent
from sse_client.relay import RelayError, incoming_from_redis
from sse_client.relay import claims as claims_module
from sse_client.relay import dead_letters as dead_letters_module
from sse_client.relay.connection import RedisServer
from sse_client.relay.dead_letters import Requeued, bury, list_letters, requeue

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
        later = threading.Timer(0.05, incoming.close)
        later.start()
        assert list(incoming) == []
        later.join()
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
        # In parts, because it reads two at a time.
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


def test_what_is_handed_out_late_has_the_whole_time(redis):
    write(redis, 1, 2)
    with read(redis, claim_after=1.0) as slow, read(redis, claim_after=1.0) as other:
        assert take(slow, 1) == [1]
        slow._read_at -= 0.1  # long before other consumers would claim it
        redis.client.xclaim(
            *("orders", GROUP, slow.consumer, 0, [slow._buffer[0].id]), idle=600, justid=True
        )
        assert take(slow, 1) == [2]
        (mine,) = redis.client.xpending_range("orders", GROUP, "-", "+", 5)
        assert mine["time_since_delivered"] < 500
        assert other._group._claims.take() == ([], True)


def test_what_was_read_ahead_goes_to_the_others_when_a_consumer_is_closed(redis):
    write(redis, 1, 2, 3)
    with read(redis) as leaving, read(redis) as staying:
        assert take(leaving, 1) == [1]
        assert staying._group.read(block=0.001) == []
        waiting = Running(lambda: (take(staying, 2), staying.deliveries))
        leaving.acknowledge(leaving._in_hand[0][1])
        leaving.close()
        assert waiting.outcome() == ([2, 3], 1)
        assert take(staying, 0) == []
    assert consumers(redis) == [staying.consumer], "it has one in hand"


def test_a_letter_and_what_was_read_ahead_are_returned_by_the_same_number(redis):
    write(redis, 1, 2, 3)
    with read(redis, claim_after=0.001) as dead:
        take(dead, 1)
        dead._group.give_back = lambda *_: None  # like a killed consumer
    with read(redis, claim_after=0.001) as incoming:
        assert take(incoming, 1) == [1]
        assert incoming.deliveries == 2
    with read(redis, claim_after=60.0) as incoming:
        assert (take(incoming, 2), incoming.deliveries) == ([2, 3], 2)


def test_consumers_that_have_had_nothing_for_long_are_removed(redis, monkeypatch):
    write(redis, 1, 2)
    with read(redis, consumer="old", count=1) as incoming:
        incoming.acknowledge(next(incoming))
    with read(redis, consumer="busy", count=1) as incoming:
        take(incoming, 1)
    assert consumers(redis) == ["busy", "old"]
    monkeypatch.setattr(claims_module, "_REMOVE_AFTER", -1.0)
    with read(redis) as incoming:
        incoming._group.read(block=0.001)
        assert "old" not in consumers(redis)
        assert "busy" in consumers(redis)


def test_consumers_that_may_not_be_listed_are_left(redis, caplog):
    write(redis, 1)
    commands = ["+@all", "-xinfo"]
    redis.client.acl_setuser("some", enabled=True, passwords="+p", keys="*", commands=commands)
    url = redis.url.replace("//", "//some:p@")
    with caplog.at_level("INFO"), incoming_from_redis(url, "orders", group=GROUP) as incoming:
        assert take(incoming, 1) == [1]
    assert "idle consumers could not be removed from a group: NoPermissionError" in caplog.text


# Batches.


def test_a_batch_is_acknowledged_as_a_whole(redis):
    write(redis, *range(1, 8))
    with read(redis, count=2) as incoming:
        assert [event.data for event in incoming.get_batch(5)] == list("12345")
        assert pending(redis) == 5
        assert [event.data for event in incoming.get_batch(5)] == list("67")
        assert pending(redis) == 2
        with pytest.raises(queue.Empty):
            incoming.get_batch(5, timeout=0.01)
        assert pending(redis) == 0
        later = threading.Timer(0.05, incoming.close)
        later.start()
        with pytest.raises(ChannelClosed):
            incoming.get_batch(5)
        later.join()
    assert consumers(redis) == []
    with pytest.raises(ValueError, match="max_events"):
        incoming.get_batch(0)
    with pytest.raises(ValueError, match="timeout"):
        incoming.get_batch(1, timeout=-1)


def test_events_are_acknowledged_together_if_asked_for(redis):
    write(redis, *range(1, 8))
    with read(redis, acknowledge_every=3) as incoming:
        found = []
        for _ in range(7):
            take(incoming, 1)
            found.append(pending(redis))
        later = threading.Timer(0.05, incoming.close)
        later.start()
        assert list(incoming) == []
        later.join()
    assert found == [7, 7, 7, 4, 4, 4, 1]
    assert pending(redis) == 0


def test_what_was_processed_is_acknowledged_when_it_is_closed(redis):
    write(redis, *range(1, 5))
    with read(redis, acknowledge_every=3) as incoming:
        take(incoming, 3)
    assert [each["consumer"] for each in pending_entries(redis)] == [
        incoming.consumer.encode(),
        b"sse-client:returned",
    ]


def test_what_was_processed_long_ago_is_acknowledged_before_others_may_claim_it(redis):
    write(redis, 1, 2, 3)
    with read(redis, acknowledge_every=10, claim_after=1000.0) as incoming:
        take(incoming, 1)
        incoming._read_at -= 20.0
        take(incoming, 1)
        assert pending(redis) == 3
        incoming._read_at -= 40.0  # more than a twentieth of claim_after
        take(incoming, 1)
        assert pending(redis) == 1


def test_a_batch_is_acknowledged_whatever_else_is_acknowledged_together(redis):
    write(redis, *range(1, 8))
    with read(redis, acknowledge_every=100) as incoming:
        take(incoming, 2)
        assert pending(redis) == 7
        incoming.get_batch(2)
        assert pending(redis) == 5
        incoming.get_batch(2)
        assert pending(redis) == 3


# Redis's clock.

HOUR = 3_600_000


def idle_times(redis):
    return [each["time_since_delivered"] for each in pending_entries(redis)]


def test_a_clock_that_was_moved_back_keeps_no_entry_of_a_dead_consumer(redis):
    write(redis, 1, 2, 3)
    dead = read(redis)
    take(dead, 1)
    move_clock_back(redis, "orders", HOUR)
    assert idle_times(redis) == [0, 0, 0]
    with read(redis, claim_after=0.05) as incoming:
        assert take(incoming, 3) == [1, 2, 3]
    with dead:
        pass


def test_all_pending_entries_are_looked_at_after_the_clock_was_moved_back(redis, monkeypatch):
    monkeypatch.setattr(claims_module, "_PAGE", 2)
    write(redis, *range(1, 6))
    with read(redis, count=5) as incoming:
        take(incoming, 1)
        move_clock_back(redis, "orders", HOUR)
        incoming._group._claims._limit_delivery_times()
        wait_for(lambda: 0 not in idle_times(redis))
        assert [each["times_delivered"] for each in pending_entries(redis)] == [1] * 5
        assert {each["consumer"].decode() for each in pending_entries(redis)} == {incoming.consumer}


def test_what_was_read_ahead_is_kept_and_given_back_after_the_clock_was_moved_back(redis):
    write(redis, 1, 2, 3)
    with read(redis, claim_after=10.0) as incoming:
        take(incoming, 1)
        move_clock_back(redis, "orders", HOUR)
        incoming._read_at -= 8.0
        assert take(incoming, 1) == [2]
        move_clock_back(redis, "orders", HOUR)
        incoming._read_at -= 8.0
    assert [each["consumer"] for each in pending_entries(redis)][-1] == b"sse-client:returned"


def pending_entries(redis):
    return redis.client.xpending_range("orders", GROUP, "-", "+", 10)


def test_several_events_are_acknowledged_at_once(redis):
    write(redis, 1, 2, 3)
    with read(redis, auto_acknowledge=False) as incoming:
        events = incoming.get_batch(3)
        with pytest.raises(ValueError, match="already"):
            incoming.acknowledge(*events, events[0])
        assert pending(redis) == 0


# Trimmed entries.


def test_what_was_trimmed_before_it_was_read_is_counted_and_logged(redis, caplog):
    if not redis.has_lag:
        pytest.skip("the entries that a group has read are counted from Redis 7.0 on")
    write(redis, *range(1, 11))
    with read(redis, count=2) as incoming, read(redis, count=2) as other:
        assert take(incoming, 2) == [1, 2]
        redis.client.xtrim("orders", maxlen=3, approximate=False)
        assert take(incoming, 1) == [8]
        assert take(other, 1) == [10]
    assert caplog.text.count("5 entries were trimmed before the group 'workers' has read them") == 1
    assert redis.client.hget("sse-client:{orders}:groups", "trimmed workers") == b"5"


@pytest.mark.parametrize("most", [None, 5])
def test_what_was_trimmed_while_a_dead_consumer_had_it_is_passed_over_at_once(redis, most, caplog):
    write(redis, *range(1, 31))
    dead = read(redis, count=30)
    take(dead, 1)
    redis.client.xtrim("orders", maxlen=1, approximate=False)
    options = {"claim_after": 0.001, "count": 2, "max_deliveries": most}
    began = time.monotonic()
    with read(redis, **options) as incoming:
        assert take(incoming, 1) == [30]
        assert pending(redis) == 1
    assert time.monotonic() - began < 29 * 0.5
    with dead:
        pass


def test_what_was_trimmed_and_is_claimed_without_its_id_is_acknowledged(redis, caplog):
    write(redis, *range(1, 203))
    kept = redis.client.xrange("orders")[-1][0]
    with read(redis, count=202) as incoming:
        take(incoming, 1)
        redis.client.xtrim("orders", maxlen=1, approximate=False)
        assert incoming._group._entries([(None, None)]) == []  # as with Redis 6.2
        assert [each["message_id"] for each in pending_entries(redis)] == [kept]
        assert incoming._group._entries([(None, None)]) == []
    assert caplog.text.count("201 entries were trimmed before the group 'workers' has pro") == 1


def test_what_was_trimmed_while_a_consumer_was_away_is_acknowledged(redis, caplog):
    write(redis, 1, 2, 3)
    dead = read(redis, consumer="me")
    take(dead, 1)
    redis.client.xtrim("orders", maxlen=1, approximate=False)
    with read(redis, consumer="me") as incoming:
        assert take(incoming, 1) == [3]
        assert pending(redis) == 1
    assert "2 entries were trimmed before the group 'workers' has processed them" in caplog.text
    with dead:
        pass


def test_a_group_that_is_made_again_begins_where_the_end_was_at_the_start(redis):
    write(redis, 1)
    redis.client.xgroup_create("orders", GROUP, id="$")
    with read(redis, start="$") as incoming:
        write(redis, 2)
        incoming._group._remember_end()
        redis.client.xgroup_destroy("orders", GROUP)
        write(redis, 3)
        assert take(incoming, 1) == [3]


# Dead letters.


def put_aside(redis):
    """Make an entry a dead letter."""
    write(redis, 1)
    options = {"claim_after": 0.001, "max_deliveries": 1}
    with read(redis, **options) as incoming:
        take(incoming, 1)
    with read(redis, **options) as incoming:
        wait_for(
            lambda: (
                incoming._group.read(block=0.001)
                or redis.client.xlen("sse-client:{orders}:dead-letters")
            )
        )


def test_a_dead_letter_is_put_back_into_its_group(redis):
    put_aside(redis)
    redis.client.xgroup_create("orders", "others", id="$")
    with closing(RedisServer(redis.url)) as server:
        (letter,) = list_letters(server, "orders")
        assert (letter.group, letter.data, letter.event_id) == (GROUP, "1", "n1")
        assert letter.deliveries == 2
        assert requeue(server, "orders", letter.id) is Requeued.REQUEUED
        assert requeue(server, "orders", letter.id) is Requeued.UNKNOWN
        assert list_letters(server, "orders") == []
        with read(redis) as incoming:
            assert (take(incoming, 1), incoming.deliveries) == ([1], 1)
        assert redis.client.xpending("orders", "others")["pending"] == 0


def test_a_dead_letter_that_cannot_be_put_back_stays(redis):
    put_aside(redis)
    letters = "sse-client:{orders}:dead-letters"
    redis.client.xadd(letters, {"entry": "1-1", "deliveries": "3", "data": "old"})
    with closing(RedisServer(redis.url)) as server:
        first, old = list_letters(server, "orders")
        assert (old.group, old.data) == ("", "old")
        assert requeue(server, "orders", old.id) is Requeued.NO_GROUP
        redis.client.xgroup_destroy("orders", GROUP)
        assert requeue(server, "orders", first.id) is Requeued.NO_GROUP
        redis.client.xtrim("orders", maxlen=0, approximate=False)
        assert requeue(server, "orders", first.id) is Requeued.TRIMMED
        assert len(list_letters(server, "orders")) == 2


def test_many_dead_letters_are_listed_in_pages(redis, monkeypatch):
    monkeypatch.setattr(dead_letters_module, "_PAGE", 2)
    for number in range(5):
        redis.client.xadd("sse-client:{orders}:dead-letters", {"data": str(number)})
    with closing(RedisServer(redis.url)) as server:
        assert [each.data for each in list_letters(server, "orders")] == list("01234")


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

        def close_and_read(*words):
            incoming.close()
            return reading(*words) or reading(*words)

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
        incoming._group._claims._claim_at = 0.0
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
        bury(incoming._group._member, entry.id, entry.fields, 1)
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
        incoming.acknowledge(event)  # the failure is logged, not raised
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


@each_of(
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
