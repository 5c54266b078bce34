"""Cases of sessions under gevent or eventlet, which ``run_greenlets.py`` runs in an environment.

Most cases let the main greenlet run while another one waits. With a blocked hub they would hang
until the test ends the process. The endings leave something open at the end of the process, where
nothing must be printed.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

from sse_client import (
    SSE,
    BearerAuth,
    BufferPolicy,
    ChannelClosed,
    FileCursor,
    HttpClient,
    IdleTimeoutError,
    IncomingChannel,
    ReadyState,
    ReconnectionExhaustedError,
    SessionClosedError,
    merge,
)
from sse_client.testing import InMemoryServer, ManualClock, SSEServer

#: Which library has patched the standard library, and how, for example ``gevent-late``.
HOW = sys.argv[1]
LIBRARY, _, MANNER = HOW.partition("-")

ADDRESSES = json.loads(os.environ["ADDRESSES"])
URL = ADDRESSES["http"]

#: The folder for positions.
FOLDER = Path(ADDRESSES["folder"])

#: How long to wait for anything, in seconds.
PATIENCE = 20.0

#: How often the main greenlet runs while another one waits.
TURNS = 30

#: Created before the standard library was patched.
OLDER_CLIENTS = []

CASES = []
ENDINGS = {}


def case(function):
    CASES.append(function)
    return function


def ending(function):
    ENDINGS[function.__name__] = function
    return function


def not_late(function):
    """Skip the case if the package was imported before the standard library was patched."""
    return function if MANNER == "late" else case(function)


class Greenlet:
    """A call in its own greenlet."""

    def __init__(self, function, *arguments):
        self._outcome = None
        self._call = function, arguments
        self.is_over = False
        if LIBRARY == "gevent":
            import gevent

            self._greenlet = gevent.spawn(self._run)
            self._wait = self._greenlet.join
        else:
            import eventlet

            self._greenlet = eventlet.spawn(self._run)
            self._wait = self._greenlet.wait

    def _run(self):
        function, arguments = self._call
        try:
            self._outcome = function(*arguments), None
        except BaseException as error:
            self._outcome = None, error
        self.is_over = True

    def result(self):
        """Wait for the end. Return the result, or raise the error."""
        self._wait()
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def error(self):
        """Wait for the end. Return the error."""
        self._wait()
        return self._outcome[1]


def take_turns(*waiting):
    """Run for some turns while all of these wait."""
    for _ in range(TURNS):
        time.sleep(0.001)
        assert not any(each.is_over for each in waiting)


def new_client(**options):
    defaults = {"reconnection_time": 0.01, "reconnection_jitter": 0.0}
    return HttpClient().install(SSE, **{**defaults, **options})


def until(is_due):
    """Let the other greenlets run until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not is_due():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


def readers():
    """The greenlets that read streams, as Python's threads."""
    return [each for each in threading.enumerate() if each.name.startswith("sse-client:")]


def tell(client, path):
    """Request another path of the server. Return the body."""
    response = client.get(URL + path)
    response.raise_for_status()
    return response.text


def data_of(events):
    return [event.data for event in events]


# Streams.


@case
def a_stream_is_followed_to_its_end_over_a_reconnection():
    with new_client() as client, client.sse(URL + "/numbers") as session:
        assert data_of(session.incoming) == ["1", "2", "3", "4"]
        assert session.statistics.connections == 2
        assert session.error is None
        assert session.state is ReadyState.CLOSED


@case
def the_reader_is_a_greenlet():
    found = []

    def note(session):
        found.append((threading.get_native_id(), threading.get_ident()))

    with new_client(on_open=note) as client, client.sse(URL + "/silent"):
        pass
    ((thread, greenlet),) = found
    assert thread == threading.get_native_id()
    assert greenlet != threading.get_ident()


@case
def a_consumer_waits_without_blocking_the_others():
    with new_client() as client, client.sse(URL + "/paced/consumer") as session:
        iterating = Greenlet(next, session.incoming)
        getting = Greenlet(session.incoming.get)
        take_turns(iterating, getting)
        tell(client, "/send/consumer")
        assert {iterating.result().data, getting.result().data} == {"sent", "sent too"}


