"""The process: its exit, forks, signals and finalisers while sessions are open.

Tests of the interpreter start a separate one.
"""

from __future__ import annotations

import copy
import functools
import gc
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import pytest
import requests
from interpreters import PREAMBLE, ended, run, start
from support import (
    PATIENCE,
    Running,
    Signal,
    deaf_listener,
    fill,
    silent_listener,
    sse_client_for_tests,
)

from sse_client import (
    SSE,
    BearerAuth,
    ChannelClosed,
    HttpClient,
    IncomingChannel,
    ReadyState,
    ServerSentEvent,
    SessionClosedError,
)
from sse_client.process import disown_all, stop_all

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
needs_signals = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")

#: Ways to end, and the status of each. The uncaught error prints its traceback, and no other.
ENDS = {
    "the end of the script": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an uncaught exception": ("raise LookupError('of the script')", 1),
    "os._exit": ("os._exit(4)", 4),
}

#: The state of the open session.
READING = """
session = client.sse(url)
assert session.incoming.get().data == "one"
"""
WAITING_TO_RECONNECT = """
lost = threading.Event()
session = client.sse(url, on_disconnect=lambda *_: lost.set())
assert lost.wait(20)
"""
FULL = """
session = client.sse(url, capacity=1)
deadline = time.monotonic() + 20
while not session.incoming.full():
    assert session.incoming._takers.wait(session.incoming.full, deadline)
"""
CONSUMED_BY_A_DAEMON = """
session = client.sse(url)
assert session.incoming.get().data == "one"
in_background(lambda: list(session.incoming))
"""
AWAITED_BY_DAEMONS = """
session = client.sse(url)
in_background(lambda: [session.incoming.get() for _ in range(9)])
in_background(lambda: [session.incoming.get_batch(9) for _ in range(9)])
while len(session.incoming._takers.wakes) < 2:
    threading.Event().wait(0.01)
"""
FILLED_BY_A_DAEMON = """
session = client.sse(url, capacity=3)
in_background(lambda: [session.incoming.put("more") for _ in range(9)])
while not session.incoming._waiters._putting.wakes:
    threading.Event().wait(0.01)
"""
CLOSED_IN_A_HOOK = """
closing = threading.Event()
session = client.sse(url, on_close=lambda session: closing.set())
"""
RESOLVING = """
asked = threading.Event()
resolve = socket.getaddrinfo


def getaddrinfo(host, *args, **options):
    if host != "name.invalid":
        return resolve(host, *args, **options)
    asked.set()
    threading.Event().wait()


socket.getaddrinfo = getaddrinfo
in_background(lambda: client.sse("http://name.invalid/"))
assert asked.wait(20)
"""
#: Each of them, and a connecting session: one in a TLS handshake, and one without a response.
ALL_OF_IT = f"""
kept = []
{READING}
kept.append(session)
{FULL}
kept.append(session)
{CONSUMED_BY_A_DAEMON}
kept.append(session)
{CLOSED_IN_A_HOOK}
kept.append(session)
{WAITING_TO_RECONNECT}
kept.append(session)
{RESOLVING}
sent.clear()
in_background(lambda: client.sse(sys.argv[2], timeout=(60, None)))
in_background(lambda: client.sse(sys.argv[3]))
in_background(lambda: client.sse(url))
assert input() == "go on"
"""


#: A finaliser of urllib3 that runs too late in interpreters that clear modules early.
URLLIB3_S_OWN = re.compile(
    r"Exception ignored in: <finalize object at .+?\n"
    r"(?: .*\n|Traceback .*\n)+?AttributeError: 'NoneType' object has no attribute 'Empty'\n"
)


def check_end(outcome, status, how):
    code, out, err = outcome
    err = URLLIB3_S_OWN.sub("", err)
    assert (code, out) == (status, "")
    if how == "an uncaught exception":
        assert err.startswith("Traceback (most recent call last)")
        assert err.count("Traceback") == 1
        assert err.endswith("LookupError: of the script\n")
    else:
        assert err == ""


