"""Which requests ``client.sse`` repeats, and when. The waits use a clock that the test advances."""

from __future__ import annotations

import io

import pytest
from support import PATIENCE, Running, fill, sse_client_for_tests

from sse_client import (
    ChannelClosed,
    ConnectionFailedError,
    ReconnectionExhaustedError,
    ServerSentEvent,
    StreamInterruptedError,
    UnexpectedStatusError,
)


@pytest.fixture
def client(sse_clock):
    with sse_client_for_tests(clock=sse_clock, reconnection_time=1.0) as client:
        yield client


class TestTheFirstConnectionOfAPost:
    def test_is_repeated_until_it_is_accepted(self, client, server, sse_clock):
        server.respond(429, {"Retry-After": "7"})
        server.respond(429, {"Retry-After": "1.5"})
        server.respond(503)
        server.serve(["one"], then="stall")
        opening = Running(
            lambda: client.sse(
                server.url, method="POST", json={"a": 1}, retry_first_connection=True
            )
        )
        waits = [sse_clock.advance_to_next(PATIENCE) for _ in range(3)]
        with opening.outcome() as session:
            assert session.incoming.get().data == "one"
        assert waits == [7.0, 2.0, 4.0]
        assert [request.body for request in server.requests] == [b'{"a": 1}'] * 4
        assert {request.method for request in server.requests} == {"POST"}

    @pytest.mark.parametrize("then", ["drop", "end"])
    def test_is_not_repeated_once_it_was_accepted(self, client, server, sse_clock, then):
        server.respond(429, {"Retry-After": "7"})
        server.serve(["one"], then=then)
        opening = Running(
            lambda: client.sse(server.url, method="POST", json={}, retry_first_connection=True)
        )
        sse_clock.advance_to_next(PATIENCE)
        session = opening.outcome()
        assert session.incoming.get().data == "one"
        with pytest.raises(ChannelClosed if then == "end" else StreamInterruptedError):
            session.incoming.get(timeout=PATIENCE)
        assert len(server.requests) == 2

    def test_is_not_repeated_unless_asked_for(self, client, server):
        server.respond(429, {"Retry-After": "7"})
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url, method="POST", json={})
        assert caught.value.retry_after == 7.0
        assert len(server.requests) == 1

    def test_gives_up_at_the_limit_of_attempts(self, client, server, sse_clock):
        server.handler = lambda exchange: exchange.respond(429, {"Retry-After": "7"})
        opening = Running(
            lambda: client.sse(
                server.url,
                method="POST",
                data="x",
                retry_first_connection=True,
                max_reconnection_attempts=2,
            )
        )
        assert [sse_clock.advance_to_next(PATIENCE) for _ in range(2)] == [7.0, 7.0]
        error = opening.outcome()
        assert isinstance(error, ReconnectionExhaustedError)
        assert error.attempts == 2
        assert len(server.requests) == 3

    @pytest.mark.parametrize("data", [io.BytesIO(b"x"), iter([b"x"])], ids=["file", "iterator"])
    def test_with_data_that_can_be_read_once_is_refused_at_the_call(self, client, server, data):
        with pytest.raises(ValueError, match=r"^data can be read only once") as caught:
            client.sse(server.url, method="POST", data=data, retry_first_connection=True)
        assert "reconnect" in str(caught.value)
        assert server.requests == []

    def test_with_a_function_that_makes_its_data_is_repeated(self, client, server, sse_clock):
        server.respond(503)
        server.serve(["one"], then="stall")
        opening = Running(
            lambda: client.sse(
                server.url,
                method="POST",
                data=lambda: io.BytesIO(b"x"),
                retry_first_connection=True,
            )
        )
        sse_clock.advance_to_next(PATIENCE)
        with opening.outcome():
            assert [request.body for request in server.requests] == [b"x", b"x"]

    def test_with_data_that_can_be_read_once_may_be_sent_once(self, client, server):
        server.serve(["one"])
        with client.sse(server.url, method="POST", data=io.BytesIO(b"x")) as session:
            assert [event.data for event in session.incoming] == ["one"]


