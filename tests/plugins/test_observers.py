"""Plugins that observe streams: what they see of a stream, and when."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import subprocess
import sys
import threading

import pytest
from support import PATIENCE, Signal, sse_client_for_tests

from sse_client import (
    SSE,
    BearerAuth,
    ConnectionFailedError,
    CursorError,
    DefaultRequest,
    FileCursor,
    HttpClient,
    ReconnectionExhaustedError,
    SessionClosedError,
    StreamInterruptedError,
    StreamObserver,
    UnexpectedStatusError,
)
from sse_client.testing import SSEServer

USER = contextvars.ContextVar("USER", default="nobody")


class Diary:
    """An observer that records its calls, in few words."""

    def __init__(self):
        self.entries = []
        self.threads = []
        self.ended = threading.Event()

    def _note(self, *entry):
        self.entries.append(entry)
        self.threads.append(threading.current_thread().name)

    def on_request(self, request):
        self._note("request", request.url)

    def on_response(self, response):
        self._note("response", response.status_code)

    def on_first_event(self):
        self._note("first event")

    def on_loss(self, error, delay):
        self._note("loss", type(error), delay)

    def on_end(self, error):
        self._note("end", type(error))
        self.ended.set()


class Observing:
    """An ordinary class of a user that observes streams."""

    def __init__(self, observers=(), *, fails=None):
        self.streams = []
        self._observers = list(observers)
        self._fails = fails

    def on_stream(self, stream):
        self.streams.append(stream)
        if self._fails is not None:
            raise self._fails
        return self._observers.pop(0) if self._observers else None


@pytest.fixture
def diary():
    return Diary()


@pytest.fixture
def client(diary):
    with sse_client_for_tests() as client:
        yield client.install(Observing, observers=[diary])


NONE = type(None)

FORKING = """
import os, sys
from sse_client import SSE, HttpClient

parent = os.getpid()


class Observing:
    def on_stream(self, stream):
        return self

    def on_end(self, error):
        print("end in", "the parent" if os.getpid() == parent else "the child", flush=True)


client = HttpClient().install(SSE).install(Observing)
session = client.sse(sys.argv[1])
child = os.fork()
session.close()
if child:
    os.waitpid(child, 0)