@pytest.mark.parametrize("how", ENDS)
def test_the_exit_ends_all_at_once(server, how):
    act, status = ENDS[how]
    for _ in range(4):
        server.serve(["one", "two", "three"], then="stall")
    server.serve(["one"], then="drop")
    with deaf_listener() as deaf, silent_listener() as (silent, accept):
        urls = (server.url, f"http://127.0.0.1:{deaf}/", f"https://127.0.0.1:{silent}/")
        process = start(f"{ALL_OF_IT}\n{act}", *urls)
        assert accept().recv(1), "the client's hello"
        server.accept()
        process.stdin.write("go on\n")
        check_end(ended(process), status, how)


@pytest.mark.ci
@pytest.mark.parametrize("how", ENDS)
class TestExit:
    """Each in its own process."""

    @pytest.mark.parametrize(
        "doing",
        [
            READING,
            FULL,
            CONSUMED_BY_A_DAEMON,
            AWAITED_BY_DAEMONS,
            FILLED_BY_A_DAEMON,
            CLOSED_IN_A_HOOK,
        ],
        ids=["reading", "full", "consumed", "awaited", "filled", "with a hook"],
    )
    def test_with_an_open_stream(self, server, doing, how):
        act, status = ENDS[how]
        server.serve(["one", "two", "three"], then="stall")
        check_end(run(f"{doing}\n{act}", server.url), status, how)

    def test_while_it_waits_to_reconnect(self, server, how):
        act, status = ENDS[how]
        server.serve(["one"], then="drop")
        check_end(run(f"{WAITING_TO_RECONNECT}\n{act}", server.url), status, how)

    def test_while_it_connects(self, how):
        act, status = ENDS[how]
        script = f"in_background(lambda: client.sse(url, timeout=(60, None)))\n{act}"
        with deaf_listener() as port:
            check_end(run(script, f"http://127.0.0.1:{port}/"), status, how)

    def test_while_tls_shakes_hands(self, how):
        act, status = ENDS[how]
        script = f"in_background(lambda: client.sse(url))\nassert input() == 'go on'\n{act}"
        with silent_listener() as (port, accept):
            process = start(script, f"https://127.0.0.1:{port}/")
            assert accept().recv(1), "the client's hello"
            process.stdin.write("go on\n")
            check_end(ended(process), status, how)

    def test_while_it_waits_for_the_header(self, server, how):
        act, status = ENDS[how]
        script = f"in_background(lambda: client.sse(url))\nassert input() == 'go on'\n{act}"
        process = start(script, server.url)
        server.accept()
        process.stdin.write("go on\n")
        check_end(ended(process), status, how)

    def test_while_the_resolver_blocks(self, how):
        # Nothing can interrupt it, so the thread runs until the end of the process.
        act, status = ENDS[how]
        check_end(run(f"{RESOLVING}\n{act}", "unused"), status, how)


