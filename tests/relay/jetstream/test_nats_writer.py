"""Writing into JetStream: after a lost reply, a late write, or a write of another relay."""

from __future__ import annotations

import base64
import socket

import pytest
from numbered_server import wait_for

from sse_client.relay.failures import RelayError
from sse_client.relay.jetstream import stream as stream_module
from sse_client.relay.jetstream.failures import UNMET, NatsError
from sse_client.relay.jetstream.stream import (
    Batching,
    JetStreamStream,
    LastMessage,
    check_stream_name,
)
from sse_client.relay.jetstream.writer import MessageWriter
from sse_client.relay.writer import Batch, Outcome, RepeatFilter, WriteOptions

REPEATS = RepeatFilter("2", 1)


def batch_of(*ids):
    fields = [(b"message", f"data of {id}".encode(), id.encode()) for id in ids]
    return Batch([each for event in fields for each in event])


class Interrupted:
    """A stream whose next requests fail as these functions say.

    Each function gets the method and the argument, and returns a reply or raises.
    """

    def __init__(self, stream, *failures):
        self._stream = stream
        self._failures = list(failures)
        self.sent = []

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def publish(self, messages):
        self.sent.append(len(messages))
        if self._failures:
            return self._failures.pop(0)(self._stream.publish, messages)
        return self._stream.publish(messages)


def lose_reply(publish, messages):
    publish(messages)
    raise NatsError("no reply", passes=True)


def lose_messages(publish, messages):
    raise NatsError("no reply", passes=True)


def lose_after_first(publish, messages):
    publish(messages[:1])
    raise NatsError("no reply", passes=True)


def refuse(publish, messages):
    raise NatsError("JetStream: wrong last sequence (10071)", passes=False, code=10071)


def refuse_permanently(publish, messages):
    raise NatsError("JetStream: message size exceeds maximum (10054)", passes=False, code=10054)


def reply_for_another(publish, messages):
    return {**publish(messages), "seq": 99}


@pytest.fixture(params=Batching)
def jetstream(request, nats, stream):
    """A stream that exists, for each way to write batches."""
    found = JetStreamStream(nats.nats, stream)
    found.adopt(found.create())
    if request.param is Batching.ATOMIC and found.batching is not Batching.ATOMIC:
        pytest.skip("this nats-server has no atomic batches")
    found.batching = request.param
    return found


def writer_of(jetstream, last=None):
    last = jetstream.last() if last is None else last
    return MessageWriter(jetstream, last, WriteOptions("http://h/é path"))


def write(writer, batch, repeats=REPEATS):
    """Write a batch, and repeat that as long as a failure passes."""
    for _ in range(10):
        try:
            return writer.write(batch, repeats)
        except NatsError as error:
            if not error.passes:
                raise
    raise AssertionError("it does not succeed")


def test_each_event_is_a_message_with_the_position(nats, jetstream):
    batch = Batch([b"a b", "dät".encode(), "ä %".encode(), b"message", b"", "ä %".encode()])
    writer = writer_of(jetstream)
    assert writer.write(batch, RepeatFilter("ä %", 2)) is Outcome.WRITTEN
    assert writer.sequence == 2
    found = jetstream.last()
    assert (found.sequence, found.id, found.within) == (2, "ä %", 2)
    assert found.source == "http://h/é path"
    message, _ = nats.messages(jetstream.name)
    headers = stream_module.read_headers(message)
    assert base64.b64decode(message["data"]).decode() == "dät"
    assert headers["Sse-Event"] == "a%20b"
    assert headers["Sse-Id"] == "%C3%A4%20%25"
    assert headers["Sse-Source"] == "http://h/%C3%A9%20path"
    assert headers["Sse-Within"] == "1"


def test_the_number_of_events_with_an_id_continues_from_the_position(jetstream):
    writer = writer_of(jetstream)
    writer.write(batch_of("1", "1"), RepeatFilter("1", 2))
    writer.write(batch_of("1"), RepeatFilter("1", 3))
    assert jetstream.last().within == 3
    writer_of(jetstream).write(batch_of("1"), RepeatFilter("1", 4))
    assert jetstream.last().within == 4


@pytest.mark.parametrize(
    ("failures", "sent"),
    [
        ([], [2]),
        ([lose_reply], [2]),
        ([lose_messages], [2, 2]),
        ([reply_for_another], [2]),
        ([refuse], [2, 1, 1]),
        ([refuse, refuse], [2, 1, 1, 1]),
        ([lose_messages, lose_reply], [2, 2]),
    ],
)
def test_a_batch_is_written_once_whatever_is_lost(nats, jetstream, failures, sent):
    broken = Interrupted(jetstream, *failures)
    writer = writer_of(broken)
    assert write(writer, batch_of("1", "2")) is Outcome.WRITTEN
    assert writer.sequence == 2
    if jetstream.batching is not Batching.SINGLE:
        assert broken.sent == sent
    assert write(writer, batch_of("3"), RepeatFilter("3", 1)) is Outcome.WRITTEN
    assert nats.ids(jetstream.name) == ["1", "2", "3"]