class TestRetryIf:
    def test_decides_about_the_first_connection(self, client, server, sse_clock):
        server.respond(418)
        server.respond(200, {"Content-Type": "text/html"}, "<p>deployment")
        server.serve(["one"], then="stall")
        asked = []

        def retry_if(error, attempt):
            asked.append((type(error).__name__, attempt))
            return 5.0 if attempt == 1 else True

        opening = Running(lambda: client.sse(server.url, method="POST", retry_if=retry_if))
        waits = [sse_clock.advance_to_next(PATIENCE) for _ in range(2)]
        with opening.outcome() as session:
            assert session.incoming.get().data == "one"
        assert waits == [5.0, 2.0]
        assert asked == [("UnexpectedStatusError", 1), ("UnexpectedContentTypeError", 2)]

    def test_false_ends_the_first_connection(self, client, server):
        server.respond(503)
        with pytest.raises(UnexpectedStatusError):
            client.sse(server.url, retry_first_connection=True, retry_if=lambda *_: False)
        assert len(server.requests) == 1

    def test_can_wait_for_a_certificate_to_be_replaced(
        self, client, tls, tls_server, sse_clock, monkeypatch
    ):
        tls_server.serve(["one"], then="stall")
        errors = []

        def retry_if(error, _):
            errors.append(error)
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls.ca_bundle)
            return 60.0

        opening = Running(lambda: client.sse(tls_server.url, retry_if=retry_if))
        assert sse_clock.advance_to_next(PATIENCE) == 60.0
        with opening.outcome() as session:
            assert session.incoming.get().data == "one"
        (error,) = errors
        assert error.permanent
        assert not error.was_sent

    def test_can_repeat_what_was_never_sent(self, client, server, sse_clock):
        """A POST that was not sent is repeated; one that may have been is not."""
        server.handler = lambda exchange: exchange.reset()

        def retry_if(error, _):
            return isinstance(error, ConnectionFailedError) and not error.was_sent

        with pytest.raises(ConnectionFailedError):
            client.sse(server.url, method="POST", retry_if=retry_if)
        assert len(server.requests) == 1
        error = Running(
            lambda: client.sse(
                "http://127.0.0.1:1/",
                method="POST",
                retry_if=retry_if,
                max_reconnection_attempts=1,
            )
        )
        sse_clock.advance_to_next(PATIENCE)
        assert isinstance(error.outcome(), ReconnectionExhaustedError)


def test_a_query_is_repeated(client, server, sse_clock):
    server.serve([ServerSentEvent("one", id="1")], then="drop")
    server.serve(["two"], then="stall")
    with client.sse(server.url, method="QUERY", data="select") as session:
        sse_clock.advance_to_next(PATIENCE)
        assert [session.incoming.get(timeout=PATIENCE).data for _ in "12"] == ["one", "two"]
    assert [(each.method, each.body) for each in server.requests] == [("QUERY", b"select")] * 2
    assert server.requests[1].headers["Last-Event-ID"] == "1"


def test_a_block_with_nothing_but_an_id_ends_an_outage(client, server, sse_clock):
    server.serve(["one"], then="drop")
    server.respond(503)
    server.respond(503)

    def handler(exchange):
        if len(server.requests) == 4:
            exchange.write(b"id: 7\n\n")
            exchange.end()
        else:
            exchange.send("two")
            exchange.stall()

    server.handler = handler
    with client.sse(server.url, max_reconnection_attempts=3) as session:
        waits = [sse_clock.advance_to_next(PATIENCE) for _ in range(4)]
        assert [session.incoming.get(timeout=PATIENCE).data for _ in "12"] == ["one", "two"]
    assert waits == [1.0, 2.0, 4.0, 1.0]
    assert server.requests[-1].headers["Last-Event-ID"] == "7"


class TestAServerThatBreaksEachConnection:
    """It sends ``retry: 0`` and an event, and resets the connection."""

    @pytest.fixture(autouse=True)
    def greeting(self, server):
        def greet(exchange):
            exchange.send_event(ServerSentEvent("hello", retry=0))
            exchange.drop()

        server.handler = greet

    def test_is_not_asked_in_a_loop(self, client, server, sse_clock):
        with client.sse(server.url) as session:
            waits = [sse_clock.advance_to_next(PATIENCE) for _ in range(9)]
            fill(session.incoming, 12)
        # The first two breaks are ordinary losses. From then on each request waits for the clock.
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6]
        assert len(server.requests) == 12

    def test_is_given_up_at_the_limit_of_attempts(self, client, server, sse_clock):
        with client.sse(server.url, max_reconnection_attempts=5) as session:
            consumer = Running(lambda: list(session.incoming))
            waits = [sse_clock.advance_to_next(PATIENCE) for _ in range(4)]
            assert isinstance(consumer.outcome(), ReconnectionExhaustedError)
        assert waits == [0.1, 0.2, 0.4, 0.8]
        assert len(server.requests) == 7

    def test_that_ends_cleanly_instead_stays_fast(self, client, server, sse_clock):
        def greet(exchange):
            for number in range(10):
                exchange.send_event(ServerSentEvent(str(number), retry=10))
            exchange.end()

        server.handler = greet
        with client.sse(server.url) as session:
            assert [sse_clock.advance_to_next(PATIENCE) for _ in range(9)] == [0.01] * 9
            fill(session.incoming, 100)
        assert session.statistics.events >= 100