@case
def a_wait_with_a_timeout_ends():
    with new_client() as client, client.sse(URL + "/silent") as session:
        waiting = Greenlet(session.incoming.get, True, 0.2)
        assert isinstance(waiting.error(), queue.Empty)
        try:
            session.incoming.get_nowait()
        except queue.Empty:
            pass
        else:
            raise AssertionError("there was an event")


@case
def a_batch_is_waited_for():
    with new_client() as client, client.sse(URL + "/paced/batch") as session:
        waiting = Greenlet(session.incoming.get_batch, 10)
        take_turns(waiting)
        tell(client, "/send/batch")
        assert data_of(waiting.result()) == ["sent", "sent too"]


@case
def many_streams_are_open_at_the_same_time():
    with new_client() as client:
        names = [f"many{number}" for number in range(20)]
        opening = [Greenlet(client.sse, f"{URL}/paced/{name}") for name in names]
        sessions = [each.result() for each in opening]
        waiting = [Greenlet(next, session.incoming) for session in sessions]
        take_turns(*waiting)
        for name in names:
            tell(client, f"/send/{name}")
        assert [each.result().data for each in waiting] == ["sent"] * 20


@case
def streams_are_merged():
    with new_client() as client:
        sessions = [client.sse(URL + "/paced/first"), client.sse(URL + "/paced/second")]
        with merge(sessions) as merged:
            waiting = Greenlet(next, merged)
            take_turns(waiting)
            tell(client, "/send/second")
            session, event = waiting.result()
            assert session is sessions[1]
            assert event.data == "sent"
            waiting = Greenlet(next, merged)
            assert waiting.result()[1].data == "sent too"
            waiting = Greenlet(next, merged)
            take_turns(waiting)
            tell(client, "/send/first")
            assert waiting.result()[0] is sessions[0]


@case
def a_slow_consumer_blocks_its_reader_alone():
    with new_client(capacity=1) as client, client.sse(URL + "/endless") as session:
        until(session.incoming.full)
        with client.sse(URL + "/numbers") as other:
            assert data_of(other.incoming) == ["1", "2", "3", "4"]
        assert [session.incoming.get().data for _ in range(100)] == list(map(str, range(100)))


@case
def a_reader_that_never_waits_lets_the_others_run():
    for options in {"overflow": "drop_newest"}, {"overflow": "drop_oldest", "own_thread": True}:
        with new_client(**options) as client, client.sse(URL + "/flood") as session:
            until(lambda: session.statistics.dropped > 100_000)
            take_turns()


@case
def the_channel_has_the_attributes_of_a_queue():
    with new_client(capacity=5) as client, client.sse(URL + "/numbers") as session:
        until(lambda: session.state is ReadyState.CLOSED)
        assert session.incoming.maxsize == 5
        assert session.incoming.qsize() == session.incoming.unfinished_tasks == 4
        assert session.incoming.is_shutdown
        assert not session.incoming.full()


@case
def the_putting_side_and_join_wait_too():
    with new_client(capacity=1) as client, client.sse(URL + "/silent") as session:
        session.incoming.put("mine")
        putting, joining = (
            Greenlet(session.incoming.put, "another"),
            Greenlet(session.incoming.join),
        )
        take_turns(putting, joining)
        assert session.incoming.get() == "mine"
        session.incoming.task_done()
        putting.result()
        take_turns(joining)
        assert session.incoming.get() == "another"
        session.incoming.task_done()
        joining.result()


@case
def a_read_timeout_ends_a_silent_connection():
    options = {"max_reconnection_attempts": 0, "buffer_policy": BufferPolicy.all()}
    with new_client(**options) as client:
        session = client.sse(URL + "/silent", timeout=(10, 0.2))
        waiting = Greenlet(next, session.incoming)
        error = waiting.error()
        errors = error, error.__cause__
        assert any(isinstance(each, IdleTimeoutError) for each in errors), errors


@case
def a_wait_to_reconnect_ends_when_it_is_wanted():
    losses = []
    with new_client(
        reconnection_time=3600,
        on_disconnect=lambda session, error, delay: losses.append(delay),
    ) as client:
        session = client.sse(URL + "/numbers")
        assert session.incoming.get().data == "1"
        assert session.incoming.get().data == "2"
        waiting = Greenlet(next, session.incoming)
        until(lambda: losses)
        take_turns(waiting)
        session.reconnect()
        assert waiting.result().data == "3"


