"""What a session logs: its fields, long outages, and event IDs that cannot be sent."""

from __future__ import annotations

import logging

import pytest
from support import PATIENCE, Signal, sse_client_for_tests

from sse_client import FileCursor, ReconnectionExhaustedError, ServerSentEvent

FIELDS = ("sse_name", "sse_state", "sse_attempt", "sse_delay")


@pytest.fixture(autouse=True)
def all_records(caplog):
    caplog.set_level(logging.DEBUG, "sse_client")


@pytest.fixture
def records(caplog):
    """Return the records of a level, or of all levels, as text."""

    def logged(level=None):
        return [
            record.getMessage()
            for record in caplog.records
            if record.name == "sse_client" and level in {None, record.levelno}
        ]

    return logged


@pytest.fixture
def client(sse_memory, sse_clock):
    """A client whose waits all last ten seconds."""
    with sse_memory.client(
        reconnection_time=10.0, reconnection_jitter=0.0, reconnection_backoff=1.0
    ) as client:
        yield client


def fail(server, count):
    """Let the next attempts fail."""
    for _ in range(count):
        server.respond(503)


def wait_out(clock, count):
    """Let the next waits end, and the attempts after them fail."""
    for _ in range(count):
        clock.advance_to_next(PATIENCE)
    clock.wait_for_sleepers(1, PATIENCE)


