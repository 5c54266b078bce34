"""A child that was forked without Python's knowledge, as by uWSGI, and its use of a session.

One process opens the streams, and forks a child for each action. After each child the parent's
stream must continue.
"""

from __future__ import annotations

import json
import signal
import textwrap
from pathlib import Path

import pytest
from children import needs_fork
from interpreters import ended, start
from support import PATIENCE

from sse_client import FileCursor
from sse_client.testing import SSEServer

pytestmark = needs_fork

#: The folder of ``quiet.py``.
HELPERS = Path(__file__).parent.parent

#: The beginning of each parent's script.
PREFACE = """
    import ctypes
    from sse_client import FileCursor

    sys.path.append(sys.argv.pop())
    from quiet import wait_until_quiet

    def fork():
        wait_until_quiet()
        return ctypes.PyDLL(None).fork()

    def status_of(child):
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def begin(script, *arguments):
    """Start a parent."""
    source = textwrap.dedent(PREFACE) + textwrap.dedent(script)
    return start(source, *arguments, HELPERS)


#: The parent. Its arguments are the actions as JSON, and whether a thread holds each lock
#: meanwhile.
PARENT = """
    import asyncio, gc, json, traceback, weakref
    from sse_client import SSEClientError, merge
    from sse_client.cursors import claims

    acts, holds_locks = json.loads(sys.argv[2]), sys.argv[3] == "held"

    class Cursor:
        '''Takes note of its calls.'''

        def __init__(self):
            self.calls = []

        def load(self):
            return None

        def save(self, event_id):
            self.calls.append(event_id)

        def close(self):
            self.calls.append("close")

    cursor = Cursor()
    session = client.sse(url + "stream")
    typed = client.sse(url + "stream", types=int)
    kept = client.sse(url + "stream", cursor=cursor)
    acknowledged = client.sse(url + "stream", cursor=Cursor(), auto_acknowledge=False)
    streams = [session, typed, kept, acknowledged]
    in_hand = [stream.incoming.get() for stream in streams]

    adapter = client._session.get_adapter(url)
    client.get(url + "send")
    in_hand = [stream.incoming.get() for stream in streams]
    pools = adapter.poolmanager.pools
    locks = [
        *(stream._reader._state._lock for stream in streams),
        *(stream.incoming._mutex for stream in streams),
        *(stream.incoming.keeper._lock for stream in (kept, acknowledged)),
        *(stream.incoming.keeper._saving for stream in (kept, acknowledged)),
        *(claims._lock, client._lock, client._session.cookies._cookies_lock),
        *([client._shared._lock] if client._shared else []),
        *(pools.lock, *(pools[key].pool.mutex for key in pools.keys())),
    ]

    class Holder(threading.Thread):
        '''Holds all locks until the test lets it release them.'''

        def __init__(self):
            super().__init__(name="sse-client: holder", daemon=True)
            self.held, self.released = threading.Event(), threading.Event()
            self.start()
            assert self.held.wait(20)

        def run(self):
            for lock in locks:
                lock.acquire()
            self.held.set()
            self.released.wait()
            for lock in reversed(locks):
                lock.release()

    theirs, join = set(threading.enumerate()), threading.Thread.join

    def join_own(thread, timeout=None):
        assert thread not in theirs, "a child waits for a thread of its parent"
        join(thread, timeout)

    def write(text):
        os.write(1, text.encode() + b"\\n")

    def act_in_child(code):
        signal.alarm(10)
        threading.Thread.join = join_own
        try:
            exec(code, globals())
            write(repr(globals().get("result")))
        except BaseException as error:
            write(f"{type(error).__name__}: {error}")
            if not isinstance(error, SSEClientError):
                traceback.print_exc()
        os._exit(len(cursor.calls))

    waiting = int(sys.argv[4])
    for number, code in enumerate(acts):
        for _ in range(waiting):
            client.get(url + "send")
        for stream in streams:
            while stream.incoming.qsize() < waiting:
                stream.incoming._takers.wait(lambda: stream.incoming.qsize() >= waiting, None)
        cursor.calls.clear()
        holder = Holder() if holds_locks else None
        child = fork()
        if not child:
            act_in_child(code)
        status = status_of(child)
        if status:  # of SIGALRM, or the number of calls of the cursor
            print(code, status, file=sys.stderr)
        if holder:
            holder.released.set()
            holder.join()
        client.get(url + "send")
        for stream in streams:
            assert len([stream.incoming.get() for _ in range(waiting + 1)]) == waiting + 1
            assert stream.state.name == "OPEN", number
    client.close()
