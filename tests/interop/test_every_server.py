"""A stream behaves in the same way with every server and every framing."""

from __future__ import annotations

import pytest
from servers import PATIENCE, Origin

from sse_client import ReadyState, ServerSentEvent

pytestmark = pytest.mark.interop


@pytest.fixture(
    scope="module",
    params=[
        "uvicorn_address",
        "http_server_address",
        "flask_address",
        "nginx_address",
        "tls_address",
    ],
)
def address(request: pytest.FixtureRequest) -> Origin:
    """http.server with close-delimited HTTP/1.0, and other servers with chunks and TLS."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def origin(address: Origin) -> Origin:
    return Origin(address.root, address.verify)


def number(count: int) -> ServerSentEvent:
    return ServerSentEvent(f"number {count}", event="number", id=str(count))


def test_events_arrive_as_they_were_sent(client, origin):
    with client.sse(origin.url("/numbers", last=3), verify=origin.verify) as session:
        assert list(session.incoming) == [number(1), number(2), number(3)]
    assert session.error is None


def test_an_event_arrives_before_the_next_is_sent(client, origin):
    with client.sse(origin.url("/paced", last=5), verify=origin.verify) as session:
        for count in range(1, 6):
            # The server sends the next event only on request.
            assert session.incoming.get(timeout=PATIENCE) == number(count)
            origin.acknowledge(count)
        assert list(session.incoming) == []
    assert origin.asked_for == [None, "5"]


def test_a_stream_that_the_server_ends_goes_on(client, origin):
    with client.sse(origin.url("/numbers", last=10, each=3), verify=origin.verify) as session:
        assert list(session.incoming) == [number(count) for count in range(1, 11)]
    assert origin.asked_for == [None, "3", "6", "9", "10"]


def test_a_stream_that_the_server_breaks_off_goes_on(client, origin):
    url = origin.url("/numbers", last=10, each=3, then="break")
    with client.sse(url, verify=origin.verify) as session:
        assert list(session.incoming) == [number(count) for count in range(1, 11)]
    # If the connection is reset, events on their way may be lost, and are then sent again.
    assert origin.asked_for[0] is None
    assert origin.asked_for[-1] == "10"


def test_a_connection_that_the_client_drops_is_followed_by_another(client, origin):
    url = origin.url("/numbers", last=6, each=3, then="hold")
    with client.sse(url, verify=origin.verify) as session:
        for count in (1, 2, 3):
            assert session.incoming.get(timeout=PATIENCE) == number(count)
        session.reconnect()
        for count in (4, 5, 6):
            assert session.incoming.get(timeout=PATIENCE) == number(count)
        origin.wait_until_ended(1)
        session.reconnect()
        assert list(session.incoming) == []
    origin.wait_until_ended(2)
    assert origin.asked_for == [None, "3", "6"]


def test_a_stream_begins_where_it_is_told_to(client, origin):
    url = origin.url("/numbers", last=6)
    with client.sse(url, verify=origin.verify, last_event_id="4") as session:
        assert list(session.incoming) == [number(5), number(6)]
    assert origin.asked_for == ["4", "6"]


def test_closing_is_seen_by_the_server(client, origin):
    url = origin.url("/numbers", last=1, then="hold")
    with client.sse(url, verify=origin.verify) as session:
        assert session.incoming.get(timeout=PATIENCE) == number(1)
    assert session.state is ReadyState.CLOSED
    origin.wait_until_ended()
    assert origin.asked_for == [None]


def test_closing_the_client_is_seen_by_the_server(client, origin):
    url = origin.url("/numbers", last=1, then="hold")
    sessions = [client.sse(url, verify=origin.verify) for _ in range(3)]
    for session in sessions:
        assert session.incoming.get(timeout=PATIENCE) == number(1)
    client.close()
    assert [session.state for session in sessions] == [ReadyState.CLOSED] * 3
    origin.wait_until_ended(3)


def test_the_request_asks_for_an_event_stream(client, origin):
    with client.sse(origin.url("/numbers", last=1), verify=origin.verify) as session:
        assert session.incoming.get(timeout=PATIENCE) == number(1)
    asked = origin.requests[0]
    assert asked[":method"] == "GET"
    assert asked["accept"] == "text/event-stream"
    assert asked["cache-control"] == "no-cache"
    assert asked["accept-encoding"] == "identity"
    assert asked["user-agent"].startswith("sse-client/")