def test_a_batch_continues_after_the_messages_that_are_written(nats, jetstream):
    is_atomic = jetstream.batching is Batching.ATOMIC  # which is written as a whole, or not
    broken = Interrupted(jetstream, lose_messages if is_atomic else lose_after_first)
    assert write(writer_of(broken), batch_of("1", "2")) is Outcome.WRITTEN
    assert broken.sent[-1] == (2 if is_atomic else 1)
    assert nats.ids(jetstream.name) == ["1", "2"]


class Recording:
    """A server that accepts all messages."""

    max_payload = 1024

    def publish(self, subject, messages):
        self.messages = messages
        return {"seq": 7 + len(messages)}


@pytest.mark.parametrize(
    ("batching", "ids", "headers"),
    [
        (Batching.SINGLE, "1", ["Nats-Expected-Last-Sequence"]),
        (Batching.ATOMIC, "1", ["Nats-Expected-Last-Sequence"]),
        (
            *(Batching.ATOMIC, "12"),
            ["Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Expected-Last-Sequence"],
        ),
        (Batching.CHAINED, "12", ["Nats-Expected-Last-Sequence", "Nats-Msg-Id"]),
    ],
)
def test_the_first_message_of_a_batch_has_the_condition(batching, ids, headers):
    server = Recording()
    jetstream = JetStreamStream(server, "orders")
    jetstream.batching = batching
    writer = writer_of(jetstream, LastMessage(7, "0", 1, "x.7"))
    assert writer.write(batch_of(*ids), RepeatFilter(ids[-1], 1)) is Outcome.WRITTEN
    (_, first), *others = server.messages
    assert sorted(name for name in first if name.startswith("Nats-")) == headers
    assert first["Nats-Expected-Last-Sequence"] == "7"
    for _, last in others:
        assert "Nats-Expected-Last-Sequence" not in last
        if batching is Batching.ATOMIC:
            assert last["Nats-Batch-Id"] == first["Nats-Batch-Id"]
            assert last["Nats-Batch-Sequence"] == "2"
            assert last["Nats-Batch-Commit"] == "1"
        else:
            assert last["Nats-Expected-Last-Msg-Id"] == first["Nats-Msg-Id"]


@pytest.mark.parametrize(
    ("config", "batching"),
    [
        ({}, Batching.CHAINED),
        ({"num_replicas": 3}, Batching.SINGLE),
        ({"num_replicas": 3, "allow_atomic": True}, Batching.ATOMIC),
    ],
)
def test_the_configuration_of_a_stream_decides_how_batches_are_written(config, batching):
    jetstream = JetStreamStream(None, "orders")
    state = {"messages": 0, "last_seq": 0}
    jetstream.adopt({"config": {"subjects": ["one"], **config}, "state": state})
    assert jetstream.batching is batching


def test_a_refusal_that_no_condition_explains_is_permanent(jetstream):
    writer = writer_of(Interrupted(jetstream, refuse_permanently))
    with pytest.raises(NatsError, match="message size"):
        writer.write(batch_of("1"), REPEATS)


def test_a_stream_that_is_full_is_written_until_it_is(nats, stream):
    config = {"name": stream, "subjects": [stream], "max_msgs": 2, "discard": "new"}
    jetstream = JetStreamStream(nats.nats, stream)
    jetstream.adopt(nats.nats.ask(f"STREAM.CREATE.{stream}", allow_atomic=True, **config))
    writer, batch = writer_of(jetstream), batch_of("1", "2", "3")
    for _ in range(3):
        with pytest.raises(NatsError, match="maximum messages exceeded") as caught:
            writer.write(batch, RepeatFilter("3", 1))
        assert caught.value.passes
    assert nats.ids(stream) == ["1", "2"]
    nats.nats.ask(f"STREAM.MSG.DELETE.{stream}", seq=1)
    assert write(writer, batch, RepeatFilter("3", 1)) is Outcome.WRITTEN
    assert nats.ids(stream) == ["2", "3"]


def test_a_relay_writes_nothing_after_another_one(nats, jetstream):
    late, other = writer_of(jetstream), writer_of(jetstream)
    other.write(batch_of("1"), RepeatFilter("1", 1))
    assert late.write(batch_of("1", "2"), REPEATS) is Outcome.MOVED
    assert nats.ids(jetstream.name) == ["1"]


