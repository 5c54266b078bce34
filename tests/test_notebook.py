"""The tables that a notebook shows for events, sessions and clients."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser

import pytest

from sse_client import (
    SSE,
    BearerAuth,
    HttpClient,
    ServerSentEvent,
    SSEClientError,
    TypedServerSentEvent,
)
from sse_client.event_stream.notebook import MAX_SHOWN


class Table(HTMLParser):
    """The texts of the cells, and the elements."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts = set(), []
        self.feed(html)
        self.close()
        self.caption, *cells = self.texts
        self.rows = dict(zip(cells[::2], cells[1::2], strict=True))
        assert self.elements == {"table", "caption", "tr", "th", "td"}

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        if tag in {"caption", "th", "td"}:
            self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data


def shown(value):
    return Table(value._repr_html_())


@dataclass
class Price:
    symbol: str
    price: float


class TestOfAnEvent:
    def test_names_the_fields_that_have_a_value(self):
        table = shown(ServerSentEvent("one\ntwo\tthree", event="news", id="7"))
        assert table.caption == "ServerSentEvent"
        assert table.rows == {"event": "news", "id": "7", "data": "one\ntwo\tthree"}

    def test_shows_all_fields(self):
        table = shown(ServerSentEvent("", retry=0, comments="a comment"))
        expected = {"event": "message", "data": "", "retry": "0", "comments": "a comment"}
        assert table.rows == expected

    def test_escapes_what_a_server_sends(self):
        evil = "<script>alert('&\"')</script>"
        event = ServerSentEvent(evil, event=evil, id=evil, comments=evil)
        assert "<script" not in event._repr_html_()
        assert shown(event).rows == dict.fromkeys(["event", "id", "data", "comments"], evil)

    def test_shows_control_characters_as_escapes(self):
        assert shown(ServerSentEvent("a\x1b[31m\u202eb")).rows["data"] == r"a\x1b[31m\u202eb"

    def test_cuts_long_data(self):
        text = shown(ServerSentEvent("x" * (MAX_SHOWN + 1))).rows["data"]
        assert text == f"{'x' * MAX_SHOWN}\N{HORIZONTAL ELLIPSIS} ({MAX_SHOWN + 1} characters)"
        assert shown(ServerSentEvent("x" * MAX_SHOWN)).rows["data"] == "x" * MAX_SHOWN

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (Price("<b>", 1.5), "Price(symbol='<b>', price=1.5)"),
            ("<b>", "<b>"),
            ({"a": [1]}, "{'a': [1]}"),
        ],
    )
    def test_shows_typed_data(self, data, text):
        table = shown(TypedServerSentEvent(data, id="7", source=ServerSentEvent("source")))
        assert table.caption == "TypedServerSentEvent"
        assert table.rows == {"event": "message", "id": "7", "data": text}


class TestOfASession:
    def test_shows_the_state_and_the_figures(self, server):
        server.serve([ServerSentEvent("one", id="<1>"), "two"], then="stall")
        with (
            HttpClient().install(SSE) as client,
            client.sse(f"{server.url}?token=secret", headers={"Cookie": "secret"}) as session,
        ):
            session.incoming.get()
            session.incoming.get()
            table = shown(session)
        assert table.caption == "SSESession"
        assert table.rows == {
            "host": "127.0.0.1",
            "state": "OPEN",
            "events received": "2",
            "events waiting": "0",
            "last event ID": "<1>",
            "connections": "1",
        }

    def test_shows_the_error(self, server):
        server.serve([], then="drop")
        server.respond(403, body="<b>secret</b>")
        with (
            HttpClient().install(SSE, reconnection_time=0.0) as client,
            client.sse(server.url) as session,
        ):
            with pytest.raises(SSEClientError) as caught:
                next(session.incoming)
            html = session._repr_html_()
        rows = Table(html).rows
        assert rows["state"] == "CLOSED"
        assert rows["error"] == f"UnexpectedStatusError: {caught.value}"
        assert "<b>" not in html


class TestOfAClient:
    def test_names_the_plugins_and_the_sessions(self, server):
        server.handler = lambda exchange: (exchange.open(), exchange.stall())
        client = HttpClient()
        assert repr(client) == "<HttpClient open, plugins: none, sessions: 0>"
        assert shown(client).rows == {"state": "open", "plugins": "none", "sessions": "none"}
        client.install(SSE).install(BearerAuth, load=lambda: "secret", refresh=lambda _: "secret")
        with client, client.sse(server.url), client.sse(server.url) as other:
            assert repr(client) == "<HttpClient open, plugins: SSE, BearerAuth, sessions: 2>"
            assert shown(client).rows == {
                "state": "open",
                "plugins": "SSE, BearerAuth",
                "sessions": "127.0.0.1 OPEN\n127.0.0.1 OPEN",
            }
            other.close()
            assert shown(client).rows["sessions"] == "127.0.0.1 OPEN"
        assert repr(client) == "<HttpClient closed, plugins: SSE, BearerAuth, sessions: 0>"
        assert shown(client).rows["state"] == "closed"

    def test_shows_a_few_of_many_sessions(self, server):
        server.handler = lambda exchange: (exchange.open(), exchange.stall())
        with HttpClient().install(SSE) as client:
            sessions = [client.sse(server.url) for _ in range(12)]
            lines = shown(client).rows["sessions"].split("\n")
            assert lines == [*["127.0.0.1 OPEN"] * 10, "and 2 more"]
        assert len(sessions) == 12
