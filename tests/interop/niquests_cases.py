"""Streams over a session of niquests. ``test_niquests`` runs this where niquests is installed."""

from __future__ import annotations

import os
import queue
import re
import sys
import threading
import uuid
from pathlib import Path

import niquests
import pytest
import requests

from sse_client import (
    SSE,
    ConnectionFailedError,
    HttpClient,
    IdleTimeoutError,
    ReadyState,
    SessionClosedError,
    StreamInterruptedError,
    UnexpectedStatusError,
    iter_events,
)
from sse_client.http.stream_connection import StreamConnection

BUNDLE = os.environ["CASES_BUNDLE"]
ROOTS = {"HTTP/1.1": os.environ["CASES_HTTP_1"], "HTTP/2": os.environ["CASES_HTTP_2"]}
SECRET = "open-sesame"
PATIENCE = 20.0


@pytest.fixture
def session():
    with niquests.Session() as made:
        yield made


@pytest.fixture
def client(session):
    with HttpClient(session).install(SSE, reconnection_time=0.01) as installed:
        yield installed


class Origin:
    """A server, and the key of one test's streams."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.root = ROOTS[version]
        self._key = uuid.uuid4().hex

    def url(self, path: str, **parameters: object) -> str:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{self.root}{path}?key={self._key}&{query}"

    def ask(self, path: str, **parameters: object):
        answer = niquests.get(self.url(path, **parameters), verify=BUNDLE, timeout=PATIENCE)
        return answer.raise_for_status().json()


@pytest.fixture(params=ROOTS)
def origin(request):
    return Origin(request.param)


def numbers(*counts):
    return [f"number {count}" for count in counts]


def take(session, count):
    return [session.incoming.get(timeout=PATIENCE).data for _ in range(count)]


def test_no_import_of_ours_has_brought_niquests():
    assert "niquests" not in vars(sys.modules["sse_client"])
    assert "niquests" not in vars(sys.modules["sse_client.http.stream_connection"])


def test_a_stream_goes_on_behind_its_end(client, origin):
    with client.sse(origin.url("/numbers", last=6, each=3), verify=BUNDLE) as stream:
        assert stream.response.http_version == {"HTTP/1.1": 11, "HTTP/2": 20}[origin.version]
        assert [event.data for event in stream.incoming] == numbers(1, 2, 3, 4, 5, 6)
    seen = origin.ask("/requests")
    assert [request.get("last-event-id") for request in seen] == [None, "3", "6"]
    assert {request["accept"] for request in seen} == {"text/event-stream"}
    assert {request["accept-encoding"] for request in seen} == {"identity"}


def test_a_stream_that_breaks_off_goes_on(client, origin):
    with client.sse(origin.url("/numbers", last=6, each=3, then="break"), verify=BUNDLE) as stream:
        assert [event.data for event in stream.incoming] == numbers(1, 2, 3, 4, 5, 6)


def test_a_stream_that_breaks_off_for_good_is_told_as_that(client, origin):
    url = origin.url("/numbers", last=6, each=3, then="break", token=SECRET)
    with client.sse(url, verify=BUNDLE, reconnect="never") as stream:
        assert take(stream, 3) == numbers(1, 2, 3)
        with pytest.raises(StreamInterruptedError) as caught:
            next(stream.incoming)
    assert_no_secret(caught.value)


def test_an_event_arrives_before_the_next_is_sent(client, origin):
    with client.sse(origin.url("/paced", last=5), verify=BUNDLE) as stream:
        for count in range(1, 6):
            assert take(stream, 1) == numbers(count)
            client.get(origin.url("/acknowledge", number=count), verify=BUNDLE).raise_for_status()
        assert list(stream.incoming) == []


def test_what_is_zipped_arrives_event_by_event(client, origin):
    url = origin.url("/zipped/paced", last=3)
    with client.sse(url, verify=BUNDLE, headers={"Accept-Encoding": "gzip"}) as stream:
        assert stream.response.headers["Content-Encoding"] == "gzip"
        for count in range(1, 4):
            assert take(stream, 1) == numbers(count)
            origin.ask("/acknowledge", number=count)
        assert list(stream.incoming) == []


def test_closing_from_another_thread_ends_the_loop_and_the_connection(client, origin):
    with client.sse(origin.url("/numbers", last=1, then="hold"), verify=BUNDLE) as stream:
        assert take(stream, 1) == numbers(1)
        closer = threading.Thread(target=stream.close)
        closer.start()
        assert list(stream.incoming) == []
        closer.join(PATIENCE)
        assert stream.state is ReadyState.CLOSED
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("sse-client")]
    origin.ask("/ended", streams=1)


def test_closing_does_not_wait_for_a_header(client, session, origin):
    connected = threading.Event()
    session.hooks["pre_send"].append(lambda _: connected.set())
    outcome = []

    def open_one():
        try:
            client.sse(origin.url("/ended", streams=1), verify=BUNDLE)
        except SessionClosedError as error:
            outcome.append(error)

    opener = threading.Thread(target=open_one)
    opener.start()
    assert connected.wait(PATIENCE)
    client.close()
    opener.join(PATIENCE)
    assert outcome
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("sse-client")]


def test_many_streams_share_a_session(client, origin):
    urls = [origin.url("/numbers", last=2, then="hold") for _ in range(5)]
    streams = [client.sse(url, verify=BUNDLE) for url in urls]
    assert [take(stream, 2) for stream in streams] == [numbers(1, 2)] * 5
    for stream in streams[1:]:
        stream.close()
    assert streams[0].state is ReadyState.OPEN
    origin.ask("/ended", streams=4)
    client.close()
    origin.ask("/ended", streams=5)


def test_more_streams_than_a_pool_has_places_share_a_session(client, origin):
    urls = [origin.url("/numbers", last=2, then="hold") for _ in range(12)]
    streams = [client.sse(url, verify=BUNDLE, timeout=PATIENCE) for url in urls]
    assert [take(stream, 2) for stream in streams] == [numbers(1, 2)] * 12
    assert client.get(origin.url("/requests"), verify=BUNDLE).json()
    client.close()
    origin.ask("/ended", streams=12)


def test_a_plain_request_never_has_the_connection_of_a_stream(client, session, origin, monkeypatch):
    answers = queue.Queue()
    close = StreamConnection.close

    def ask_until_both_have_ended():
        try:
            answers.put(client.get(origin.url("/ended", streams=2), verify=BUNDLE).status_code)
        except requests.RequestException as error:
            answers.put(error)

    def ask_before_closing(connection):
        monkeypatch.setattr(StreamConnection, "close", close)
        has_connection = threading.Event()
        session.hooks["pre_send"].append(lambda _: has_connection.set())
        threading.Thread(target=ask_until_both_have_ended).start()
        assert has_connection.wait(PATIENCE)
        close(connection)

    monkeypatch.setattr(StreamConnection, "close", ask_before_closing)
    with client.sse(origin.url("/numbers", last=4, each=2), verify=BUNDLE) as stream:
        assert [event.data for event in stream.incoming] == numbers(1, 2, 3, 4)
    assert answers.get(timeout=PATIENCE) == 200


def test_a_connection_that_sends_no_event_is_replaced_by_another(client, origin):
    url = origin.url("/numbers", last=2, each=1, then="hold")
    with client.sse(url, verify=BUNDLE, event_timeout=0.3) as stream:
        assert take(stream, 2) == numbers(1, 2)
        assert stream.statistics.connections == 2


def test_silence_is_told_as_that(client, origin):
    url = origin.url("/numbers", last=1, then="hold", token=SECRET)
    with client.sse(url, verify=BUNDLE, event_timeout=0.3, reconnect="never") as stream:
        assert take(stream, 1) == numbers(1)
        with pytest.raises(IdleTimeoutError) as caught:
            next(stream.incoming)
    assert_no_secret(caught.value)


def test_a_header_that_does_not_come_is_a_failed_connection(client, origin):
    url = origin.url("/ended", streams=9, token=SECRET)
    with pytest.raises(ConnectionFailedError) as caught:
        client.sse(url, verify=BUNDLE, timeout=(10, 0.3))
    assert_no_secret(caught.value)
    with pytest.raises(ConnectionFailedError):
        client.sse(url, verify=BUNDLE, event_timeout=0.3)


def test_a_redirect_is_followed(client, origin):
    moved = origin.url("/moved", to="/numbers", last=2)
    with client.sse(moved, verify=BUNDLE) as stream:
        assert [event.data for event in stream.incoming] == numbers(1, 2)
        assert len(stream.response.history) in {0, 1}


def test_a_refusal_is_told_with_its_body(client, origin):
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(origin.url("/guarded", last=1), verify=BUNDLE)
    assert caught.value.status_code == 401
    assert b"who is there?" in caught.value.body


def test_a_post_is_sent_with_its_body(client, origin):
    url = origin.url("/chat")
    stream = {"method": "POST", "json": {"prompt": "one two"}, "end_of_stream": "[DONE]"}
    with client.sse(url, verify=BUNDLE, **stream) as answer:
        assert [event.data for event in answer.incoming] == ["one", "two"]


def test_a_response_of_niquests_can_be_iterated(session, origin):
    with session.get(origin.url("/numbers", last=2), verify=BUNDLE, stream=True) as response:
        assert [event.data for event in iter_events(response)] == numbers(1, 2)


def test_a_certificate_that_nobody_knows_is_refused_for_good(client):
    url = Origin("HTTP/2").url("/numbers", last=1, token=SECRET)
    with pytest.raises(ConnectionFailedError, match="certificate") as caught:
        client.sse(url, retry_first_connection=True)
    assert caught.value.permanent
    assert_no_secret(caught.value)


def test_a_port_where_nobody_listens_is_a_failed_connection(client):
    url = f"http://127.0.0.1:{os.environ['CASES_CLOSED_PORT']}/?token={SECRET}"
    with pytest.raises(ConnectionFailedError, match="refused") as caught:
        client.sse(url)
    assert not caught.value.permanent
    assert_no_secret(caught.value)
    with pytest.raises(requests.ConnectionError, match="refused"):
        client.get(url)


def test_a_plain_request_that_takes_too_long_is_told_as_requests_would(client, origin):
    with pytest.raises(requests.Timeout):
        client.get(origin.url("/ended", streams=1), verify=BUNDLE, timeout=0.3)


def test_an_address_that_is_none_is_refused(client):
    for url in (f"127.0.0.1/?token={SECRET}", f"ftp://127.0.0.1/?token={SECRET}"):
        with pytest.raises(ValueError, match=r"127\.0\.0\.1") as caught:
            client.sse(url)
        assert_no_secret(caught.value)


def test_the_code_in_the_documentation_runs(origin, monkeypatch, capsys):
    page = Path(__file__).parents[2] / "docs" / "howto" / "http2.md"
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert "http://127.0.0.1:8080/events" in code
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", BUNDLE)
    exec(code.replace("http://127.0.0.1:8080/events", origin.url("/numbers", last=2, each=1)), {})
    version = {"HTTP/1.1": 11, "HTTP/2": 20}[origin.version]
    assert capsys.readouterr().out == f"{version}\nnumber 1\nnumber 2\n"


def test_a_session_that_has_to_be_awaited_is_refused():
    with pytest.raises(TypeError, match="blocking requests session, not AsyncSession"):
        HttpClient(niquests.AsyncSession())


def test_a_client_without_it_works_beside_it(origin):
    with HttpClient().install(SSE, reconnection_time=0.01) as client:
        url = origin.url("/numbers", last=4, each=2)
        with client.sse(url, verify=BUNDLE) as stream:
            assert [event.data for event in stream.incoming] == numbers(1, 2, 3, 4)
        with client.sse(origin.url("/numbers", last=1, then="hold"), verify=BUNDLE) as stream:
            assert take(stream, 1) == numbers(1)
        origin.ask("/ended", streams=1)


def assert_no_secret(error: BaseException | None) -> None:
    while error is not None:
        assert SECRET not in f"{error!r} {error}"
        error = error.__cause__