class TestTheFields:
    def test_are_in_each_record_of_a_session(self, sse_memory, sse_clock, client, caplog):
        def broken(_):
            raise LookupError("a mistake")

        sse_memory.serve(["one"], then="drop")
        fail(sse_memory, 1)
        sse_memory.serve(["two"], then="stall")
        with client.sse(sse_memory.url, on_open=broken) as session:
            wait_out(sse_clock, 1)
            sse_clock.advance_to_next(PATIENCE)
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        found = [
            (record.levelname, *(getattr(record, field) for field in FIELDS))
            for record in caplog.records
            if record.name == "sse_client"
        ]
        host = "sse.test"
        assert found == [
            ("DEBUG", host, "OPEN", None, None),
            ("ERROR", host, "OPEN", None, None),
            ("INFO", host, "CONNECTING", 1, 10.0),
            ("INFO", host, "CONNECTING", 2, 10.0),
            ("DEBUG", host, "OPEN", None, None),
            ("ERROR", host, "OPEN", None, None),
            ("DEBUG", host, "CLOSED", None, None),
        ]

    def test_can_be_used_by_a_formatter(self, sse_memory, client, caplog):
        form = "%(sse_name)s %(sse_state)s %(sse_attempt)s %(sse_delay)s"
        formatter = logging.Formatter(form, defaults=dict.fromkeys(FIELDS))
        sse_memory.serve(then="stall")
        with client.sse(sse_memory.url):
            pass
        logging.getLogger("sse_client").info("of something else")
        shown = [
            formatter.format(record) for record in caplog.records if record.name == "sse_client"
        ]
        assert shown == [
            "sse.test OPEN None None",
            "sse.test CLOSED None None",
            "None None None None",
        ]

    def test_name_the_stream_whose_cursor_fails(self, sse_memory, client, caplog, tmp_path):
        class Broken(FileCursor):
            def close(self):
                super().close()
                raise LookupError("a mistake")

        sse_memory.serve(then="stall")
        with client.sse(sse_memory.url, cursor=Broken(tmp_path / "position")):
            pass
        (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert (record.sse_name, record.sse_state) == ("sse.test", None)


class TestAnOutage:
    def test_of_less_than_a_minute_is_not_a_warning(self, sse_memory, sse_clock, client, records):
        sse_memory.serve(then="drop")
        fail(sse_memory, 5)
        sse_memory.serve(["two"], then="stall")
        with client.sse(sse_memory.url) as session:
            wait_out(sse_clock, 5)
            sse_clock.advance(9.0)  # 59 seconds after the loss
            session.reconnect()
            assert session.incoming.get().data == "two"
        assert records(logging.WARNING) == []
        assert len(records(logging.INFO)) == 6
        assert all("reconnecting in 10 s" in each for each in records(logging.INFO))

    def test_is_a_warning_after_a_minute_and_at_each_tenfold_of_it(
        self, sse_memory, sse_clock, client, records, caplog
    ):
        sse_memory.serve(then="drop")
        fail(sse_memory, 105)
        sse_memory.serve(["two"], then="stall")
        with client.sse(
            sse_memory.url, reconnection_time=59.0, max_reconnection_time=59.0
        ) as session:
            wait_out(sse_clock, 1)
            assert records(logging.WARNING) == []
            wait_out(sse_clock, 104)
            sse_clock.advance_to_next(PATIENCE)
            assert session.incoming.get().data == "two"
        warned = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert [record.sse_attempt for record in warned] == [3, 12, 103]
        ends = [each.getMessage().rpartition("; ")[2] for each in warned]
        assert ends == [f"the outage has lasted for {length} s" for length in (118, 649, 6018)]
        assert records(logging.INFO)[-1] == "sse.test: open after an outage of 6254 s"
        assert len(records(logging.WARNING)) + len(records(logging.INFO)) == 107

    def test_is_one_warning_where_a_wait_is_longer_than_several_tenfolds(
        self, sse_memory, sse_clock, client, records
    ):
        sse_memory.serve(then="drop")
        sse_memory.respond(503, {"Retry-After": "3600"})
        fail(sse_memory, 2)
        with client.sse(sse_memory.url):
            wait_out(sse_clock, 3)
            (warning,) = records(logging.WARNING)
        assert warning.endswith("the outage has lasted for 3610 s")

    def test_is_over_once_an_event_has_arrived(self, sse_memory, sse_clock, client, records):
        for _ in range(2):
            sse_memory.serve(["an event"], then="drop")
            fail(sse_memory, 6)
        sse_memory.serve(then="stall")
        opened = Signal()
        with client.sse(sse_memory.url, on_open=opened):
            wait_out(sse_clock, 13)
        lengths = [each.rpartition(" for ")[2] for each in records(logging.WARNING)]
        assert lengths == ["60 s", "60 s"]
        assert [each for each in records() if " after an outage" in each] == [
            "sse.test: open after an outage of 70 s",
            "sse.test: closed after an outage of 60 s",
        ]

    def test_lasts_as_long_as_connections_end_at_once(self, sse_memory, sse_clock, client, records):
        sse_memory.handler = lambda exchange: exchange.end()
        with client.sse(sse_memory.url):
            wait_out(sse_clock, 8)
        assert len(records(logging.WARNING)) == 1
        opened = [each for each in records(logging.INFO) if ": open " in each]
        assert opened == [
            f"sse.test: open after an outage of {length} s" for length in (60, 70, 80)
        ]

    def test_in_which_it_gives_up_is_logged_with_its_length(
        self, sse_memory, sse_clock, client, records
    ):
        sse_memory.serve(then="drop")
        fail(sse_memory, 7)
        with client.sse(sse_memory.url, max_reconnection_attempts=7) as session:
            wait_out(sse_clock, 6)
            sse_clock.advance_to_next(PATIENCE)
            with pytest.raises(ReconnectionExhaustedError):
                next(session.incoming)
        text = "sse.test: closed with ReconnectionExhaustedError after an outage of 70 s"
        assert records(logging.INFO)[-1] == text


#: The line with an event ID, and the reason that the ID cannot be sent.
UNSENDABLE = {
    "a control character": (b"id: \x1b[2J\n", "it has a control character"),
    "one byte too many": (b"id: " + b"x" * 65537 + b"\n", "it has more than 65536 bytes"),
    "too many bytes": (("id: " + "\u20ac" * 30000 + "\n").encode(), "it has more than 65536 bytes"),
    "blanks alone": (b"id:    \n", "it consists of whitespace"),
}


class TestAnEventIdThatCannotBeSent:
    @pytest.mark.parametrize("case", UNSENDABLE)
    def test_is_one_warning_whatever_the_number_of_attempts(self, server, records, case):
        line, problem = UNSENDABLE[case]
        server.serve([line + b"data: one\n\n"], then="drop")
        fail(server, 3)
        server.serve(["two"], then="drop")
        server.serve(["three"], then="stall")
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert [session.incoming.get().data for _ in range(3)] == ["one", "two", "three"]
        assert [each.headers.get("Last-Event-ID") for each in server.requests] == [None] * 6
        (warning,) = records(logging.WARNING)
        assert warning.startswith("127.0.0.1: the last event ID cannot be sent, ")
        assert problem in warning

    def test_is_one_more_warning_if_it_is_another_one(self, server, records):
        for data in (b"id: \x01\ndata: a\n\n", b"id: \x02\ndata: b\n\n", b"id: 3\ndata: c\n\n"):
            server.serve([data], then="drop")
        server.serve(["d"], then="stall")
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert [session.incoming.get().data for _ in range(4)] == list("abcd")
        assert server.requests[-1].headers["Last-Event-ID"] == "3"
        assert len(records(logging.WARNING)) == 2

    def test_is_none_that_is_as_long_as_it_may_be(self, server, records):
        server.serve([ServerSentEvent("one", id="x" * 65536)], then="drop")
        server.respond(204)
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one"]
        assert server.requests[-1].headers["Last-Event-ID"] == "x" * 65536
        assert records(logging.WARNING) == []