@case
def giving_up_raises_the_error_in_the_consumer():
    with new_client(max_reconnection_attempts=2) as client:
        session = client.sse(URL + "/once/giving-up")
        assert session.incoming.get().data == "only"
        assert isinstance(Greenlet(next, session.incoming).error(), ReconnectionExhaustedError)


@case
def a_cursor_remembers_each_greenlet_on_its_own():
    path = FOLDER / "position.json"
    with new_client(cursor=FileCursor(path)) as client:
        with client.sse(URL + "/numbers") as session:
            first = Greenlet(next, session.incoming)
            assert first.result().id == "1"
            second = Greenlet(next, session.incoming)
            assert second.result().id == "2"
            # The main greenlet does not acknowledge events that the other greenlets are processing.
            assert session.incoming.get().id == "3"
            assert session.incoming.get().id == "4"
        # The position passes the first two events only if their greenlets ask for the next ones.
        assert not path.exists()


@case
def a_token_is_fetched_once_for_all_greenlets():
    calls = []

    def load():
        calls.append("load")
        time.sleep(0.05)
        return "token"

    client = new_client().install(BearerAuth, load=load, refresh=load)
    with client:
        asking = [Greenlet(client.get, URL + "/token") for _ in range(10)]
        assert {each.result().text for each in asking} == {"Bearer token"}
    assert calls == ["load"]


@case
def plain_requests_run_beside_the_opening_of_streams():
    with new_client() as client:
        kinds = ["/text/a", "/numbers"] * 10
        running = [
            Greenlet(client.get if kind == "/text/a" else client.sse, f"{URL}{kind}?number={n}")
            for n, kind in enumerate(kinds)
        ]
        for kind, each in zip(kinds, running, strict=True):
            if kind == "/numbers":
                assert data_of(each.result().incoming) == ["1", "2", "3", "4"]
            else:
                assert each.result().text == "a"


@case
def a_session_of_requests_is_shared():
    import requests

    with requests.Session() as session:
        assert session.get(URL + "/text/a").text == "a"
        with HttpClient(session).install(SSE, reconnection_time=0.01) as client:
            with client.sse(URL + "/numbers") as stream:
                assert data_of(stream.incoming) == ["1", "2", "3", "4"]
            assert session.get(URL + "/text/b").text == "b"


@case
def a_client_may_be_older_than_the_patches():
    for client in OLDER_CLIENTS:
        with client, client.sse(URL + "/paced/older") as session:
            waiting = Greenlet(next, session.incoming)
            take_turns(waiting)
            assert all(reader.name != "sse-client:reader" for reader in readers()), "it is shared"
            tell(client, "/send/older")
            assert waiting.result().data == "sent"


# Closing, in each phase.


def close_while(client, path, wait_until_there, **options):
    """Close the client while another greenlet opens a stream."""
    opening = Greenlet(lambda: client.sse(path, **options))
    wait_until_there()
    take_turns(opening)
    client.close()
    assert isinstance(opening.error(), SessionClosedError), opening.error()


@case
def closing_ends_the_wait_for_a_connection():
    with new_client() as client:
        close_while(client, ADDRESSES["deaf"], lambda: None)


@case
def closing_ends_the_wait_for_a_response():
    with new_client() as client, new_client() as other:
        close_while(
            client,
            f"{URL}/headless/{HOW}",
            lambda: tell(other, f"/seen/headless/{HOW}"),
        )


@case
def closing_ends_an_attempt_beside_which_another_was_made():
    with new_client() as client, new_client() as other:
        opening = Greenlet(client.sse, f"{URL}/redirected/{HOW}")
        tell(other, f"/seen/redirected/{HOW}")
        with other.sse(URL + "/numbers") as session:
            assert data_of(session.incoming) == ["1", "2", "3", "4"]
        tell(other, f"/send/{HOW}")
        tell(other, f"/seen/headless/redirected/{HOW}")
        client.close()
        assert isinstance(opening.error(), SessionClosedError)
        until(lambda: not readers())


