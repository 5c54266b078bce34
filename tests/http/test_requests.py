"""The requests for a stream, and the meaning of the responses.

Based on eventsource/request-* and eventsource-reconnect of web-platform-tests.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
import requests
from canaries import CANARY
from support import PATIENCE, Running, sse_client_for_tests

from sse_client import (
    ConnectionFailedError,
    ReadyState,
    ServerSentEvent,
    SessionClosedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.testing import ManualClock, SSEServer

REDIRECTS = [301, 302, 303, 307, 308]

#: The maximum number of bytes read of a refused response.
LIMIT = 64 * 1024

#: Reading the body of a refused response takes at most two seconds. A busy machine adds the rest.
BODY_PATIENCE = 2.0 + 3.0


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


@pytest.fixture
def other():
    """A server with another origin."""
    with SSEServer() as started:
        yield started


def follow(client, server, **arguments):
    """Follow the stream to its end, and return the events."""
    with client.sse(server.url, **arguments) as session:
        return list(session.incoming)


def sent(server, name):
    return [request.headers.get(name) for request in server.requests]


def endless(exchange, status, headers=None):
    """Respond with a body that never ends, as fast as the client reads."""
    exchange.open(status, headers, framing="close")
    while True:
        exchange.write(b"x" * 4096)


class TestHeaders:
    def test_of_each_attempt_ask_for_an_event_stream(self, client, server):
        server.serve(["one"], then="drop")
        server.serve(["two"])
        server.respond(204)
        follow(client, server)
        assert sent(server, "Accept") == ["text/event-stream"] * 3
        assert sent(server, "Cache-Control") == ["no-cache"] * 3
        assert sent(server, "Pragma") == ["no-cache"] * 3
        assert sent(server, "Accept-Encoding") == ["identity"] * 3
        assert {request.method for request in server.requests} == {"GET"}

    def test_of_the_call_replace_the_usual_ones(self, client, server):
        own = {"accept": "text/event-stream;q=1", "Cache-control": "no-cache"}
        server.serve(["one"], content_encoding="gzip")
        server.respond(204)
        events = follow(client, server, headers={**own, "ACCEPT-ENCODING": "gzip"})
        assert [event.data for event in events] == ["one"]
        for request in server.requests:
            assert request.headers.get_all("Accept") == ["text/event-stream;q=1"]
            assert request.headers.get_all("Cache-Control") == ["no-cache"]
            assert request.headers.get_all("Accept-Encoding") == ["gzip"]

    def test_can_be_taken_out_with_none(self, client, server):
        server.serve(then="stall")
        client.sse(server.url, headers={"Accept": None, "Cache-Control": None}).close()
        assert sent(server, "Accept") == [None]
        assert sent(server, "Cache-Control") == [None]

    def test_of_a_plain_request_are_left_alone(self, client, server):
        server.respond(200)
        client.get(server.url)
        assert sent(server, "Accept") == ["*/*"]
        assert sent(server, "Cache-Control") == [None]


class TestLastEventId:
    def test_is_absent_until_there_is_one(self, client, server):
        server.serve(["one"])
        server.serve([b"id: 1\n\n"])
        server.respond(204)
        follow(client, server)
        assert sent(server, "Last-Event-ID") == [None, None, "1"]

    def test_is_absent_once_it_was_reset(self, client, server):
        server.serve([b"id: 1\ndata\n\n"])
        server.serve([b"id\ndata\n\n"])
        server.respond(204)
        follow(client, server, last_event_id="0")
        assert sent(server, "Last-Event-ID") == ["0", "1", None]

    @pytest.mark.parametrize(
        "last_event_id", ["é", "…", "中文 Ünï", "\U0001f600", "a b", "a:b,c;d", '"quoted"', "a\tb"]
    )
    def test_is_sent_as_utf_8(self, client, server, last_event_id):
        server.serve([ServerSentEvent("one", id=last_event_id)])
        server.respond(204)
        (event,) = follow(client, server)
        assert event.id == last_event_id
        assert sent(server, "Last-Event-ID") == [None, last_event_id]

    def test_replaces_the_one_of_the_call(self, client, server):
        server.serve([ServerSentEvent("one", id="7")])
        server.respond(204)
        follow(client, server, headers={"last-event-id": "5"})
        assert [r.headers.get_all("Last-Event-ID") for r in server.requests] == [["5"], ["7"]]

    @pytest.mark.parametrize("value", ["5", b"5"])
    def test_of_the_session_is_where_a_stream_begins(self, server, value):
        with requests.Session() as own, sse_client_for_tests(own) as client:
            own.headers["last-event-id"] = value
            server.serve(["one"])
            server.serve([ServerSentEvent("two", id="7")])
            server.respond(204)
            with client.sse(server.url) as session:
                assert [event.id for event in session.incoming] == ["5", "7"]
            assert [request.headers.get_all("Last-Event-ID") for request in server.requests] == [
                *(["5"], ["5"], ["7"])
            ]

    @pytest.mark.parametrize(
        ("arguments", "sent_at_first"),
        [
            ({"last_event_id": "3"}, "3"),
            ({"last_event_id": ""}, None),
            ({"headers": {"Last-Event-ID": "3"}}, "3"),
            ({"headers": {"LAST-EVENT-ID": lambda: "3"}}, "3"),
            ({"headers": {"Last-Event-ID": None}}, None),
            ({"headers": {"Last-Event-ID": ""}}, None),
        ],
    )
    def test_of_the_session_gives_way_to_that_of_the_call(self, server, arguments, sent_at_first):
        with requests.Session() as own, sse_client_for_tests(own) as client:
            own.headers["Last-Event-ID"] = "5"
            server.serve(then="stall")
            client.sse(server.url, **arguments).close()
        assert sent(server, "Last-Event-ID") == [sent_at_first]

    def test_survives_a_connection_that_brings_none(self, client, server):
        server.serve([ServerSentEvent("one", id="7")])
        server.serve(["two"], then="drop")
        server.respond(503)
        server.respond(204)
        events = follow(client, server)
        assert [event.id for event in events] == ["7", "7"]
        assert sent(server, "Last-Event-ID") == [None, "7", "7", "7"]

    def test_of_a_block_that_was_cut_off_does_not_count(self, client, server):
        server.serve([b"id: 1\ndata: one\n\nid: 2\ndata: cut\n"], then="drop")
        server.respond(204)
        follow(client, server)
        assert sent(server, "Last-Event-ID") == [None, "1"]

    @pytest.mark.parametrize(
        ("last_event_id", "header"),
        [
            ("  blank ahead", "blank ahead"),
            ("blank behind \t", "blank behind"),
            ("\t", None),
            ("   ", None),
            ("bell\x07", None),
            ("\x01", None),
            ("escape\x1b[0m", None),
            ("delete\x7f", None),
            ("x" * LIMIT, "x" * LIMIT),
            ("x" * (LIMIT + 1), None),
            ("x" * 1_000_000, None),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_that_no_header_can_carry_does_not_break_reconnection(
        self, client, server, last_event_id, header
    ):
        server.serve([b"id: " + last_event_id.encode() + b"\ndata: one\n\n"])
        server.serve(["two"])
        server.respond(204)
        events = follow(client, server)
        assert [event.data for event in events] == ["one", "two"]
        assert events[1].id == last_event_id
        assert sent(server, "Last-Event-ID") == [None, header, header]

    def test_is_sent_along_with_a_redirect(self, client, server):
        server.serve([ServerSentEvent("one", id="7")])
        server.redirect("/there")
        server.respond(204)
        follow(client, server)
        assert sent(server, "Last-Event-ID") == [None, "7", "7"]


class TestRedirects:
    @pytest.mark.parametrize("status", REDIRECTS)
    def test_are_followed(self, client, server, status):
        server.redirect("/there?x=1", status)
        server.serve(["one"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            assert session.response.url == server.url_for("/there?x=1")
            assert [each.status_code for each in session.response.history] == [status]
        assert [request.target for request in server.requests] == ["/", "/there?x=1"]
        assert sent(server, "Accept") == ["text/event-stream"] * 2

    @pytest.mark.parametrize(
        ("status", "method", "follows_as"),
        [
            *((301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET")),
            *((307, "POST", "POST"), (308, "POST", "POST")),
            *((301, "PUT", "PUT"), (302, "PUT", "GET"), (303, "PUT", "GET")),
            *((301, "HEAD", "HEAD"), (302, "HEAD", "HEAD"), (303, "HEAD", "HEAD")),
        ],
    )
    def test_change_the_method_as_requests_does(self, client, server, status, method, follows_as):
        body = b"" if method == "HEAD" else b"question"
        server.redirect("/there", status)
        server.serve(then="stall")
        client.sse(server.url, method=method, data=body, reconnect="never").close()
        first, second = server.requests
        assert (first.method, first.body) == (method, body)
        assert (second.method, second.body) == (follows_as, body if status >= 307 else second.body)
        if follows_as == "GET":
            assert second.body == b""

    def test_begin_at_the_first_address_with_each_attempt(self, client, server):
        server.redirect("/there", 301)
        server.serve(["one"])
        server.redirect("/elsewhere", 302)
        server.respond(204)
        follow(client, server)
        assert [r.target for r in server.requests] == ["/", "/there", "/", "/elsewhere"]

    @pytest.mark.parametrize(
        ("location", "target"),
        [
            ("there", "/a/there"),
            ("../there", "/there"),
            ("?x=1", "/a/b?x=1"),
            ("/th%C3%A9re", "/th%C3%A9re"),
            ("/thére", "/th%C3%A9re"),
            ("/a b", "/a%20b"),
        ],
    )
    def test_may_be_relative(self, client, server, location, target):
        server.redirect(location)
        server.serve(then="stall")
        client.sse(server.url_for("/a/b")).close()
        assert server.requests[1].target == target

    def test_may_be_relative_to_the_scheme(self, client, server, other):
        server.redirect(f"//{other.host}:{other.port}/there")
        other.serve(then="stall")
        client.sse(server.url).close()
        assert other.requests[0].target == "/there"

    def test_may_be_several(self, client, server):
        for number in range(30):
            server.redirect(f"/{number}")
        server.serve(["one"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            assert len(session.response.history) == 30

    def test_in_a_loop_are_final(self, client, server):
        server.handler = lambda exchange: exchange.redirect("/")
        with pytest.raises(ConnectionFailedError, match=": too many redirects") as caught:
            client.sse(server.url, retry_first_connection=True)
        assert caught.value.permanent
        assert len(server.requests) == 31

    @pytest.mark.parametrize(
        "location",
        ["ftp://127.0.0.1/", "mailto:me", "http://[::1/", "http://127.0.0.1:x/", "data:,"],
    )
    def test_to_what_is_no_http_address_are_final(self, client, server, location):
        server.redirect(location)
        with pytest.raises(ConnectionFailedError, match="redirected to ") as caught:
            client.sse(server.url, retry_first_connection=True)
        assert caught.value.permanent

    def test_with_bytes_that_are_no_text_are_final(self, client, server):
        server.handler = lambda exchange: exchange.write_raw(
            b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9\r\n\r\n"
        )
        with pytest.raises(ConnectionFailedError) as caught:
            client.sse(server.url)
        assert caught.value.permanent

    def test_are_not_followed_if_told_so(self, client, server):
        server.redirect("/there")
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url, allow_redirects=False)
        assert caught.value.status_code == 302
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [*REDIRECTS, 300, 304, 305])
    def test_to_nowhere_are_an_unexpected_status(self, client, server, status):
        server.respond(status)
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.status_code == status

    @pytest.mark.parametrize("status", [300, 304, 305, 306])
    def test_are_five_statuses_alone(self, client, server, status):
        server.redirect("/there", status)
        with pytest.raises(UnexpectedStatusError):
            client.sse(server.url)
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "arguments",
        [{"auth": ("user", CANARY)}, {"headers": {"Authorization": f"Bearer {CANARY}"}}],
    )
    def test_to_another_origin_are_not_given_the_authorization(
        self, client, server, other, arguments
    ):
        # Another port of the same host is another origin.
        server.redirect(other.url)
        other.serve(then="stall")
        client.sse(server.url, **arguments).close()
        assert server.requests[0].headers["Authorization"]
        assert sent(other, "Authorization") == [None]

    def test_to_the_same_origin_are_given_the_authorization(self, client, server):
        server.redirect("/there")
        server.serve(then="stall")
        client.sse(server.url, auth=("user", CANARY)).close()
        first, second = sent(server, "Authorization")
        assert first == second != None  # noqa: E711  # one comparison for both

    @pytest.mark.slow
    def test_with_an_endless_body_are_followed_all_the_same(self, client, server, other):
        server.handler = lambda exchange: endless(exchange, 302, {"Location": other.url})
        other.serve(["one"], then="stall")
        began = time.monotonic()
        with client.sse(server.url) as session:
            assert time.monotonic() - began < BODY_PATIENCE
            assert session.incoming.get().data == "one"

    @pytest.mark.slow
    def test_with_a_stalled_body_are_followed_all_the_same(self, client, server, other):
        server.serve([b"wait"], then="stall", status=302, headers={"Location": other.url})
        other.serve(["one"], then="stall")
        began = time.monotonic()
        with client.sse(server.url) as session:
            assert time.monotonic() - began < BODY_PATIENCE
            assert session.incoming.get().data == "one"

    def test_with_a_stalled_body_can_be_aborted(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            exchange.open(302, {"Location": "/there"})
        assert isinstance(opening.outcome(), SessionClosedError)
        assert exchange.wait_closed()


class TestNoContent:
    def test_ends_a_stream_before_it_began(self, client, server):
        server.respond(204)
        closed = []
        with client.sse(server.url, on_close=closed.append) as session:
            assert list(session.incoming) == []
            assert session.state is ReadyState.CLOSED
            assert session.error is None
            assert session.response.status_code == 204
            session.close()
        assert closed == [session]
        assert len(server.requests) == 1

    def test_ends_a_stream_after_its_last_event(self, client, server):
        server.serve(["one"])
        server.respond(204, {"Content-Type": "text/event-stream"})
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one"]
            assert session.state is ReadyState.CLOSED
            assert session.error is None
            assert session.response.status_code == 204
        assert len(server.requests) == 2


class TestContentTypes:
    @pytest.mark.parametrize(
        "content_type",
        [
            "text/event-stream",
            "text/event-stream;charset=UTF-8",
            "text/event-stream; charset=windows-1251",
            "text/event-stream;",
            "text/event-stream ; a=b; c",
            "TEXT/Event-Stream",
        ],
    )
    def test_of_a_stream_are_taken(self, client, server, content_type):
        server.serve(["é"], headers={"Content-Type": content_type}, then="stall")
        with client.sse(server.url) as session:
            # The stream is always decoded as UTF-8, whatever the charset.
            assert session.incoming.get().data == "é"

    @pytest.mark.parametrize(
        "content_type",
        [
            "text/plain",
            "text/html; charset=utf-8",
            "text/event-streams",
            "text/x-event-stream",
            "text/event-stream,text/html",
            "text / event-stream",
            "a;text/event-stream",
            "event-stream",
            "",
        ],
    )
    def test_of_anything_else_are_an_error(self, client, server, content_type):
        server.serve(["one"], headers={"Content-Type": content_type})
        with pytest.raises(
            UnexpectedContentTypeError, match="not with text/event-stream"
        ) as caught:
            client.sse(server.url, retry_first_connection=True)
        assert caught.value.content_type == content_type
        assert caught.value.body == b"data: one\n\n"
        assert caught.value.response.status_code == 200
        assert len(server.requests) == 1

    def test_that_are_missing_are_an_error(self, client, server):
        server.respond(200, body=b"data: one\n\n")
        with pytest.raises(UnexpectedContentTypeError, match="no content type") as caught:
            client.sse(server.url)
        assert caught.value.content_type == ""
        assert caught.value.response.text == "data: one\n\n"

    def test_that_change_later_end_the_session_after_the_last_event(self, client, server):
        server.serve(["one"])
        server.respond(200, {"Content-Type": "text/html"}, "<p>")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            with pytest.raises(UnexpectedContentTypeError) as caught:
                session.incoming.get()
            assert caught.value is session.error
            assert caught.value.body == b"<p>"


class TestStatuses:
    @pytest.mark.parametrize(
        "status",
        [*(201, 202, 205, 206, 210, 299), *(400, 401, 403, 404, 410, 418, 499), *(501, 599)],
    )
    def test_other_than_200_and_204_are_final(self, client, server, status):
        server.serve(["one"], status=status)
        with pytest.raises(UnexpectedStatusError, match=f" responded with {status}") as caught:
            client.sse(server.url, retry_first_connection=True)
        error = caught.value
        assert error.status_code == error.response.status_code == status
        assert error.body == error.response.content == b"data: one\n\n"
        assert error.retry_after is None
        assert len(server.requests) == 1

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_that_pass_are_tried_again(self, client, server, status):
        server.serve(["one"])
        server.respond(status)
        server.serve(["two"])
        server.respond(204)
        assert [event.data for event in follow(client, server)] == ["one", "two"]

    def test_that_pass_are_an_error_of_the_first_connection(self, client, server):
        server.respond(503, body="busy")
        with pytest.raises(UnexpectedStatusError, match="responded with 503 Service Unavailable"):
            client.sse(server.url)

    def test_that_are_final_end_the_session_after_the_last_event(self, client, server):
        server.serve(["one"])
        server.respond(410, {"X-Why": "gone"}, "gone for good")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            with pytest.raises(UnexpectedStatusError) as caught:
                session.incoming.get()
        assert caught.value.body == b"gone for good"
        assert caught.value.response.headers["X-Why"] == "gone"

    def test_carry_a_compressed_body_as_it_was_meant(self, client, server):
        server.serve([b"why not"], status=404, content_encoding="gzip")
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.body == b"why not"

    def test_carry_what_came_of_a_body_that_broke_off(self, client, server):
        server.serve([b"half"], status=404, framing="length", content_length=100, then="drop")
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.body == b"half"

    @pytest.mark.parametrize(
        ("size", "read"), [(0, 0), (LIMIT - 1, LIMIT - 1), (LIMIT, LIMIT), (LIMIT + 1, LIMIT)]
    )
    def test_carry_64_kib_of_their_body(self, client, server, size, read):
        server.respond(404, body=b"x" * size)
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.body == b"x" * read
        assert caught.value.response.content == b"x" * read

    @pytest.mark.parametrize("status", [200, 404])
    def test_with_an_endless_body_do_not_keep_the_caller(self, client, server, status):
        server.handler = lambda exchange: endless(exchange, status, {"Content-Type": "text/html"})
        began = time.monotonic()
        with pytest.raises((UnexpectedStatusError, UnexpectedContentTypeError)) as caught:
            client.sse(server.url)
        assert time.monotonic() - began < BODY_PATIENCE
        assert caught.value.body == b"x" * LIMIT

    @pytest.mark.parametrize("status", [200, 404])
    def test_with_a_stalled_body_do_not_keep_the_caller(self, sse_memory, sse_clock, status):
        head = f"HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\n"
        with sse_memory.client() as client:
            opening = Running(lambda: client.sse(sse_memory.url))
            sse_memory.accept().write_raw(head.encode() + b"some")
            assert sse_clock.advance_to_next() == 2
            error = opening.outcome()
        assert isinstance(error, UnexpectedStatusError | UnexpectedContentTypeError)
        assert error.body == b"some"

    @pytest.mark.slow
    def test_with_a_trickling_body_do_not_keep_the_caller(self, client, server):
        def trickle(exchange):
            exchange.open(404)
            while not exchange.wait_closed(0.05):
                exchange.write(b".")

        server.handler = trickle
        began = time.monotonic()
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert time.monotonic() - began < BODY_PATIENCE
        assert set(caught.value.body) == set(b".")


def http_date(seconds_from_now, clock=None):
    now = clock or datetime.now(timezone.utc)
    return format_datetime(now + timedelta(seconds=seconds_from_now), usegmt=True)


NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)


class TestRetryAfter:
    def retry_after(self, client, server, value, **headers):
        server.respond(503, {"Retry-After": value, **headers})
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        return caught.value.retry_after

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0.0),
            ("7", 7.0),
            ("120", 120.0),
            (" 5 ", 5.0),
            ("9" * 30, float("9" * 18)),
            ("1.5", 2.0),
            (".2", 1.0),
            ("5, 6", 6.0),
            ("6, 5", 6.0),
            ("7, soon", 7.0),
            ("3., 0.0", 3.0),
        ],
    )
    def test_may_be_seconds(self, client, server, value, seconds):
        assert self.retry_after(client, server, value) == seconds

    @pytest.fixture
    def client_at_noon(self, sse_memory):
        with sse_client_for_tests(
            sse_memory.session, clock=ManualClock(wall_time=NOON.timestamp())
        ) as client:
            yield client

    def test_may_be_a_date_by_our_clock(self, client_at_noon, sse_memory):
        assert self.retry_after(client_at_noon, sse_memory, http_date(100, NOON)) == 100

    def test_may_be_a_date_by_the_clock_of_the_system(self, client, server):
        found = self.retry_after(client, server, http_date(100))
        assert 100 - PATIENCE < found <= 100

    def test_may_be_a_date_by_the_server_s_clock(self, client, server):
        found = self.retry_after(client, server, http_date(90, NOON), Date=http_date(0, NOON))
        assert found == 90.0

    @pytest.mark.parametrize("date", ["nonsense", ""])
    def test_may_be_a_date_beside_a_clock_that_cannot_be_read(
        self, client_at_noon, sse_memory, date
    ):
        value = http_date(100, NOON)
        assert self.retry_after(client_at_noon, sse_memory, value, Date=date) == 100

    @pytest.mark.parametrize(
        "value", ["Tue, 01 Jan 2030 12:01:30 GMT", "Tuesday, 01-Jan-30 12:01:30 GMT"]
    )
    @pytest.mark.parametrize("date", [http_date(0, NOON), "Tue Jan  1 12:00:00 2030"])
    def test_may_be_a_date_of_any_form_that_http_knows(self, client, server, value, date):
        # RFC 9110, section 5.6.7: a recipient must accept the two obsolete forms, too.
        assert self.retry_after(client, server, value, Date=date) == 90.0
        assert self.retry_after(client, server, "Tue Jan  1 12:01:30 2030", Date=date) == 90.0

    @pytest.mark.parametrize(
        "value",
        [http_date(-100), "Thu, 01 Jan 1970 00:00:00 GMT"],
        ids=["100 seconds ago", "the epoch"],
    )
    def test_of_the_past_means_now(self, client, server, value):
        assert self.retry_after(client, server, value) == 0.0

    @pytest.mark.parametrize(
        "value",
        [
            *("", "soon", "-5", "5s", "1e3", "0x10", "+5", "\u0665", "\u00b2", ".", "1.5.0"),
            *("99 Foo 2030", "Tue, 45 Jan 2030 12:00:00 GMT", "2030-01-01T12:00:00Z"),
        ],
    )
    def test_that_is_neither_is_ignored(self, client, server, value):
        assert self.retry_after(client, server, value) is None

    def test_of_several_values_is_the_latest_time(self, client, server):
        dates = ", ".join(http_date(seconds, NOON) for seconds in (90, 30))
        for value in (f"5, {dates}", f"{dates}, 5", f"{http_date(30, NOON)}, 90"):
            assert self.retry_after(client, server, value, Date=http_date(0, NOON)) == 90.0

    def test_that_is_missing_is_none(self, client, server):
        server.respond(503)
        with pytest.raises(UnexpectedStatusError) as caught:
            client.sse(server.url)
        assert caught.value.retry_after is None


class TestResponse:
    def test_is_that_of_the_current_connection(self, client, server):
        opened = []
        server.serve(["one"], headers={"X-N": "1"})
        server.serve(["two"], headers={"X-N": "2"}, then="stall")
        with client.sse(
            server.url, on_open=lambda session: opened.append(session.response.headers["X-N"])
        ) as session:
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
            assert session.response.headers["X-N"] == "2"
        assert opened == ["1", "2"]
        assert session.response.headers["X-N"] == "2"

    def test_tells_the_address_and_the_request(self, client, server):
        server.serve(then="stall")
        with client.sse(server.url, params={"a": "b"}) as session:
            assert session.response.url == server.url_for("/?a=b")
            assert session.response.request.headers["Accept"] == "text/event-stream"