class TestExitOrder:
    def test_a_thread_that_is_no_daemon_goes_on_to_the_end_of_its_stream(self, server):
        script = """
            session = client.sse(url, reconnect="never")
            def consume():
                for event in session.incoming:
                    print(event.data, flush=True)

            threading.Thread(target=consume).start()
            print("the main thread is done", flush=True)
            sys.exit(3)
        """
        process = start(script, server.url)
        exchange = server.accept()
        exchange.open()
        assert process.stdout.readline() == "the main thread is done\n"
        exchange.send("one")
        assert process.stdout.readline() == "one\n"
        exchange.end()
        assert ended(process) == (3, "", "")

    def test_handlers_find_sessions_open_if_they_came_later_than_the_package(self, server):
        script = """
            session = client.sse(url)
            atexit.register(lambda: print("later:", session.state.name))
        """
        earlier = "import atexit; atexit.register(lambda: print('earlier:', session.state.name))\n"
        source = earlier + PREAMBLE + textwrap.dedent(script)
        server.serve(["one"], then="stall")
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", source, server.url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "later: OPEN\nearlier: CLOSED\n"

    @pytest.mark.parametrize("is_main", [True, False])
    def test_pauses_all_threads_but_the_main_one(self, monkeypatch, is_main):
        pauses = []

        class Doorbell:
            def wait(self, timeout):
                pauses.append(timeout)

        monkeypatch.setattr("sse_client.process.Doorbell", Doorbell)
        monkeypatch.setattr("sse_client.process._is_ending", True)
        channel = IncomingChannel()
        channel.end()
        waits = [
            channel.get,
            functools.partial(channel.get_batch, 2),
            functools.partial(channel.put, "mine"),
            channel.get_nowait,  # does not wait
        ]

        def errors():
            for wait in waits:
                with pytest.raises(ChannelClosed) as raised:
                    wait()
                yield raised.type

        found = list(errors()) if is_main else Running(lambda: list(errors())).outcome()
        assert found == [ChannelClosed] * 4
        assert pauses == ([] if is_main else [2.0] * 3)

    def test_a_handler_may_join_a_daemon_thread_that_waits_for_an_event(self, server):
        # It was registered before the package was imported, so it runs after the sessions' end.
        script = """
            session = client.sse(url)
            in_background(lambda: [session.incoming.get() for _ in range(9)])
            (consumer,) = (each for each in threading.enumerate() if "lambda" in each.name)
            while not session.incoming._takers.wakes:
                threading.Event().wait(0.01)
        """
        earlier = "import atexit; atexit.register(lambda: (consumer.join(), print('joined')))\n"
        source = earlier + PREAMBLE + textwrap.dedent(script)
        server.serve(["one"], then="stall")
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", source, server.url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "joined\n")
        assert "ChannelClosed" in done.stderr

    def test_the_server_sees_the_connection_go(self, server):
        script = 'session = client.sse(url)\nprint("open", flush=True)\ninput()\n'
        process = start(script, server.url)
        exchange = server.accept()
        exchange.open()
        assert process.stdout.readline() == "open\n"
        process.stdin.write("go on\n")
        assert ended(process) == (0, "", "")
        assert exchange.wait_closed()

    def test_many_sessions_end_together(self, server):
        server.handler = lambda exchange: (exchange.open(), exchange.stall())
        script = "sessions = [client.sse(url) for _ in range(50)]\nsys.exit(3)\n"
        assert run(script, server.url) == (3, "", "")

    def test_waits_for_the_last_one_first(self):
        # A shared thread ends its streams in order. So the others need no wait.
        calls = []

        class Follower:
            def stop(self):
                calls.append(("stop", self))

            def join(self, timeout):
                calls.append(("join", self))

        first, second = Follower(), Follower()
        stop_all([first, second], 1.0)
        assert calls == [("stop", first), ("stop", second), ("join", second), ("join", first)]

    def test_stops_all_though_a_daemon_thread_begins_another_meanwhile(self):
        class Follower:
            stopped = False

            def stop(self):
                self.stopped = True

            def join(self, timeout):
                pass

        first, late = Follower(), Follower()

        class Live(weakref.WeakSet):
            def __iter__(self):
                for follower in super().__iter__():
                    self.add(late)
                    yield follower

        live = Live([first])
        stop_all(live, 1.0)
        assert first.stopped
        assert late in live


