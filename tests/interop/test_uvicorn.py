"""uvicorn with sse-starlette, and other responses of a Starlette application."""

from __future__ import annotations

import threading

import pytest
from servers import PATIENCE, Origin

from sse_client import (
    ConnectionFailedError,
    ServerSentEvent,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)

pytestmark = pytest.mark.interop

#: Characters that are line ends elsewhere, and some characters of several bytes.
NO_LINE_ENDS = "a\u2028b\u2029c\x85d\x0be\x0cf\x1eg h\u00e9\u20ac\U0001f600"


@pytest.fixture
def origin(uvicorn_address):
    return Origin(uvicorn_address.root)


def take(session, count):
    return [session.incoming.get(timeout=PATIENCE).data for _ in range(count)]


def number(*counts):
    return [f"number {count}" for count in counts]


@pytest.mark.parametrize("sep", ["\r\n", "\n", "\r"], ids=["CRLF", "LF", "CR"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"data": "plain"}, ServerSentEvent("plain")),
        ({"data": ""}, ServerSentEvent("")),
        ({"data": " led by a blank"}, ServerSentEvent(" led by a blank")),
        ({"data": "one\ntwo\n\nfour\n"}, ServerSentEvent("one\ntwo\n\nfour\n")),
        ({"data": "one\r\ntwo\rthree"}, ServerSentEvent("one\ntwo\nthree")),
        ({"data": NO_LINE_ENDS}, ServerSentEvent(NO_LINE_ENDS)),
        (
            {"data": "all", "event": "news", "id": "\u00e9-7", "retry": 50, "comment": "a\nb"},
            ServerSentEvent("all", event="news", id="\u00e9-7", retry=50, comments="a\nb"),
        ),
    ],
    ids=["plain", "empty", "blank", "lines", "line ends", "no line ends", "all fields"],
)
def test_an_event_of_sse_starlette_is_read_back(client, origin, sep, sent, expected):
    with client.sse(origin.url("/echo", sep=sep), method="POST", json=[sent]) as session:
        assert list(session.incoming) == [expected]
    assert session.error is None


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_large_event_arrives_whole(client, origin, size):
    text = "\u20ac" * size
    sent = [{"data": text}, {"data": "after it"}]
    with client.sse(origin.url("/echo"), method="POST", json=sent) as session:
        assert [event.data for event in session.incoming] == [text, "after it"]


def test_many_events_arrive_in_order(client, origin):
    with client.sse(origin.url("/numbers", last=5000), capacity=10) as session:
        assert [int(event.id) for event in session.incoming] == list(range(1, 5001))


def test_pings_are_told_as_comments(client, origin):
    told = []
    enough = threading.Event()

    def on_comment(_, text):
        told.append(text)
        if len(told) == 3:
            enough.set()

    with client.sse(origin.url("/pings"), on_comment=on_comment) as session:
        assert enough.wait(PATIENCE)
        assert session.incoming.empty()
        origin.acknowledge(1)
        assert take(session, 1) == number(1)
    assert all(text.startswith("ping - ") for text in told)
    assert session.statistics.comments >= 3


def test_pings_are_events_if_wanted(client, origin):
    with client.sse(origin.url("/pings"), show_comment_events=True) as session:
        ping = session.incoming.get(timeout=PATIENCE)
    assert ping.data == ""
    assert ping.comments.startswith("ping - ")


def test_the_servers_retry_replaces_the_reconnection_time(client, origin, losses):
    url = origin.url("/numbers", last=2, each=1, retry=20)
    with client.sse(url, reconnection_time=3600) as session:
        assert [(event.data, event.retry) for event in session.incoming] == [
            ("number 1", 20),
            ("number 2", 20),
        ]
    assert [loss.delay for loss in (losses.get_nowait(), losses.get_nowait())] == [0.02, 0.02]


def test_what_breaks_the_generator_breaks_the_stream(client, origin, losses):
    with client.sse(origin.url("/numbers", last=1, then="break")) as session:
        assert [event.data for event in session.incoming] == number(1)
    assert isinstance(losses.get_nowait().error, StreamInterruptedError)


def test_half_an_event_is_dropped_and_comes_whole(client, origin):
    with client.sse(origin.url("/torn")) as session:
        assert [event.data for event in session.incoming] == number(1, 2, 3)
    assert origin.asked_for == [None, "1", "3"]


def test_a_broken_stream_that_is_not_to_reconnect_is_an_error(client, origin):
    with client.sse(origin.url("/torn"), reconnect="never") as session:
        assert take(session, 1) == number(1)
        with pytest.raises(StreamInterruptedError):
            session.incoming.get(timeout=PATIENCE)


def test_a_killed_server_comes_back(client, own_uvicorn, losses):
    origin = Origin(own_uvicorn.url)
    with client.sse(origin.url("/numbers", last=6, each=3, then="hold")) as session:
        assert take(session, 3) == number(1, 2, 3)
        own_uvicorn.kill()
        assert isinstance(losses.get(timeout=PATIENCE).error, StreamInterruptedError)
        assert isinstance(losses.get(timeout=PATIENCE).error, ConnectionFailedError)
        own_uvicorn.start()
        assert take(session, 3) == number(4, 5, 6)
        assert origin.asked_for == ["3"]


