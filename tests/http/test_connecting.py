"""Connecting: each address of a name is tried, and an abort ends it on any system."""

from __future__ import annotations

import errno
import select
import socket
import threading

import pytest
from support import PATIENCE, Running, deaf_listener, sse_client_for_tests

from sse_client import ConnectionFailedError, SessionClosedError
from sse_client.http import connecting
from sse_client.http.aborting import ConnectionAborted

#: No system supports sockets of this family.
NO_FAMILY = 255


@pytest.fixture
def resolve_to(monkeypatch):
    """Let each name resolve to addresses of these families, in this order."""

    def set_families(*families):
        def getaddrinfo(host, port, *_):
            return [(each, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for each in families]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return set_families


def test_an_address_of_a_family_that_the_system_lacks_is_skipped(server, resolve_to):
    resolve_to(NO_FAMILY, socket.AF_INET)
    server.serve(["one"], then="stall")
    with sse_client_for_tests() as client, client.sse(server.url) as session:
        assert session.incoming.get().data == "one"


def test_the_last_failure_is_reported_if_no_address_can_be_used(resolve_to):
    resolve_to(NO_FAMILY)
    with (
        sse_client_for_tests() as client,
        pytest.raises(ConnectionFailedError, match="Address family not supported"),
    ):
        client.sse("http://127.0.0.1:1/")


class QuickSocket(socket.socket):
    """A socket that has connected, or failed to, when ``connect_ex`` returns."""

    def connect_ex(self, address):
        self.settimeout(None)
        return super().connect_ex(address)


@pytest.mark.parametrize("waits_with", ["poll", "select"])
class TestWhereNoShutdownWakes:
    """For macOS and Windows, which refuse to shut down a socket that is not connected."""

    @pytest.fixture(autouse=True)
    def system(self, monkeypatch, waits_with):
        shutdown = socket.socket.shutdown

        def refusing(sock, how):
            sock.getpeername()  # raises ENOTCONN, and wakes no thread
            shutdown(sock, how)

        monkeypatch.setattr(socket.socket, "shutdown", refusing)
        monkeypatch.setattr(connecting, "_SHUTDOWN_WAKES", False)
        if waits_with == "select":
            monkeypatch.delattr(select, "poll", raising=False)

    @pytest.fixture
    def unused_port(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            yield bound.getsockname()[1]

    @pytest.mark.parametrize("kind", [socket.socket, QuickSocket])
    def test_connects(self, server, kind):
        with kind() as sock:
            connecting.connect(sock, ("127.0.0.1", server.port), lambda: None)
            assert sock.getpeername() == ("127.0.0.1", server.port)

    @pytest.mark.parametrize("kind", [socket.socket, QuickSocket])
    def test_reports_why_it_failed(self, unused_port, kind):
        with kind() as sock, pytest.raises(ConnectionRefusedError, match="refused"):
            connecting.connect(sock, ("127.0.0.1", unused_port), lambda: None)

    def test_reports_it_in_the_words_of_the_system(self, monkeypatch, unused_port):
        texts = {errno.ECONNREFUSED: "The target machine refused it."}
        monkeypatch.setattr(socket, "errorTab", texts, raising=False)
        with socket.socket() as sock, pytest.raises(ConnectionRefusedError, match="target machine"):
            connecting.connect(sock, ("127.0.0.1", unused_port), lambda: None)

    def test_looks_more_than_once(self, monkeypatch):
        def raise_if_aborted():
            looks.append(None)
            if len(looks) == 3:
                raise ConnectionAborted

        looks = []
        monkeypatch.setattr(connecting, "_LOOK_AGAIN", 0.0)
        with deaf_listener() as port, socket.socket() as sock, pytest.raises(ConnectionAborted):
            connecting.connect(sock, ("127.0.0.1", port), raise_if_aborted)

    def test_ends_with_its_time(self):
        with (
            deaf_listener() as port,
            sse_client_for_tests() as client,
            pytest.raises(ConnectionFailedError, match="timed out"),
        ):
            client.sse(f"http://127.0.0.1:{port}/", timeout=(0.01, None))

    @pytest.mark.parametrize("timeout", [60, None])
    def test_ends_with_an_abort(self, monkeypatch, timeout):
        began = threading.Event()

        def begin(connect):
            return lambda *args: (began.set(), connect(*args))[1]

        for name in ("connect", "connect_ex"):
            monkeypatch.setattr(socket.socket, name, begin(getattr(socket.socket, name)))
        with deaf_listener() as port, sse_client_for_tests() as client:
            began.clear()
            opening = Running(lambda: client.sse(f"http://127.0.0.1:{port}/", timeout=timeout))
            assert began.wait(PATIENCE)
            (reader,) = (each for each in threading.enumerate() if "sse-client:" in each.name)
            client.close()
            assert isinstance(opening.outcome(), SessionClosedError)
            reader.join(PATIENCE)
            assert not reader.is_alive()