def test_a_relay_that_does_not_know_what_is_written_notices_another_one(nats, jetstream):
    late, other = writer_of(Interrupted(jetstream, lose_messages)), writer_of(jetstream)
    batch = batch_of("1", "2")
    with pytest.raises(NatsError):
        late.write(batch, REPEATS)
    other.write(batch_of("1"), RepeatFilter("1", 1))
    assert late.write(batch, REPEATS) is Outcome.MOVED
    assert nats.ids(jetstream.name) == ["1"]


def test_the_rest_of_a_batch_is_refused_with_its_first_message(nats, jetstream):
    """Although another relay's message gives the second one the expected sequence number."""
    late, other = writer_of(jetstream), writer_of(jetstream)
    other.write(batch_of("1"), RepeatFilter("1", 1))
    assert late.write(batch_of("1", "2", "3"), RepeatFilter("3", 1)) is Outcome.MOVED
    assert nats.ids(jetstream.name) == ["1"]


class Repeating:
    """A stream of which a test may send all messages again."""

    def __init__(self, stream):
        self._stream = stream
        self.copies = []

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def publish(self, messages):
        self.copies += messages
        return self._stream.publish(messages)


def test_late_copies_are_refused_without_the_window_for_duplicates(nats, jetstream):
    repeating = Repeating(jetstream)
    writer = writer_of(repeating)
    for ids in (["1", "2", "3"], ["4", "5"], ["6"]):
        assert write(writer, batch_of(*ids), RepeatFilter(ids[-1], 1)) is Outcome.WRITTEN
        for data, headers in repeating.copies:
            if "Nats-Batch-Id" in headers:
                continue  # without the rest of its batch, it is not a message
            # Without its ID JetStream can't recognise it as a duplicate.
            rest = {name: value for name, value in headers.items() if name != "Nats-Msg-Id"}
            with pytest.raises(NatsError) as caught:
                jetstream.publish([(data, rest)])
            assert caught.value.code in UNMET
    assert nats.ids(jetstream.name) == ["1", "2", "3", "4", "5", "6"]


def test_jetstream_does_not_hold_the_ids_of_many_messages(nats, stream):
    config = JetStreamStream(nats.nats, stream).create()["config"]
    assert config["duplicate_window"] == 1_000_000_000


def test_a_position_that_is_another_message_or_gone_is_noticed(nats, jetstream):
    writer_of(jetstream).write(batch_of("1"), RepeatFilter("1", 1))
    for last in (LastMessage(1, "1", 1, "another.1"), LastMessage(7, "7", 1, "x.7")):
        writer = writer_of(Interrupted(jetstream, refuse), last)
        assert writer.write(batch_of("2"), REPEATS) is Outcome.MOVED
    assert nats.ids(jetstream.name) == ["1"]


def test_an_event_that_is_too_large_is_named_after_those_before_it(nats, jetstream):
    large = Batch([*batch_of("1", "2").fields, b"message", b"x" * 1024 * 1024, b"3"])
    writer = writer_of(jetstream)
    text = (
        rf"the event with the ID '3' is too large for the stream '{jetstream.name}': its message "
        r"takes 1,048,\d\d\d bytes, and the server's max_payload allows 1,048,576; raise that "
    )
    with pytest.raises(RelayError, match=text):
        write(writer, large)
    assert nats.ids(jetstream.name) == ["1", "2"]


def test_an_event_whose_headers_are_too_large_is_named_after_those_before_it(nats, jetstream):
    large = "x" * 65_535
    text = (
        rf"^the event with the ID '{'x' * 100}' is too large for the stream '{jetstream.name}': "
        r"its type and its ID take 65,\d\d\d bytes in the headers, and JetStream allows 65,535$"
    )
    with pytest.raises(RelayError, match=text):
        write(writer_of(jetstream), batch_of("1", "2", large, "3"), RepeatFilter("3", 1))
    assert nats.ids(jetstream.name) == ["1", "2"]


def test_an_event_with_the_largest_headers_is_written(nats, jetstream):
    for size in range(65_200, 65_536, 8):
        batch = batch_of("x" * size)
        try:
            writer_of(jetstream).write(batch, RepeatFilter("x" * size, 1))
        except RelayError:
            break
        written = size
    assert jetstream.last().id == "x" * written


