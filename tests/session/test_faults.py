"""Faults that existed once, or nearly did, each with its symptom."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import textwrap
import threading
from functools import partial

import pytest
import requests
from canaries import CANARY
from requests.adapters import HTTPAdapter
from support import PATIENCE, Running, Signal, fill, sse_client_for_tests
from urllib3 import HTTPConnectionPool

from sse_client import (
    ConnectionFailedError,
    ReconnectionExhaustedError,
    ServerSentEvent,
    SessionClosedError,
    UnexpectedStatusError,
    iter_events,
)
from sse_client.process import disown_all
from sse_client.session.reconnection import Reconnection, ReconnectionPolicy
from sse_client.testing import SSEServer


def test_a_stream_takes_over_no_idle_connection_of_the_users_session():
    arrived = threading.Barrier(3)

    def handle(exchange):
        if exchange.request.path == "/plain":
            arrived.wait(PATIENCE)  # so that there are three connections
            exchange.respond(200, body=b"ok")
        else:
            exchange.open()
            exchange.stall()

    with SSEServer(handle) as server, requests.Session() as session:
        url = server.url_for("/plain")
        for each in [Running(lambda: session.get(url)) for _ in range(3)]:
            assert each.outcome().text == "ok"
        ports = {request.client_port for request in server.requests}
        assert len(ports) == 3
        with sse_client_for_tests(session=session) as client:
            for _ in range(4):
                client.sse(server.url).close()
        assert not ports & {request.client_port for request in server.requests[3:]}


def test_a_slow_consumer_is_no_silent_server(sse_memory, sse_clock):
    # The limit expires while the consumer is busy, and the next event has already arrived.
    lost = Signal()
    with sse_memory.client(capacity=1, event_timeout=60, on_disconnect=lost) as client:
        opening = Running(lambda: client.sse(sse_memory.url))
        exchange = sse_memory.accept()
        exchange.write(b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
        session = opening.outcome()
        fill(session.incoming, 1)
        sse_clock.advance(3600)
        exchange.send("4")
        taken = [session.incoming.get(timeout=PATIENCE).data for _ in range(4)]
        session.close()
    assert taken == ["1", "2", "3", "4"]
    assert not lost.is_set()


def test_a_pool_that_blocks_gets_its_place_back(server):
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
        with sse_client_for_tests(session=session, end_of_stream="[DONE]") as client:
            for _ in range(3):
                server.serve(["a", "[DONE]"], then="stall")
                stream = client.sse(server.url)
                assert [event.data for event in stream.incoming] == ["a"]
                stream._reader.join(PATIENCE)


class LatePool(HTTPConnectionPool):
    """A pool in which the user is slow to give a connection back."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.may_go_on = threading.Event()

    def _put_conn(self, conn):
        if threading.current_thread().name == "user":
            assert self.may_go_on.wait(PATIENCE)
        super()._put_conn(conn)


