"""The package on macOS and Windows, which Linux imitates here by hiding its own features."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux imitates other systems"),
    pytest.mark.parametrize("platform", ["darwin", "win32"]),
]


@pytest.fixture(scope="module")
def actor() -> Iterator[subprocess.Popen[str]]:
    """The process whose children imitate other systems."""
    path = os.pathsep.join((str(TESTS.parent), str(TESTS)))
    with subprocess.Popen(
        [sys.executable, TESTS / "platforms.py"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder in which the code is run."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def run(actor, platform, folder) -> Callable[[str], str]:
    """A function that runs code as on the platform, and returns what it printed."""

    def run(code: str) -> str:
        task = platform, textwrap.dedent(code), str(folder), 2 * int(PATIENCE)
        actor.stdin.write(json.dumps(task) + "\n")
        actor.stdin.flush()
        status = actor.stdout.readline()
        errors = (folder.parent / "stderr").read_text("utf-8")
        assert status == "0\n", errors
        assert errors == ""
        return (folder.parent / "stdout").read_text("utf-8")

    return run


def test_each_module_can_be_imported(platform, run):
    code = """
        import importlib, pkgutil, sys
        import sse_client

        for module in pkgutil.walk_packages(sse_client.__path__, "sse_client."):
            importlib.import_module(module.name)
        import pytest_sse_client
        print(sys.platform)
    """
    assert run(code) == f"{platform}\n"


def test_a_stream_is_followed_over_a_break_and_closed(run):
    code = """
        from sse_client import HttpClient, SSE, ServerSentEvent
        from sse_client.testing import InMemoryServer, SSEServer

        def script(server):
            server.serve([ServerSentEvent("one", id="1")], then="drop")
            server.serve([ServerSentEvent("two", id="2")], then="stall")

        with SSEServer() as server, HttpClient().install(SSE, reconnection_time=0.01) as client:
            script(server)
            with client.sse(server.url) as session:
                print(next(session.incoming).data, next(session.incoming).data)
            print(server.requests[1].headers["Last-Event-ID"])
        with InMemoryServer() as server:
            script(server)
            with (
                HttpClient(server.session).install(SSE, reconnection_time=0.01) as client,
                client.sse(server.url) as session,
            ):
                print(next(session.incoming).data, next(session.incoming).data)
    """
    assert run(code) == "one two\n1\none two\n"


def test_a_stream_that_is_connecting_is_closed(run):
    code = """
        import socket, threading
        from sse_client import SessionClosedError
        from support import PATIENCE, Running, deaf_listener, sse_client_for_tests

        began = threading.Event()
        connect_ex = socket.socket.connect_ex

        def begin(*args):
            began.set()
            return connect_ex(*args)

        with deaf_listener() as port, sse_client_for_tests() as client:
            socket.socket.connect_ex = begin
            opening = Running(lambda: client.sse(f"http://127.0.0.1:{port}/", timeout=60))
            assert began.wait(PATIENCE)
            (reader,) = (each for each in threading.enumerate() if "sse-client:" in each.name)
            client.close()
            assert isinstance(opening.outcome(), SessionClosedError)
            reader.join(PATIENCE)
            print(reader.is_alive())
    """
    assert run(code) == "False\n"


def test_quiet_streams_share_a_thread_where_a_selector_takes_many(platform, run):
    code = """
        import threading
        from sse_client import HttpClient, SSE
        from sse_client.session.shared_reader import can_share
        from sse_client.testing import SSEServer
        from support import await_channel

        with SSEServer() as server, HttpClient().install(SSE, capacity=2) as client:
            for _ in range(3):
                server.serve([str(number) for number in range(8)], then="stall")
            sessions = [client.sse(server.url) for _ in range(3)]
            for session in sessions:
                await_channel(session.incoming, session.incoming.full)  # back-pressure
            for session in sessions:
                print(*(session.incoming.get().data for _ in range(8)))
            print(can_share(), client._shared._count)
            threads = [each.name for each in threading.enumerate() if "sse-client:" in each.name]
            sessions[0].close()
            print(sessions[0].state.name, "sse-client:reader" in threads)
        print([each.name for each in threading.enumerate() if "sse-client:" in each.name])
    """
    events = "0 1 2 3 4 5 6 7\n" * 3
    shared = {"darwin": "True 3\nCLOSED True\n", "win32": "False 0\nCLOSED False\n"}
    assert run(code) == f"{events}{shared[platform]}[]\n"


def test_limits_of_time_end_a_stream(run):
    code = """
        from sse_client import HttpClient, IdleTimeoutError, SSE
        from sse_client.testing import SSEServer

        with SSEServer() as server, HttpClient().install(SSE, reconnect="never") as client:
            for options in {"event_timeout": 0.5}, {"timeout": (20, 0.5)}:
                server.serve(["one"], then="stall")
                with client.sse(server.url, **options) as session:
                    print(session.incoming.get().data)
                    try:
                        session.incoming.get()
                    except IdleTimeoutError as error:
                        print(error.waited_for)
    """
    assert run(code) == "one\nevent\none\nbytes\n"


def test_a_forked_child_closes_no_descriptor_of_another_file(platform, folder, run):
    if platform == "win32":
        pytest.skip("Windows has no fork")
    code = """
        import ctypes, os, signal, warnings
        from sse_client import HttpClient, SSE
        from sse_client.testing import SSEServer

        warnings.simplefilter("ignore", DeprecationWarning)

        def handle(exchange):
            exchange.send("one")
            exchange.stall()

        with (
            SSEServer(handle) as server,
            HttpClient().install(SSE) as client,
            client.sse(server.url) as session,
        ):
            session.incoming.get()
            number = client._shared._poller._selector._descriptor
            child = os.fork()
            if not child:
                signal.alarm(20)
                opened = [os.open("file", os.O_CREAT | os.O_WRONLY) for _ in range(number)]
                own = client.sse(server.url)
                print(number in opened, session.state.name, own.incoming.get().data, flush=True)
                os.write(number, b"written")
                os._exit(0)
            print(os.waitpid(child, 0)[1], session.state.name)
    """
    assert run(code) == "True CLOSED one\n0 OPEN\n"
    assert (folder / "file").read_text() == "written"


def test_sockets_get_the_options_of_the_system(platform, run):
    code = """
        import socket
        from sse_client.http.own_session import _keep_alive_options
        from sse_client.testing import connection, listener

        print(45 in [value for _, _, value in _keep_alive_options()])
        print(len(connection._LINGER))
        print(listener._REUSE == socket.SO_REUSEADDR)
    """
    expected = {"darwin": "True\n8\nTrue\n", "win32": "False\n4\nFalse\n"}
    assert run(code) == expected[platform]


def test_positions_are_kept_under_a_lock(folder, run):
    code = """
        import os
        from sse_client import CursorError, FileCursor, SQLiteCursor

        for new in (lambda: FileCursor("file"), lambda: SQLiteCursor("database", "stream")):
            with new() as cursor:
                cursor.save("1")
                cursor.save("2")
                try:
                    new().load()
                except CursorError as error:
                    print(error)
            with new() as cursor:
                print(cursor.load())
        print(sorted(os.listdir()))
    """
    held = "is in use by another cursor of this process"
    assert run(code) == (
        f"{folder / 'file'} {held}\n2\n{folder / 'database'} {held}\n2\n['database', 'file']\n"
    )


def test_the_command_follows_records_and_serves(run):
    code = """
        import contextlib, io, os, threading
        import requests
        from sse_client import ServerSentEvent, cli
        from sse_client.testing import SSEServer

        with SSEServer() as server:
            for _ in range(2):
                server.serve([ServerSentEvent("one", id="1", retry=1)], then="end")
                server.respond(204)
            print(cli.main([server.url, "--state", "state.json"]))
            print(cli.main(["record", server.url, "recording"]))

        class Output(io.StringIO):
            "Tells when the address is printed."

            def flush(self):
                printed.set()

        def follow():
            assert printed.wait(20)
            served.append(requests.get(output.getvalue().strip(), timeout=20).text)

        printed, output, served = threading.Event(), Output(), []
        follower = threading.Thread(target=follow)
        follower.start()
        with contextlib.redirect_stdout(output):
            status = cli.main(["serve", "--replay", "recording", "--once"])
        follower.join()
        print(status, "data: one" in served[0], sorted(os.listdir()))
    """
    assert run(code) == ("one\n0\n0\n0 True ['recording', 'state.json']\n")