"""


def test_sees_the_stream_that_is_about_to_be_opened(client, server):
    server.serve(["one"], then="drop")
    server.serve(["two"], then="stall")
    url = f"{server.url}?secret"
    with client.sse(url, method="get") as session:
        assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        (stream,) = client.plugin(Observing).streams
        assert (stream.method, stream.url, stream.name) == ("GET", url, "127.0.0.1")
        assert (stream.statistics.events, stream.statistics.connections) == (2, 2)
        assert "secret" not in repr(stream)


def test_sees_the_course_of_a_stream(client, server, diary):
    server.serve(["one", "two"], then="drop")
    server.respond(503)
    server.serve(["three"], then="end")
    server.respond(204)
    with client.sse(server.url) as session:
        assert [event.data for event in session.incoming] == ["one", "two", "three"]
    url = server.url
    assert diary.entries == [
        ("request", url),
        ("response", 200),
        ("first event",),
        ("loss", StreamInterruptedError, 0.0),
        ("request", url),
        ("loss", UnexpectedStatusError, 0.1),
        ("request", url),
        ("response", 200),
        ("first event",),
        ("loss", NONE, 0.0),
        ("request", url),
        ("response", 204),
        ("end", NONE),
    ]
    assert set(diary.threads) == {"sse-client:127.0.0.1"}


def test_sees_a_request_as_it_is_sent_and_again_after_a_401(client, server, diary):
    client.install(DefaultRequest, base_url=server.url)
    client.install(BearerAuth, load=lambda: "a", refresh=lambda: "b")
    server.respond(401)
    server.serve(then="stall")

    def on_request(_, request):
        request.url += "?changed"

    with client.sse("/path", on_request=on_request):
        pass
    assert diary.entries[:2] == [("request", f"{server.url}path?changed")] * 2
    assert client.plugin(Observing).streams[0].url == "/path"


def test_sees_a_reconnection_that_was_asked_for(client, server, diary):
    server.serve(["one"], then="stall")
    server.serve(["two"], then="stall")
    with client.sse(server.url) as session:
        assert session.incoming.get().data == "one"
        session.reconnect()
        assert session.incoming.get().data == "two"
    assert diary.entries[3:5] == [("loss", NONE, 0.0), ("request", server.url)]


def test_sees_the_refusal_of_an_event_id_that_is_replaced(client, server, diary):
    server.respond(410)
    server.serve(["one"], then="stall")
    with client.sse(server.url, last_event_id="7", on_cursor_expired=lambda _: "") as session:
        assert session.incoming.get().data == "one"
    assert diary.entries[:3] == [
        ("request", server.url),
        ("loss", UnexpectedStatusError, 0.0),
        ("request", server.url),
    ]


class TestTheEnd:
    def test_of_a_stream_that_fails_at_once(self, client, server, diary):
        server.respond(404)
        with pytest.raises(UnexpectedStatusError):
            client.sse(server.url)
        assert diary.entries == [("request", server.url), ("end", UnexpectedStatusError)]

    def test_of_a_stream_that_gives_up(self, client, server, diary):
        server.serve(then="drop")
        server.respond(503)
        with (
            client.sse(server.url, max_reconnection_attempts=1) as session,
            pytest.raises(ReconnectionExhaustedError),
        ):
            next(session.incoming)
        assert diary.entries[-2:] == [
            ("loss", UnexpectedStatusError, None),
            ("end", ReconnectionExhaustedError),
        ]

    def test_of_a_stream_whose_session_was_closed(self, client, server, diary):
        server.serve(["one"], then="stall")
        client.sse(server.url).close()
        assert diary.entries[-1] == ("end", NONE)

    @pytest.mark.filterwarnings("ignore:unclosed SSE session:ResourceWarning")
    def test_of_a_stream_whose_session_was_abandoned(self, client, server, diary):
        server.serve(then="stall")
        client.sse(server.url)
        gc.collect()
        assert diary.ended.wait(PATIENCE)
        assert diary.entries[-1] == ("end", NONE)

    def test_of_a_stream_that_could_not_be_started(self, client, server, diary, tmp_path):
        position = tmp_path / "position"
        position.write_text("not JSON")
        with pytest.raises(CursorError):
            client.sse(server.url, cursor=FileCursor(position))
        assert diary.entries == [("end", CursorError)]
        assert diary.threads == [threading.current_thread().name]
        assert server.requests == []

    def test_of_a_stream_that_asyncio_could_not_start(self, client, server, diary, tmp_path):
        position = tmp_path / "position"
        position.write_text("not JSON")

        async def open_it():
            await client.sse_async(server.url, cursor=FileCursor(position))

        with pytest.raises(CursorError):
            asyncio.run(open_it())
        assert diary.entries == [("end", CursorError)]

    def test_of_a_stream_that_is_followed_from_asyncio(self, client, server, diary):
        server.serve(["one"], then="stall")

        async def follow():
            async with client.sse_async(server.url) as session:
                return await anext(session.incoming)

        assert asyncio.run(follow()).data == "one"
        assert diary.entries == [
            ("request", server.url),
            ("response", 200),
            ("first event",),
            ("end", NONE),
        ]

    def test_of_a_stream_whose_opening_was_cancelled_is_seen_on_its_thread(self, server):
        begun, cancelled = Signal(), Signal()

        class Held(Diary):
            def on_request(self, request):
                super().on_request(request)
                begun()
                cancelled.await_()

        async def open_it(client):
            await client.sse_async(server.url)

        async def main(client):
            opening = asyncio.create_task(open_it(client))
            await asyncio.to_thread(begun.await_)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

        diary = Held()
        with sse_client_for_tests() as client:
            asyncio.run(main(client.install(Observing, observers=[diary])))
            assert diary.entries == [("request", server.url)]
            cancelled()
            assert diary.ended.wait(PATIENCE)
        assert diary.entries == [("request", server.url), ("end", NONE)]
        assert diary.threads == ["sse-client:127.0.0.1"] * 2

    def test_of_a_stream_whose_opening_was_interrupted(self, client, server, diary):
        class Interrupted(FileCursor):
            def load(self):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            client.sse(server.url, cursor=Interrupted("position"))
        assert diary.entries == [("end", NONE)]

    def test_is_called_after_the_hook(self, client, server, diary):
        server.respond(204)
        client.sse(server.url, on_close=lambda _: diary.entries.append("on_close")).close()
        assert diary.entries[-2:] == ["on_close", ("end", NONE)]

    def test_is_called_once(self, client, server, diary):
        server.respond(204)
        session = client.sse(server.url)
        session.close()
        session._reader.stream.observers.end(None)
        assert [entry[0] for entry in diary.entries].count("end") == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
    def test_is_not_called_in_a_process_that_was_forked(self, server):
        server.serve(then="stall")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKING, server.url],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.stdout == "end in the parent\n", done.stderr

    def test_of_a_stream_that_a_closed_client_refuses_was_never_begun(self, server):
        client = HttpClient().install(SSE).install(Observing)
        client.close()
        with pytest.raises(SessionClosedError):
            client.sse(server.url)
        assert client.plugin(Observing).streams == []


class TestAnObserver:
    def test_may_have_some_of_the_methods(self, server):
        seen = Signal()

        class Partial:
            on_first_event = staticmethod(seen)

        server.serve(["one"], then="drop")
        server.serve(["two"], then="stall")
        with sse_client_for_tests() as client:
            client.install(Observing, observers=[Partial()])
            with client.sse(server.url) as session:
                assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
        assert seen.calls == [(), ()]

    def test_that_is_of_the_base_class_sees_in_silence(self, server):
        server.serve(["one"], then="drop")
        server.respond(204)
        with sse_client_for_tests() as client:
            client.install(Observing, observers=[StreamObserver()])
            with client.sse(server.url) as session:
                assert [event.data for event in session.incoming] == ["one"]

    def test_that_raises_is_logged_and_hurts_nobody(self, server, caplog, diary):
        class Broken:
            def __getattr__(self, name):
                if not name.startswith("on_"):
                    raise AttributeError(name)

                def fail(*_):
                    raise LookupError(name)

                return fail

        class First(Observing):
            pass

        server.serve(["one"], then="drop")
        server.respond(204)
        with sse_client_for_tests() as client:
            client.install(First, observers=[Broken()]).install(Observing, observers=[diary])
            with client.sse(server.url) as session:
                assert [event.data for event in session.incoming] == ["one"]
        failed = [f"{each.exc_info[1]}" for each in caplog.records if each.levelno == logging.ERROR]
        called = ("request", "response", "first_event", "loss", "request", "response", "end")
        assert failed == [f"on_{name}" for name in called]
        assert len(diary.entries) == 7

    def test_is_not_there_if_the_plugin_raised(self, server, caplog):
        server.respond(204)
        with sse_client_for_tests() as client:
            client.install(Observing, fails=LookupError("a mistake"))
            client.sse(server.url).close()
        (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert record.getMessage() == "127.0.0.1: an observer raised an error"
        assert record.sse_name == "127.0.0.1"

    def test_of_each_stream_is_its_own(self, server):
        diaries = [Diary(), Diary()]
        server.handler = lambda exchange: exchange.respond(
            204 if exchange.request.path == "/1" else 403
        )
        with sse_client_for_tests() as client:
            client.install(Observing, observers=diaries)
            client.sse(server.url_for("/1")).close()
            with pytest.raises(UnexpectedStatusError):
                client.sse(server.url_for("/2"))
        assert [each.entries[-1] for each in diaries] == [
            ("end", NONE),
            ("end", UnexpectedStatusError),
        ]


def test_what_a_plugin_sets_in_the_context_is_seen_by_its_stream_alone(server):
    class Setting:
        def on_stream(self, stream):
            USER.set(stream.url)

    seen = []
    server.serve(["one"], then="drop")
    server.respond(204)
    server.respond(204)
    with sse_client_for_tests(
        on_request=lambda *_: seen.append(USER.get()),
        on_disconnect=lambda *_: seen.append(USER.get()),
    ) as client:
        client.install(Setting)
        for name in ("/1", "/2"):
            with client.sse(server.url_for(name)) as session:
                for _ in session.incoming:
                    pass
    first, second = server.url_for("/1"), server.url_for("/2")
    assert seen == [first, first, first, second]
    assert USER.get() == "nobody"


def test_observers_see_nothing_of_plain_requests(client, server, diary):
    server.respond(200)
    client.get(server.url)
    assert diary.entries == []
    assert client.plugin(Observing).streams == []


def test_a_connection_that_fails_is_a_loss_where_it_is_tried_again(client, diary):
    with SSEServer() as gone:
        url = gone.url
    with pytest.raises(ReconnectionExhaustedError):
        client.sse(url, retry_first_connection=True, max_reconnection_attempts=1)
    kinds = [entry[:2] for entry in diary.entries]
    request = ("request", url)
    end = ("end", ReconnectionExhaustedError)
    assert kinds == [request, ("loss", ConnectionFailedError), request, end]