def test_a_pool_that_blocks_gets_no_place_twice(server):
    # The user closes the response, which ends the stream, which also closes the response.
    server.serve(["a"], then="stall")
    with requests.Session() as session:
        adapter = HTTPAdapter(pool_maxsize=2, pool_block=True)
        adapter.poolmanager.pool_classes_by_scheme = {"http": LatePool}
        session.mount("http://", adapter)
        with sse_client_for_tests(session=session, reconnect="never") as client:
            stream = client.sse(server.url)
            pools = adapter.poolmanager.pools
            (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118  # not a dict
            user = threading.Thread(target=stream.response.close, name="user")
            user.start()
            assert [event.data for event in stream.incoming] in (["a"], [])
            stream._reader.join(PATIENCE)
            pool.may_go_on.set()
            user.join(PATIENCE)
            assert pool.pool.qsize() == 2
            connections = [pool.pool.get(block=False) for _ in range(2)]
            assert connections[0] is None or connections[0] is not connections[1]


def test_a_redirect_gives_its_place_back(server):
    server.respond(302, headers={"Location": "/other"})
    server.serve(["a"], then="stall")
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
        with sse_client_for_tests(session=session) as client:
            opening = Running(lambda: client.sse(server.url))
            assert opening.outcome().incoming.get(timeout=PATIENCE).data == "a"


def test_a_refused_response_read_in_part_does_not_go_back_to_the_pool(server):
    server.respond(500, body=b"x" * 200_000)
    server.respond(200, body=b"fine")
    with requests.Session() as session:
        with session.get(server.url, stream=True) as response, pytest.raises(UnexpectedStatusError):
            next(iter_events(response))
        assert session.get(server.url).text == "fine"


def test_reconnecting_on_demand_ends_an_outage_that_is_over():
    now = [0.0]
    policy = ReconnectionPolicy(reconnection_deadline=60.0, reconnection_jitter=0.0)
    course = Reconnection(policy, lambda: now[0], lambda: 0.0)
    course.opened()
    course.after(None)
    course.opened()
    course.progressed()
    now[0] = 7200.0
    course.opened()  # by session.reconnect(), which calls no retry_if
    assert course.after(None).delay is not None


def test_a_forked_child_gets_an_error_and_leaves_the_stream_to_its_parent():
    script = """
        import os, sys, warnings
        from sse_client import SSE, HttpClient, SessionClosedError
        from sse_client.testing import SSEServer
        warnings.simplefilter("ignore")  # Python 3.12 warns of any fork beside threads

        with SSEServer() as server, HttpClient().install(SSE) as client:
            server.serve(["one"], then="stall")
            session = client.sse(server.url)
            assert session.incoming.get().data == "one"
            child = os.fork()
            if not child:
                try:
                    session.incoming.get()
                except SessionClosedError as error:
                    session.close()
                    client.close()
                    os._exit(7 if "another process" in str(error) else 1)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert session.state.name == "OPEN"
            print("the parent goes on")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("the parent goes on\n", "")


def test_disowning_ends_the_channel_without_a_word_to_the_server(server):
    # What a forked child does, here in the process that owns the connection. Unlike in a child, the
    # thread continues, and may detect the end before it is disowned. Then it must not reconnect.
    with sse_client_for_tests(own_thread=True, reconnection_time=3600) as client:
        opening = Running(lambda: client.sse(server.url))
        exchange = server.accept()
        exchange.send("one")
        session = opening.outcome()
        fill(session.incoming, 1)
        reader = session._reader
        disown_all()
        assert session.incoming.is_shutdown
        acts = (
            session.incoming.get,
            session.incoming.task_done,
            partial(session.incoming.put, None),
            partial(session.acknowledge, []),
        )
        for act in acts:
            with pytest.raises(SessionClosedError, match="another process"):
                act()
        # The socket is not shut down. On Linux its descriptor is closed, which is the only copy
        # here.
        with contextlib.suppress(ConnectionError):
            exchange.send("two")
        exchange.drop()
        thread = reader._thread()
        if thread is not None:
            thread.join(PATIENCE)


def test_a_reader_that_goes_on_in_a_child_does_not_reconnect_there(server):
    # Like a greenlet, which a fork copies.
    server.serve([], then="drop")
    lost, disowned = Signal(), threading.Event()

    def hold(session, error, delay):
        lost()
        assert disowned.wait(PATIENCE)

    with sse_client_for_tests(on_disconnect=hold) as client:
        session = client.sse(server.url)
        lost.await_()
        thread = session._reader._thread()
        session._reader.disown()
        disowned.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert isinstance(session.error, SessionClosedError)
    assert len(server.requests) == 1


def test_disowning_an_abandoned_session_is_nothing(server):
    server.serve(["one"], then="end")
    with sse_client_for_tests(reconnect="never") as client:
        session = client.sse(server.url)
        assert next(session.incoming).data == "one"
        reader = session._reader
        reader.join(PATIENCE)
        del session
        reader.disown()
        assert isinstance(reader.error, SessionClosedError)


def test_the_body_of_a_challenge_is_bounded(server):
    def flood(exchange):
        exchange.open(401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'})
        for _ in range(1000):
            exchange.write(b"x" * 65536)

    server.handler = flood
    with sse_client_for_tests() as client, pytest.raises(UnexpectedStatusError) as caught:
        client.sse(server.url, auth=requests.auth.HTTPDigestAuth("user", CANARY))
    assert len(caught.value.body) <= 65536


def test_draining_in_a_hook_delivers_what_has_arrived(server):
    server.serve([b"data: 1\n\ndata: 2\n\n: stop\n\n"], then="stall")
    with sse_client_for_tests(on_comment=lambda session, _: session.close(drain=True)) as client:
        session = client.sse(server.url)
        assert [event.data for event in session.incoming] == ["1", "2"]


def test_a_retry_after_beyond_all_calendars_is_ignored(server):
    server.respond(503, {"Retry-After": "Fri, 31 Dec 99999999999 23:59:59 GMT"})
    with sse_client_for_tests() as client, pytest.raises(UnexpectedStatusError) as caught:
        client.sse(server.url)
    assert caught.value.retry_after is None


def test_a_token_that_cannot_be_fetched_once_does_not_end_the_stream(server):
    failures = [requests.JSONDecodeError("no", "<html>", 0), requests.ConnectionError("down")]
    seen = []

    def token() -> str:
        if seen and failures:
            raise failures.pop()
        return "token"

    server.serve([ServerSentEvent("a", id="1")], then="end")
    server.respond(204)
    with sse_client_for_tests(on_disconnect=lambda *args: seen.append(args[1])) as client:
        session = client.sse(server.url, headers={"X-Token": token})
        assert [event.data for event in session.incoming] == ["a"]
    assert [type(error) for error in seen] == [type(None)] + [ConnectionFailedError] * 2


def test_an_auth_that_cannot_reach_its_server_does_not_end_the_stream(server):
    failures = [requests.ConnectionError("down")]
    seen = []

    def auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
        if seen and failures:
            raise failures.pop()
        return request

    server.serve(["a"], then="end")
    server.respond(204)
    with sse_client_for_tests(on_disconnect=lambda *args: seen.append(args[1])) as client:
        session = client.sse(server.url, auth=auth)
        assert [event.data for event in session.incoming] == ["a"]
    assert [type(error) for error in seen] == [type(None), ConnectionFailedError]


def test_an_end_of_stream_that_raises_loses_nothing_before_it(server):
    server.serve([b"data: 1\n\ndata: 2\n\ndata: 3\n\n"], then="stall")

    def is_end(event: ServerSentEvent) -> bool:
        if event.data == "3":
            raise LookupError("a mistake")
        return False

    with sse_client_for_tests(end_of_stream=is_end) as client:
        session = client.sse(server.url)
        assert [next(session.incoming).data for _ in range(2)] == ["1", "2"]
        with pytest.raises(LookupError, match="a mistake"):
            next(session.incoming)


def test_heartbeats_are_not_billed_to_the_events_behind_them(server):
    heartbeats = [b":" + b" " * 2000 + b"\n\n"] * 60
    server.serve([*heartbeats, b"data: 1\n\n", b"data: 2\n\n"], then="stall")
    with sse_client_for_tests(capacity_bytes=100_000, overflow="error") as client:
        session = client.sse(server.url)
        assert [session.incoming.get(timeout=PATIENCE).data for _ in range(2)] == ["1", "2"]


def test_reconnecting_from_the_last_on_disconnect_is_obeyed(server):
    server.serve(["a"], then="drop")
    server.serve(["b"], then="drop")
    asked = []

    def on_disconnect(session, error, delay):
        if delay is None and not asked:
            asked.append(error)
            session.reconnect()

    with sse_client_for_tests(reconnect="never", on_disconnect=on_disconnect) as client:
        session = client.sse(server.url)
        assert [next(session.incoming).data for _ in range(2)] == ["a", "b"]
        with pytest.raises(Exception, match="broke off"):
            next(session.incoming)


def test_giving_up_on_a_server_that_only_ends_is_told(server):
    server.serve([], then="end")
    server.serve([], then="end")
    told = []
    with sse_client_for_tests(
        max_reconnection_attempts=1, on_disconnect=lambda *args: told.append(args[1:])
    ) as client:
        session = client.sse(server.url)
        with pytest.raises(ReconnectionExhaustedError):
            next(session.incoming)
        session._reader.join(PATIENCE)
    assert told == [(None, 0.0), (None, None)]