@needs_signals
class TestInterrupts:
    def test_end_a_wait_at_once(self, server):
        script = """
            merges = []
            def merged():
                merges.append(merge([session]))
                next(merges[-1])
            waits = {
                "merge": merged,
                "get": lambda: session.incoming.get(),
                "get for an hour": lambda: session.incoming.get(timeout=3600),
                "next": lambda: next(session.incoming),
                "iterate": lambda: [event for event in session.incoming],
                "join": lambda: session.incoming.join(),
            }
            for name, wait in waits.items():
                with client.sse(url) as session:
                    session.incoming.get()
                    when_main_waits(interrupt)
                    try:
                        wait()
                    except KeyboardInterrupt:
                        print(name, "interrupted", session.state.name)
                print(name, session.state.name)
        """
        waits = ("merge", "get", "get for an hour", "next", "iterate", "join")
        for _ in waits:
            server.serve(["one"], then="stall")
        output = "".join(f"{name} interrupted OPEN\n{name} CLOSED\n" for name in waits)
        assert run(script, server.url) == (0, output, "")

    def test_leave_the_with_block_and_the_process_as_always(self, server):
        script = """
            with client.sse(url) as session:
                when_main_waits(interrupt)
                for event in session.incoming:
                    pass
        """
        server.serve(["one"], then="stall")
        code, _, err = run(script, server.url)
        assert code == -signal.SIGINT
        assert err.endswith("KeyboardInterrupt\n")
        assert err.count("Traceback") == 1

    def test_of_merged_streams_show_no_error_but_the_interrupt(self, server):
        script = """
            from sse_client import merge

            with merge([client.sse(url), client.sse(url)]) as merged:
                when_main_waits(interrupt)
                next(merged)
        """
        for _ in range(2):
            server.serve(then="stall")
        code, _, err = run(script, server.url)
        assert code == -signal.SIGINT
        assert err.endswith("KeyboardInterrupt\n")
        assert err.count("Traceback") == 1

    def test_lose_no_event(self, server):
        script = """
            with client.sse(url) as session:
                print(session.incoming.get().data)
                when_main_waits(interrupt)
                try:
                    session.incoming.get()
                except KeyboardInterrupt:
                    print("interrupted", flush=True)
                print(session.incoming.get().data)
        """
        process = start(script, server.url)
        exchange = server.accept()
        exchange.send("one")
        assert process.stdout.readline() == "one\n"
        assert process.stdout.readline() == "interrupted\n"
        exchange.send("two")
        assert ended(process) == (0, "two\n", "")

    def test_end_the_wait_for_a_connection(self):
        script = """
            when_main_waits(interrupt)
            try:
                client.sse(url, timeout=(60, None))
            except KeyboardInterrupt:
                print("interrupted", *[t.name for t in threading.enumerate() if "sse" in t.name])
        """
        with deaf_listener() as port:
            outcome = run(script, f"http://127.0.0.1:{port}/")
        assert outcome == (0, "interrupted\n", "")

    @pytest.mark.parametrize("close", ["session.close(timeout=3600)", "client.close()"])
    def test_end_the_wait_for_a_thread_that_cannot_end(self, server, close):
        script = f"""
            never, asked = threading.Event(), threading.Event()
            def hook(session, text):
                asked.set()
                never.wait()

            session = client.sse(url, on_comment=hook)
            assert asked.wait(20)
            when_main_waits(interrupt)
            import sse_client.client
            sse_client.client.CLOSE_TIMEOUT = 3600
            try:
                {close}
            except KeyboardInterrupt:
                print("interrupted", session.state.name)
        """
        server.serve([b": comment\n\n"], then="stall")
        assert run(script, server.url) == (0, "interrupted CLOSED\n", "")