@case
def closing_ends_a_read():
    with new_client() as client:
        session = client.sse(URL + "/silent")
        waiting = Greenlet(next, session.incoming)
        take_turns(waiting)
        session.close()
        assert isinstance(waiting.error(), StopIteration)
        assert session.state is ReadyState.CLOSED


@case
def closing_ends_the_wait_to_reconnect():
    losses = []
    client = new_client(
        reconnection_time=3600, on_disconnect=lambda *arguments: losses.append(arguments)
    )
    session = client.sse(URL + "/numbers")
    waiting = Greenlet(list, session.incoming)
    until(lambda: losses)
    take_turns(waiting)
    client.close()
    assert data_of(waiting.result()) == ["1", "2"]


@case
def closing_ends_the_wait_for_room():
    with new_client(capacity=1) as client:
        session = client.sse(URL + "/endless")
        until(session.incoming.full)
        take_turns()
        session.close()
        assert isinstance(Greenlet(session.incoming.get).error(), ChannelClosed)


@case
def closing_from_a_hook_works():
    with new_client(on_open=lambda session: session.close()) as client:
        opening = Greenlet(client.sse, URL + "/silent")
        opening.error()
        assert opening.is_over


@case
def draining_keeps_what_has_arrived():
    with new_client() as client:
        session = client.sse(URL + "/paced/drain")
        tell(client, "/send/drain")
        until(lambda: session.incoming.qsize() == 2)
        session.close(drain=True)
        assert data_of(session.incoming) == ["sent", "sent too"]


@case
def an_abandoned_session_closes_itself():
    with new_client() as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = client.sse(f"{URL}/watched/{HOW}")
        take_turns()
        del session
        assert tell(client, f"/gone/{HOW}") == "it has gone"
    assert any(each.category is ResourceWarning for each in caught)


# TLS.


@not_late
def a_stream_is_followed_over_tls():
    with new_client() as client:
        with client.sse(ADDRESSES["https"] + "/numbers", verify=ADDRESSES["bundle"]) as session:
            assert data_of(session.incoming) == ["1", "2", "3", "4"]
        session = client.sse(ADDRESSES["https"] + "/silent", verify=ADDRESSES["bundle"])
        waiting = Greenlet(next, session.incoming)
        take_turns(waiting)
        session.close()
        assert isinstance(waiting.error(), StopIteration)


@not_late
def closing_ends_a_handshake():
    for verify in (ADDRESSES["bundle"], True, False):
        with new_client() as client, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            close_while(client, ADDRESSES["silent https"], lambda: None, verify=verify)


@not_late
def a_consumer_over_tls_blocks_nobody():
    with new_client() as client:
        root = ADDRESSES["https"]
        with client.sse(root + "/paced/tls", verify=ADDRESSES["bundle"]) as session:
            waiting = Greenlet(next, session.incoming)
            take_turns(waiting)
            client.get(root + "/send/tls", verify=ADDRESSES["bundle"]).raise_for_status()
            assert waiting.result().data == "sent"


# Other cases.


@case
def a_server_in_memory_and_a_manual_clock_work():
    clock = ManualClock()
    with InMemoryServer(clock=clock) as server, server.client() as client:
        server.serve(["one"], then="reset")
        server.serve(["two"], then="stall")
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            waiting = Greenlet(next, session.incoming)
            assert clock.advance_to_next() == 3.0
            assert waiting.result().data == "two"


@case
def a_server_in_the_same_process_works():
    with SSEServer() as server, new_client() as client:
        server.serve(["one", "two"], then="drop")
        server.serve(["three"], then="reset")
        with client.sse(server.url) as session:
            assert data_of(session.incoming.get() for _ in range(3)) == ["one", "two", "three"]
            exchange = server.accept()
            waiting = Greenlet(next, session.incoming)
            exchange.open()
            take_turns(waiting)
            exchange.send("four")
            assert waiting.result().data == "four"
        assert exchange.wait_closed()


# The end of the process while something is open.


@ending
def with_a_stream_that_is_read():
    session = new_client().sse(URL + "/silent")
    take_turns(Greenlet(list, session.incoming))
    return session