@pytest.mark.parametrize("option", ["max_msg_size", "max_bytes"])
def test_the_limits_of_the_stream_count_too(nats, stream, option):
    config = {"name": stream, "subjects": [stream], option: 2000}
    jetstream = JetStreamStream(nats.nats, stream)
    jetstream.adopt(nats.nats.ask(f"STREAM.CREATE.{stream}", **config))
    name, limit = jetstream.size_limit()
    assert name == f"the stream's {option}"
    writer, written = writer_of(jetstream), 0
    for size in range(1000, 2000, 10):
        batch = Batch([b"message", b"x" * size, str(size).encode()])
        try:
            writer.write(batch, RepeatFilter(str(size), 1))
        except RelayError:
            break
        written += 1
        assert jetstream.last().id == str(size), "it is not deleted"
    assert written > 50
    assert limit <= 2000


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"max_age": 10**9}, "it has a max_age, which would delete the position"),
        ({"retention": "workqueue"}, "its retention is 'workqueue', but must be 'limits'"),
        ({"retention": "interest"}, "its retention is 'interest', but must be 'limits'"),
        ({"subjects": ["one.>"]}, "it must have a single subject without wildcards"),
        ({"subjects": ["one.a", "one.b"]}, "it must have a single subject without wildcards"),
        ({"subject_transform": {"dest": "two"}}, "so the position is not found"),
        ({"sealed": True}, "it is sealed"),
        ({"no_ack": True}, "it has no_ack, so no write gets a reply"),
        ({"sources": [{"name": "other"}]}, "it copies the messages of another stream"),
    ],
)
def test_a_stream_that_could_lose_the_position_is_refused(config, problem):
    state = {"messages": 0, "last_seq": 0}
    jetstream = JetStreamStream(None, "orders")
    with pytest.raises(RelayError, match=r"^the stream 'orders' can't be used: ") as caught:
        jetstream.adopt({"config": {"subjects": ["one"], **config}, "state": state})
    assert problem in str(caught.value)


def test_a_stream_with_limits_of_its_length_is_used(nats, stream):
    jetstream = JetStreamStream(nats.nats, stream)
    config = {"name": stream, "subjects": [f"{stream}.events"], "max_msgs": 1, "discard": "old"}
    jetstream.adopt(nats.nats.ask(f"STREAM.CREATE.{stream}", **config))
    assert jetstream.subject == f"{stream}.events"
    writer_of(jetstream).write(batch_of("1", "2"), REPEATS)
    assert jetstream.last().id == "2"
    assert nats.nats.length(stream) == 1


def test_a_stream_whose_messages_were_deleted_is_refused(nats, jetstream):
    writer_of(jetstream).write(batch_of("1"), REPEATS)
    nats.nats.ask(f"STREAM.PURGE.{jetstream.name}")
    with pytest.raises(RelayError, match="its messages were deleted, and the position with them"):
        jetstream.adopt(jetstream.info())


def test_a_message_of_another_program_is_refused():
    class Server:
        def ask(self, *_, **__):
            return {"message": message}

    jetstream = JetStreamStream(Server(), "orders")
    for headers in (None, b"NATS/1.0\r\nSse-Id: 1\r\n\r\n", b"NATS/1.0\r\nA: \xff\r\n\r\n"):
        message = {"seq": 1}
        if headers is not None:
            message["hdrs"] = base64.b64encode(headers).decode()
        with pytest.raises(RelayError, match="its last message is not one of a relay"):
            jetstream.last()


def test_headers_that_are_not_utf_8_are_those_of_another_program(nats, jetstream):
    headers = b"NATS/1.0\r\nName: \xff\r\n\r\n"
    with socket.create_connection(("127.0.0.1", nats.port)) as connection:
        lines = connection.makefile("rwb")
        lines.write(b'CONNECT {"verbose": false, "headers": true}\r\n')
        sizes = len(headers), len(headers) + 1
        lines.write(b"HPUB %s %d %d\r\n" % (jetstream.subject.encode(), *sizes))
        lines.write(headers + b"x\r\nPING\r\n")
        lines.flush()
        assert lines.readline().startswith(b"INFO ")
        assert lines.readline() == b"PONG\r\n"
        lines.close()
    wait_for(lambda: nats.length(jetstream.name) == 1)
    with pytest.raises(RelayError, match="its last message is not one of a relay"):
        jetstream.last()


def test_a_name_that_is_no_subject_is_refused():
    with pytest.raises(TypeError, match="stream must be a str, not int"):
        check_stream_name(1)
    with pytest.raises(ValueError, match="stream must consist of letters, digits"):
        check_stream_name("a.b")


def test_a_failure_of_jetstream_is_not_taken_for_an_empty_stream(nats, stream):
    class Failing:
        max_payload = 0

        def ask(self, *_, **__):
            raise NatsError("no reply", passes=True)

    jetstream = JetStreamStream(Failing(), stream)
    for method in (jetstream.info, jetstream.last):
        with pytest.raises(NatsError, match="no reply"):
            method()