@needs_signals
class TestSignals:
    def test_may_close_the_session_that_the_main_thread_waits_for(self, server):
        script = """
            from sse_client import ChannelClosed
            closes = {
                "session": lambda: session.close(),
                "draining": lambda: session.close(drain=True),
                "client": lambda: client.close(),
            }
            signal.signal(signal.SIGTERM, lambda *_: closes[name]())
            for name in closes:
                for timeout in (None, 3600):
                    with HttpClient().install(SSE) as client:
                        session = client.sse(url)
                        when_main_waits(lambda: os.kill(os.getpid(), signal.SIGTERM))
                        try:
                            session.incoming.get(timeout=timeout)
                        except ChannelClosed:
                            print(name, timeout, "closed")
        """
        server.handler = lambda exchange: (exchange.open(), exchange.stall())
        closed = [
            f"{name} {timeout} closed\n"
            for name in ("session", "draining", "client")
            for timeout in (None, 3600)
        ]
        assert run(script, server.url) == (0, "".join(closed), "")

    def test_may_close_the_client_that_the_main_thread_opens_a_session_with(self, server):
        script = """
            signal.signal(signal.SIGTERM, lambda *_: client.close())
            when_main_waits(lambda: os.kill(os.getpid(), signal.SIGTERM))
            try:
                client.sse(url)
            except SessionClosedError:
                print("closed")
        """
        assert run(script, server.url) == (0, "closed\n", "")

    def test_may_send_a_request_between_any_two_steps_of_a_bearer_token(self, server):
        # A trace function simulates the handler: it also runs in between on the same thread.
        script = """
            import faulthandler, itertools
            faulthandler.dump_traceback_later(20, exit=True)

            def follow(line):
                calls, left = [], iter(range(line, -1, -1))
                def fetch(name):
                    calls.append(name)
                    return f"T{len(calls)}"

                def trace(frame, event, _):
                    if not frame.f_code.co_filename.endswith("bearer_auth.py"):
                        return None
                    if event == "line" and next(left, None) == 0:
                        sys.settrace(None)
                        client.get(url)
                    return trace

                with HttpClient() as client:
                    options = {name: lambda name=name: fetch(name) for name in ("load", "refresh")}
                    client.install(BearerAuth, **options)
                    sys.settrace(trace)
                    response = client.get(url)
                    sys.settrace(None)
                assert (response.status_code, calls) == (200, ["load", "refresh"]), (line, calls)
                return next(left, None) is None

            tried = sum(1 for _ in itertools.takewhile(follow, itertools.count()))
            assert tried > 40, tried
        """

        def handle(exchange):
            is_new = exchange.request.headers.get("Authorization") == "Bearer T2"
            exchange.respond(200 if is_new else 401)

        server.handler = handle
        assert run(script, server.url) == (0, "", "")

    def test_may_end_the_process_with_its_status(self, server):
        script = """
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
            with client.sse(url) as session:
                when_main_waits(lambda: os.kill(os.getpid(), signal.SIGTERM))
                for event in session.incoming:
                    pass
        """
        server.serve(["one"], then="stall")
        assert run(script, server.url) == (5, "", "")