"""

THEIRS = "SessionClosedError: the session belongs to another process, which opened it"

MERGED = "SessionFailedError: <SSESession 127.0.0.1 CLOSED> failed with SessionClosedError"

DROP = "result = weakref.ref({0}); del {0}, stream, streams; gc.collect(); result = result()"

CLOSE_OTHERS = "[stream.close() for stream in streams]"

#: The actions of a child, and their results.
ACTS = {
    "session.incoming.get()": THEIRS,
    "session.incoming.get(timeout=20)": THEIRS,
    "session.incoming.get_nowait()": THEIRS,
    "session.incoming.get_batch(5)": THEIRS,
    "next(session.incoming)": THEIRS,
    "list(session.incoming)": THEIRS,
    "asyncio.run(session.incoming.__anext__())": THEIRS,
    "session.incoming.put(1)": THEIRS,
    "session.incoming.put_nowait(1)": THEIRS,
    "session.incoming.join()": None,
    "session.incoming.task_done()": THEIRS,
    "session.incoming.shutdown()": None,
    "session.incoming.shutdown(immediate=True)": None,
    "result = session.incoming.is_shutdown": True,
    "result = session.incoming.qsize(), session.incoming.empty()": (0, True),
    "session.acknowledge(in_hand[0])": THEIRS,
    "session.acknowledge([])": THEIRS,
    "session.reconnect()": "SessionClosedError: a session that has ended cannot reconnect",
    "result = session.state.name": "CLOSED",
    "raise session.error": THEIRS,
    "result = session.statistics.connections": 1,
    "result = session.response.status_code": 200,
    "session.close()": None,
    "session.close(drain=True)": None,
    "asyncio.run(session.aclose())": None,
    "with session: pass": None,
    "client.close()": None,
    "asyncio.run(client.aclose())": None,
    "with client: pass": None,
    # A typed session decodes the data when an event is taken.
    "typed.incoming.get()": THEIRS,
    "next(typed.incoming)": THEIRS,
    "typed.incoming.get_batch(5)": THEIRS,
    "asyncio.run(typed.incoming.__anext__())": THEIRS,
    # A child neither saves a position nor closes a cursor.
    "kept.incoming.get()": THEIRS,
    "next(kept.incoming)": THEIRS,
    "asyncio.run(kept.incoming.__anext__())": THEIRS,
    "kept.acknowledge(in_hand[2])": THEIRS,
    "acknowledged.acknowledge(in_hand[3])": THEIRS,
    "kept.close()": None,
    "asyncio.run(kept.aclose())": None,
    f"{DROP.format('kept')}": None,
    # Others.
    "next(merge([session, typed]))": MERGED,
    "merge([session, typed]).close()": None,
    "next(merge([kept]))": MERGED,
    f"{DROP.format('session')}": None,
    # A child continues with its own streams and connections.
    "result = client.get(url + 'plain').text": "plain",
    f"own = client.sse(url + 'own'); own.incoming.get(); {CLOSE_OTHERS}; own.reconnect(); "
    "result = own.incoming.get().data": "own",
    "result = client.sse(url + 'own', block=lambda own: own.incoming.get().data)": "own",
    "with client.sse(url + 'own', cursor=Cursor()) as own: result = next(own.incoming).data": "own",
    "result = repr(session)": "<SSESession 127.0.0.1 CLOSED>",
}


class Origin(SSEServer):
    """Sends an event to all open streams whenever a client asks for that."""

    def __init__(self):
        super().__init__(self.handle)
        self.streams = []
        self.sent = 0

    def handle(self, exchange):
        match exchange.request.path:
            case "/stream":
                self.streams.append(exchange)
                exchange.send("0")
                exchange.stall()
            case "/send":
                self.sent += 1
                for stream in self.streams:
                    stream.send(str(self.sent), id=str(self.sent))
                exchange.respond(200, body=str(self.sent))
            case "/own":
                exchange.send("own")
                exchange.stall()
            case _:
                exchange.respond(200, body="plain")


@pytest.fixture(scope="module", params=["free", "held"])
def locks(request):
    """Whether another thread of the parent holds each lock at the fork."""
    return request.param


@pytest.fixture(scope="module", params=[0, 2])
def waiting(request):
    """The number of events in each channel at the fork."""
    return request.param


@pytest.fixture(scope="module")
def parent(locks, waiting):
    """The end of the parent: its status, the output of it and its children, and its errors."""
    with Origin() as server:
        return ended(begin(PARENT, server.url, json.dumps(list(ACTS)), locks, str(waiting)))


def test_each_child_leaves_the_session_to_its_parent(parent):
    outcomes = dict(zip(ACTS, parent[1].splitlines(), strict=False))
    for act, expected in ACTS.items():
        is_error = isinstance(expected, str) and "Error: " in expected
        assert outcomes.get(act) == (expected if is_error else repr(expected)), act


def test_the_parent_goes_on(parent):
    status, out, err = parent
    assert (status, len(out.splitlines()), err) == (0, len(ACTS), "")


def test_a_child_ends_as_usual(server):
    script = """
        session = client.sse(url)
        assert session.incoming.get().data == "one"
        atexit.register(lambda: print(session.state.name, flush=True))
        child = fork()
        if not child:
            signal.alarm(15)
            sys.exit(7)
        print(status_of(child), flush=True)
        print(session.incoming.get().data, session.state.name, flush=True)
    """
    process = begin(script, server.url)
    exchange = server.accept(PATIENCE)
    exchange.send("one")
    assert [process.stdout.readline() for _ in range(2)] == ["CLOSED\n", "7\n"]
    exchange.send("two")
    assert ended(process) == (0, "two OPEN\nOPEN\n", "")


def test_a_child_leaves_a_stream_that_is_being_opened(server):
    script = """
        opened = []
        in_background(lambda: opened.append(client.sse(url)))
        assert sys.stdin.readline() == "fork\\n"
        child = fork()
        if not child:
            signal.alarm(15)
            with client.sse(url) as own:
                print(own.incoming.get().data, flush=True)
            client.close()
            os._exit(7)
        print(status_of(child), flush=True)
        while not opened:
            time.sleep(0.01)
        print(opened[0].incoming.get().data)
    """
    process = begin(script, server.url)
    exchange = server.accept(PATIENCE)
    process.stdin.write("fork\n")
    process.stdin.flush()
    server.accept(PATIENCE).send("own")
    assert [process.stdout.readline() for _ in range(2)] == ["own\n", "7\n"]
    exchange.send("one")
    assert ended(process) == (0, "one\n", "")


def test_a_grandchild_leaves_the_stream_of_the_child_alone(server):
    script = """
        session = client.sse(url)
        session.incoming.get()
        child = fork()
        if not child:
            signal.alarm(15)
            own = client.sse(url)
            own.incoming.get()
            grandchild = fork()
            if not grandchild:
                for each in session, own:
                    try:
                        each.incoming.get()
                    except SessionClosedError:
                        each.close()
                client.close()
                os._exit(7)
            print(status_of(grandchild), own.state.name, session.state.name, flush=True)
            os._exit(8)
        print(status_of(child), session.state.name)
    """
    server.handler = lambda exchange: (exchange.send("one"), exchange.stall())
    assert ended(begin(script, server.url)) == (0, "7 OPEN CLOSED\n8 OPEN\n", "")


def test_a_child_that_lives_on_does_not_keep_the_position_locked(server, tmp_path):
    script = """
        session = client.sse(url, cursor=FileCursor(sys.argv[2]))
        session.incoming.get()
        while fork():
            signal.pause()
        print(session.state.name, flush=True)
        assert sys.stdin.read() == ""
    """
    server.handler = lambda exchange: (exchange.send("one"), exchange.stall())
    path = tmp_path / "position.json"
    process = begin(script, server.url, path)
    assert process.stdout.readline() == "CLOSED\n"
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    with FileCursor(path) as cursor:
        assert cursor.load() is None
    assert ended(process) == (-signal.SIGKILL, "", "")  # once the child has also ended