def test_a_server_that_is_stopped_comes_back(client, own_uvicorn, losses):
    origin = Origin(own_uvicorn.url)
    # Paced, because the old server may listen for a moment after it has ended its streams.
    with client.sse(origin.url("/paced", last=4)) as session:
        assert take(session, 1) == number(1)
        origin.acknowledge(1)
        assert take(session, 1) == number(2)
        own_uvicorn.stop()
        losses.get(timeout=PATIENCE)
        own_uvicorn.start()
        for count in (3, 4):
            origin.acknowledge(count - 1)
            assert take(session, 1) == number(count)
        assert list(session.incoming) == []
    assert origin.asked_for == ["2", "4"]


def test_a_server_that_is_down_is_a_failed_connection(client, own_uvicorn):
    own_uvicorn.kill()
    with pytest.raises(ConnectionFailedError) as caught:
        client.sse(Origin(own_uvicorn.url).url("/numbers", last=1))
    assert not caught.value.permanent


def test_a_post_ends_at_its_mark(client, origin):
    prompt = {"prompt": "so much to say"}
    url = origin.url("/chat")
    with client.sse(url, method="POST", json=prompt, end_of_stream="[DONE]") as session:
        assert [event.data for event in session.incoming] == ["so", "much", "to", "say"]
        # Otherwise the server would keep the connection.
        origin.wait_until_ended()
    assert [request[":method"] for request in origin.requests] == ["POST"]
    assert origin.ask("/bodies") == [prompt]


def test_gzip_arrives_event_by_event(client, origin):
    url = origin.url("/zipped/paced", last=4)
    with client.sse(url, headers={"Accept-Encoding": "gzip"}) as session:
        assert session.response.headers["Content-Encoding"] == "gzip"
        for count in range(1, 5):
            assert take(session, 1) == number(count)
            origin.acknowledge(count)
        assert list(session.incoming) == []
    assert origin.requests[0]["accept-encoding"] == "gzip"


def test_no_content_ends_the_stream(client, origin):
    with client.sse(origin.url("/nothing")) as session:
        assert list(session.incoming) == []
    assert session.error is None
    assert session.response.status_code == 204
    assert origin.asked_for == [None]


def test_unauthorized_is_an_error_with_the_response(client, origin):
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(origin.url("/guarded", last=1))
    assert caught.value.status_code == 401
    assert caught.value.response.headers["WWW-Authenticate"] == "Bearer"
    assert caught.value.response.json() == {"detail": "who is there?"}


def test_a_token_is_asked_for_anew_on_each_attempt(client, origin):
    tokens = iter(["open-sesame", "open-sesame", "stale"])
    headers = {"Authorization": lambda: f"Bearer {next(tokens)}"}
    with client.sse(origin.url("/guarded", last=9, each=2), headers=headers) as session:
        assert take(session, 4) == number(1, 2, 3, 4)
        with pytest.raises(UnexpectedStatusError) as caught:
            session.incoming.get(timeout=PATIENCE)
    assert caught.value.status_code == 401
    assert session.error is caught.value


def test_a_wrong_path_is_an_error(client, origin):
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(origin.url("/nowhere"))
    assert caught.value.status_code == 404
    assert caught.value.body == b"Not Found"


def test_a_wrong_method_is_an_error(client, origin):
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(origin.url("/numbers", last=1), method="POST", json=[])
    assert caught.value.status_code == 405


def test_another_content_type_is_an_error(client, origin):
    with pytest.raises(UnexpectedContentTypeError) as caught:
        client.sse(origin.url("/requests"))
    assert caught.value.content_type == "application/json"
    assert caught.value.body == b"[]"


def test_a_busy_server_is_given_the_time_that_it_asks_for(client, origin, losses):
    with client.sse(origin.url("/busy")) as session:
        assert [event.data for event in session.incoming] == number(1, 2)
    ended, refused, *_ = [losses.get_nowait() for _ in range(3)]
    assert ended.error is None
    assert refused.error.status_code == 503
    assert refused.delay == 1.0
    assert origin.asked_for == [None, "1", "1", "2"]


def test_a_redirect_is_followed_on_each_attempt(client, origin):
    with client.sse(origin.url("/moved", to="/numbers", last=4, each=2)) as session:
        assert [event.data for event in session.incoming] == number(1, 2, 3, 4)
    assert origin.asked_for == [None, None, "2", "2", "4", "4"]


def test_a_redirected_post_keeps_its_body(client, origin):
    sent = [{"data": "kept"}]
    with client.sse(origin.url("/moved", to="/echo"), method="POST", json=sent) as session:
        assert [event.data for event in session.incoming] == ["kept"]
    assert [request[":method"] for request in origin.requests] == ["POST", "POST"]


@pytest.mark.parametrize("path", ["/plain", "/told"])
def test_the_application_can_tell_that_the_client_has_gone(client, origin, path):
    with client.sse(origin.url(path)) as session:
        assert take(session, 1) == ["here"]
    origin.wait_until_ended()


def test_fifty_streams_at_once(client, origin):
    names = [f"stream {count}" for count in range(50)]
    sessions = [
        client.sse(origin.url("/crowd", name=name, size=50, last=20), end_of_stream="[DONE]")
        for name in names
    ]
    for name, session in zip(names, sessions, strict=True):
        assert [event.data for event in session.incoming] == [
            f"{name}: number {count}" for count in range(1, 21)
        ]
        session.close()
        assert session.error is None