@needs_fork
class TestFork:
    def test_leaves_the_session_to_the_parent(self, server):
        script = """
            session = client.sse(url)
            assert session.incoming.get().data == "one"
            child = os.fork()
            if not child:
                waits = session.incoming.get, lambda: next(session.incoming)
                for act in (*waits, session.reconnect):
                    try:
                        act()
                    except SessionClosedError as error:
                        print(error, flush=True)
                session.close()
                sys.exit(7)  # through all that an interpreter does at its end
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            print(session.incoming.get().data, session.state.name)
        """
        process = start(script, server.url)
        exchange = server.accept()
        exchange.send("one")
        told = [process.stdout.readline() for _ in range(4)]
        exchange.send("two")
        assert ended(process) == (0, "two OPEN\n", "")
        theirs = "the session belongs to another process, which opened it\n"
        assert told == [theirs, theirs, "a session that has ended cannot reconnect\n", "7\n"]

    def test_in_the_middle_of_everything_hangs_nobody(self, server):
        # Another thread, which does not exist in the child, holds each lock of the package.
        script = """
            client.install(BearerAuth, load=lambda: "token", refresh=lambda: "token")
            session = client.sse(url)
            reader = session._reader
            locks = [
                *(reader._state._lock, session.incoming._mutex, client._lock),
                client._session.cookies._cookies_lock,
            ]
            held, released = threading.Event(), threading.Event()
            def hold():
                for lock in locks:
                    lock.acquire()
                held.set()
                released.wait()
                for lock in reversed(locks):
                    lock.release()

            threading.Thread(target=hold, daemon=True).start()
            assert held.wait(20)
            child = os.fork()
            if not child:
                signal.alarm(15)
                try:
                    session.incoming.get()
                except SessionClosedError:
                    session.close()
                    # Here: another thread might be taken for the one that held a lock.
                    assert client.get(url + "plain").text == "plain"
                    with client.sse(url) as own:
                        print(own.incoming.get().data, flush=True)
                    client.close()
                sys.exit(7)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            released.set()
            print(status, session.state.name)
        """

        def handle(exchange):
            if exchange.request.target == "/plain":
                exchange.respond(200, body="plain")
            else:
                exchange.send("one")
                exchange.stall()

        server.handler = handle
        assert run(script, server.url) == (0, "one\n7 OPEN\n", "")

    def test_hangs_nobody_with_a_session_of_the_users(self, server):
        script = """
            import requests
            own = requests.Session()
            own.proxies["http"] = url
            client = HttpClient(own).install(SSE)
            for address in (url, "http://name.invalid/"):
                assert client.get(address).text == "plain"
            adapter = own.get_adapter(url)
            managers = [adapter.poolmanager, *adapter.proxy_manager.values()]
            pools = [manager.connection_from_url(url) for manager in managers]
            locks = [own.cookies._cookies_lock, *(manager.pools.lock for manager in managers)]
            held = threading.Event()
            def hold():
                for lock in (*locks, *(pool.pool.mutex for pool in pools)):
                    lock.acquire()
                held.set()
                threading.Event().wait()

            threading.Thread(target=hold, daemon=True).start()
            assert held.wait(20)
            child = os.fork()
            if not child:
                signal.alarm(15)
                assert client.get(url).text == "plain"
                own.trust_env, own.proxies = False, {}
                assert client.get(url).text == "plain"
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            os._exit(0)
        """
        server.handler = lambda exchange: exchange.respond(200, body="plain")
        assert run(script, server.url) == (0, "7\n", "")

    def test_gives_the_child_connections_of_its_own(self, server):
        script = """
            assert client.get(url).text == "plain"
            child = os.fork()
            if not child:
                assert client.get(url).text == "plain"
                sys.exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            assert client.get(url).text == "plain"
        """
        server.handler = lambda exchange: exchange.respond(200, body="plain")
        assert run(script, server.url) == (0, "0\n", "")
        first, of_child, last = [request.client_port for request in server.requests]
        assert first == last != of_child

    def test_seen_from_within_gives_the_client_new_pools(self, server):
        # Coverage does not follow a fork.
        server.handler = lambda exchange: exchange.respond(200, body="plain")
        with sse_client_for_tests() as client:
            client.install(BearerAuth, load=lambda: "token", refresh=lambda: "token")
            client.get(server.url)
            pools = client._session.get_adapter(server.url)
            disown_all()
            assert client.get(server.url).text == "plain"
            pools.close()
        ports = [request.client_port for request in server.requests]
        assert len({*ports}) == 2

    def test_leaves_the_connections_of_a_session_of_the_users_alone(self, server):
        class Adapter(requests.adapters.BaseAdapter):
            """An adapter without pools."""

            def close(self):
                pass

        server.handler = lambda exchange: exchange.respond(200, body="plain")
        with requests.Session() as own, sse_client_for_tests(own) as client:
            own.mount("other://", Adapter())
            adapter = own.get_adapter(server.url)
            client.get(server.url)
            closed = adapter.poolmanager.connection_from_url("http://127.0.0.1:9/")
            closed.close()
            disown_all()
            assert own.get_adapter(server.url) is adapter
            assert client.get(server.url).text == "plain"
        first, second = server.requests
        assert first.client_port == second.client_port

    def test_leaves_something_like_a_session_alone(self):
        class Session:
            """Only the members that a client needs of a session."""

            def send(self, request, **settings):
                raise AssertionError("nothing may be sent")

        session = Session()
        with HttpClient(session):
            disown_all()
        assert vars(session) == {}