@ending
def with_greenlets_whose_errors_are_printed():
    if LIBRARY == "gevent":
        from gevent import spawn
    else:
        from eventlet import spawn
    client = new_client()
    session, full = client.sse(URL + "/silent"), client.sse(URL + "/endless", capacity=1)
    until(full.incoming.full)
    name = f"headless/printed/{HOW}"
    waiting = [
        spawn(session.incoming.get),
        spawn(session.incoming.get_batch, 9),
        spawn(full.incoming.put, "mine"),
        spawn(client.sse, f"{URL}/{name}"),
    ]
    tell(new_client(), f"/seen/{name}")
    return waiting, full, session


@ending
def with_a_stream_that_is_open():
    return new_client().sse(URL + "/silent")


@ending
def with_a_stream_that_nobody_reads():
    session = new_client(capacity=1).sse(URL + "/endless")
    until(session.incoming.full)
    return session


@ending
def with_a_stream_that_opens():
    opening = Greenlet(new_client().sse, f"{URL}/headless/end")
    tell(new_client(), "/seen/headless/end")
    return opening


@ending
def with_a_stream_that_connects():
    opening = Greenlet(new_client().sse, ADDRESSES["deaf"])
    take_turns(opening)
    return opening


@ending
def with_a_stream_that_waits_to_reconnect():
    losses = []
    session = new_client(reconnection_time=3600, on_disconnect=lambda *_: losses.append(1)).sse(
        URL + "/numbers"
    )
    until(lambda: losses)
    return session


@ending
def with_streams_that_are_merged():
    # Nothing refers to them. Otherwise Python would keep them, like everything in this module.
    return merge([new_client().sse(URL + "/silent") for _ in range(2)])


@ending
def with_merged_streams_that_are_waited_for():
    merged = merge([new_client().sse(URL + "/silent") for _ in range(2)])
    take_turns(Greenlet(list, merged))
    return merged


@ending
def with_a_position_that_is_not_saved():
    session = new_client(cursor=FileCursor(FOLDER / "end.json")).sse(URL + "/numbers")
    session.incoming.get()
    return session


@ending
def with_a_stream_over_tls():
    if MANNER == "late":
        return None
    session = new_client().sse(ADDRESSES["https"] + "/silent", verify=ADDRESSES["bundle"])
    take_turns(Greenlet(list, session.incoming))
    return session


@ending
def with_a_stream_whose_host_is_looked_up():
    if LIBRARY == "eventlet" and sys.version_info >= (3, 13):
        return (
            None  # there eventlet's Thread.join raises an error at its timeout instead of returning
        )
    resolving = threading.Event()

    def never(*arguments, **options):
        resolving.set()
        threading.Event().wait()

    socket.getaddrinfo = never
    opening = Greenlet(new_client().sse, "http://name.invalid/")
    resolving.wait()
    return opening


@ending
def with_greenlets_that_wait_for_each_other():
    session = new_client(capacity=1).sse(URL + "/silent")
    session.incoming.put("mine")
    session.incoming.get()
    joining = Greenlet(session.incoming.join)
    clock = ManualClock()
    server = InMemoryServer(clock=clock)
    server.start()
    other = server.client()
    opening = Greenlet(other.sse, server.url)
    sleeping = Greenlet(clock.wait_for_sleepers, 100, 3600)
    take_turns(joining, opening, sleeping)
    return session, joining, server, other, opening, sleeping


@ending
def by_an_interrupt():
    # Ctrl-C arrives from another process while all greenlets wait.
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    with new_client() as client, client.sse(URL + "/silent") as session:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            session.incoming.get()
        except KeyboardInterrupt:
            return
    raise AssertionError("there was an event")


def run_cases():
    """Run all cases, and print the names of those that pass. Return whether all passed."""
    failed = 0
    for function in CASES:
        try:
            function()
            until(lambda: not readers())
        except Exception:
            traceback.print_exc()
            failed += 1
        else:
            print(function.__name__, flush=True)
    is_queue = issubclass(IncomingChannel, queue.Queue)
    print("a channel is a queue.Queue:", is_queue, flush=True)
    return not failed


def end(name):
    """Open what this ending leaves open, and return it."""
    left_open = ENDINGS[name]()
    print("ending", flush=True)
    return left_open