def follow(url, numbers):
    """Use a client in a process of multiprocessing, created there or inherited."""
    with HttpClient().install(SSE) as client, client.sse(url) as session:
        for event in session.incoming:
            numbers.put(event)
            if event.data == "2":
                break


class TestMultiprocessing:
    @pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_children_follow_streams_and_hand_over_events(self, server, method, monkeypatch):
        folders = (Path(__file__).parent, Path(__file__).parents[1])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
        server.handler = lambda exchange: (
            exchange.send("1", id="a", event="n"),
            exchange.send("2"),
            exchange.stall(),
        )
        script = """
            import multiprocessing
            from test_life import follow
            from sse_client import ServerSentEvent

            if __name__ == "__main__":
                multiprocessing.set_start_method(sys.argv[2])
                with client.sse(url) as session:
                    assert session.incoming.get().data == "1"
                    events = multiprocessing.Queue()
                    child = multiprocessing.Process(target=follow, args=(url, events))
                    child.start()
                    assert events.get() == ServerSentEvent("1", event="n", id="a")
                    assert events.get() == ServerSentEvent("2", id="a")
                    child.join()
                    print(child.exitcode, session.state.name, session.incoming.get().data)
        """
        code, out, err = run(script, server.url, method)
        assert (code, out, err) == (0, "0 OPEN 2\n", "")

    @pytest.mark.parametrize("handle", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_sessions_clients_and_channels_cannot_be_handed_over(self, server, handle):
        server.serve([], then="stall")
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            for thing in (session, session.incoming, client):
                name = type(thing).__name__
                with pytest.raises(TypeError, match=f"{name} cannot be pickled or copied"):
                    handle(thing)

    def test_events_can_be_handed_over(self):
        event = ServerSentEvent("a\nb", event="n", id="7", retry=3, comments="c")
        assert pickle.loads(pickle.dumps(event)) == event


class TestConsumers:
    def test_that_raise_close_the_session_and_are_heard(self, server):
        mine = LookupError("mine")
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client:
            session = client.sse(server.url)

            def consume():
                with session:
                    for _ in session.incoming:
                        raise mine

            with pytest.raises(LookupError) as caught:
                consume()
            assert caught.value is mine
            assert session.state is ReadyState.CLOSED
            assert session.error is None


class TestHooks:
    @pytest.mark.parametrize(
        "hook", ["on_open", "on_comment", "on_disconnect", "on_cursor_expired", "on_close"]
    )
    @pytest.mark.parametrize("raised", [LookupError, SessionClosedError])
    def test_that_raise_hurt_nobody(self, server, hook, raised):
        def fail(session, *_):
            raise raised("mine")

        server.serve([b": comment\n\n", ServerSentEvent("one", id="1")], then="drop")
        server.respond(410) if hook == "on_cursor_expired" else server.respond(204)
        with sse_client_for_tests(**{hook: fail}) as client:
            session = client.sse(server.url)
            assert next(session.incoming).data == "one"
            if hook == "on_cursor_expired":
                with pytest.raises(Exception, match="410"):
                    next(session.incoming)
            else:
                assert list(session.incoming) == []

    @pytest.mark.parametrize("hook", ["on_open", "on_comment", "on_disconnect", "on_close"])
    def test_may_close_the_client(self, server, hook):
        closed = Signal()
        with HttpClient() as client:

            def close(session, *_):
                client.close()
                closed()

            client.install(SSE, reconnection_time=0.0, **{hook: close})
            opening = Running(lambda: client.sse(server.url))
            exchange = server.accept()
            exchange.open()
            session = opening.outcome()
            if hook == "on_comment":
                exchange.comment("close")
            elif hook == "on_disconnect":
                exchange.drop()
            elif hook == "on_close":
                session.close()
            closed.await_()
            assert list(session.incoming) == []
            assert exchange.wait_closed()
        assert len(server.requests) == 1

    @pytest.mark.parametrize("hook", ["on_open", "on_comment", "on_disconnect"])
    def test_may_reconnect(self, server, hook):
        asked = []

        def reconnect(session, *_):
            if not asked:
                asked.append(session)
                session.reconnect()

        server.serve([b": comment\n\n"], then="drop" if hook == "on_disconnect" else "stall")
        server.serve(["two"], then="stall")
        options = {"reconnection_time": 3600, hook: reconnect}
        with sse_client_for_tests(**options) as client, client.sse(server.url) as session:
            assert next(session.incoming).data == "two"
        assert len(server.requests) == 2

    def test_may_not_reconnect_what_has_ended(self, server):
        outcome = Signal()

        def reconnect(session):
            with pytest.raises(SessionClosedError):
                session.reconnect()
            outcome()

        server.serve(["one"], then="end")
        server.respond(204)
        with sse_client_for_tests(on_close=reconnect) as client, client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one"]
            outcome.await_()


class TestFinalisers:
    @pytest.mark.parametrize("close", ["session", "client", "draining"])
    def test_may_close_in_the_middle_of_everything(self, server, close):
        # The garbage collector may run on any thread, here on one that holds each lock.
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client:
            session = client.sse(server.url)
            fill(session.incoming, 1)
            closes = {
                "session": session.close,
                "client": client.close,
                "draining": lambda: session.close(timeout=0, drain=True),
            }

            class Owner:
                def __init__(self):
                    self.cycle = self

                def __del__(self):
                    closes[close]()

            Owner()
            with session.incoming._mutex, session._reader._state._lock, client._lock:
                gc.collect()
            assert session.state is ReadyState.CLOSED

    def test_of_weakref_may_close(self, server):
        server.serve(["one"], then="stall")

        class Owner:
            pass

        with sse_client_for_tests() as client:
            session, owner = client.sse(server.url), Owner()
            weakref.finalize(owner, session.close)
            del owner
            gc.collect()
            assert session.state is ReadyState.CLOSED

    def test_of_weakref_may_close_at_the_exit(self, server):
        script = """
            session = client.sse(url)
            weakref = __import__("weakref")
            weakref.finalize(client, lambda reader: reader.stop(), session._reader)
        """
        server.serve(["one"], then="stall")
        assert run(script, server.url) == (0, "", "")

    def test_a_session_that_is_dropped_before_the_exit_warns_once(self, server):
        script = """
            client.sse(url)
            import gc
            gc.collect()
        """
        server.serve(["one"], then="stall")
        code, out, err = run(script, server.url)
        assert (code, out) == (0, "")
        assert err.count("ResourceWarning: unclosed SSE session to 127.0.0.1") == 1
        assert "Traceback" not in err

    def test_a_generator_over_the_events_keeps_the_session(self, server):
        with sse_client_for_tests() as client:
            opening = Running(lambda: (event.data for event in client.sse(server.url).incoming))
            exchange = server.accept()
            exchange.send("one")
            data = opening.outcome()
            opening.result = None
            assert next(data) == "one"
            gc.collect()
            exchange.send("two")
            assert next(data) == "two"
            with pytest.warns(ResourceWarning, match="unclosed SSE session"):  # noqa: PT031  # one act
                del data
                gc.collect()
            assert exchange.wait_closed()

    def test_a_session_that_is_left_to_the_end_of_the_interpreter_stays_silent(self, server):
        # All sessions have been stopped by then, and the modules may have been cleared.
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client, client.sse(server.url) as session:
            session._lease.__del__(lambda: True)
            assert session.state is ReadyState.OPEN
