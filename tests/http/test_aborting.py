"""Shutting sockets down: which ones, when, and never those of another process."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path

import pytest

from sse_client.clock import SYSTEM_CLOCK
from sse_client.http import aborting
from sse_client.http.aborting import AbortableSocket, ConnectionAborted, shut_down
from sse_client.http.response_head import Arrivals


@pytest.fixture
def pair():
    """A connected socket, and the server's end, which is non-blocking."""
    ours, server = socket.socketpair()
    server.setblocking(False)
    with ours, server:
        yield ours, server


def has_ended(server):
    try:
        return server.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def in_a_child(monkeypatch):
    """Make this process look like a child that was forked from the one that created the sockets."""

    def pretend():
        monkeypatch.setattr(os, "getpid", lambda: 0)

    return pretend


class TestShutDown:
    def test_ends_a_connection(self, pair):
        ours, server = pair
        shut_down(ours, os.getpid())
        assert has_ended(server)

    def test_leaves_the_connection_of_a_parent_alone(self, pair):
        ours, server = pair
        shut_down(ours, os.getpid() + 1)
        assert not has_ended(server)

    def test_reaches_the_socket_below_two_layers_of_tls(self, pair):
        class Transport:
            socket, server = pair

        shut_down(Transport(), os.getpid())
        assert has_ended(Transport.server)

    def test_leaves_alone_what_has_no_such_method(self):
        shut_down(None, os.getpid())
        shut_down(object(), os.getpid())


class TestAbortableSocket:
    def test_ends_the_attempt_at_one_address_before_the_next(self, pair):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.watch(ours)
        assert not has_ended(server)
        with socket.socket() as following:
            attempt.watch(following)
            assert has_ended(server)
            attempt.release()

    def test_shuts_a_socket_down_once_but_again_if_it_was_not_connected(self, monkeypatch):
        calls, results = [], [False, True]

        def shut_down(sock, process_id):
            calls.append(sock)
            return results[len(calls) - 1]

        monkeypatch.setattr(aborting, "shut_down", shut_down)
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.reads_response_from(sock := object())
        for _ in range(3):
            attempt.abort()
        assert calls == [sock, sock]

    def test_leaves_alone_what_may_serve_others(self, pair):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.reads_response_from(ours)
        attempt.forget()
        attempt.abort()
        attempt.release()
        assert not has_ended(server)

    @pytest.mark.parametrize("act", [AbortableSocket.abort, AbortableSocket.release])
    def test_ends_nothing_in_a_child(self, pair, act, in_a_child):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.watch(ours)
        in_a_child()
        act(attempt)
        assert not has_ended(server)
        attempt.release()


class TestTheFileOfAResponse:
    @pytest.mark.parametrize("is_last", [True, False])
    def test_ends_the_connection_if_that_serves_nothing_else(self, pair, is_last):
        ours, server = pair
        arrivals = Arrivals(ours.makefile("rb", 0), ours, SYSTEM_CLOCK)
        arrivals.is_last = is_last
        arrivals.close()
        assert has_ended(server) == is_last

    def test_ends_nothing_in_a_child_that_collects_it(self, pair, in_a_child):
        ours, server = pair
        arrivals = Arrivals(ours.makefile("rb", 0), ours, SYSTEM_CLOCK)
        arrivals.is_last = True
        in_a_child()
        del arrivals
        assert not has_ended(server)


class TestInAChild:
    """A forked child closes its copies. Here they are the only ones, so the effect is visible."""

    @pytest.fixture(autouse=True)
    def needs_names_of_sockets(self):
        with socket.socket() as sock:
            if not os.fstat(sock.fileno()).st_ino:
                pytest.skip("this system does not name sockets")

    @pytest.mark.parametrize("phase", ["waiting", "reading", "of another transport"])
    def test_the_socket_is_closed(self, pair, phase):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        if phase != "of another transport":
            attempt.watch(ours)
            attempt.reads_response_from(ours)
        if phase != "waiting":
            attempt.adopt(ours)
        attempt.disown()
        assert has_ended(server)
        assert ours.fileno() == -1
        with pytest.raises(ConnectionAborted):
            attempt.raise_if_aborted()

    @pytest.mark.parametrize("phase", ["connecting", "with TLS"])
    def test_a_descriptor_of_which_others_know_becomes_the_null_device(self, pair, phase):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.watch(ours)
        if phase == "with TLS":
            context = ssl.create_default_context()
            ours = context.wrap_socket(
                ours, do_handshake_on_connect=False, server_hostname="name.invalid"
            )
            attempt.adopt(ours)
        before = ours.fileno()
        attempt.disown()
        assert has_ended(server)
        assert ours.fileno() == before
        assert os.path.samestat(os.fstat(before), Path(os.devnull).stat())
        assert not os.get_inheritable(before)
        ours.close()

    def test_a_descriptor_that_is_another_file_by_now_stays(self, pair, tmp_path):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.reads_response_from(ours)
        attempt.adopt(ours)
        with (tmp_path / "file").open("wb", buffering=0) as file:
            os.dup2(file.fileno(), ours.fileno())
            attempt.disown()
            os.write(ours.fileno(), b"here")
        assert (tmp_path / "file").read_bytes() == b"here"
        assert has_ended(server)

    def test_a_descriptor_that_was_closed_is_nothing(self, pair):
        ours, _ = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.adopt(ours)
        ours.close()
        attempt.disown()

    def test_an_attempt_without_a_socket_has_nothing_to_close(self):
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.disown()
        attempt.adopt(None)

    def test_too_many_open_files_are_no_reason_to_fail(self, pair, monkeypatch):
        ours, server = pair
        attempt = AbortableSocket(print, SYSTEM_CLOCK)
        attempt.watch(ours)

        def fail(*_):
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(os, "open", fail)
        attempt.disown()
        assert not has_ended(server)


def test_a_closed_socket_of_gevent_needs_no_shutdown():
    class Closed:
        was_shut_down = False

        def __getattr__(self, name):
            raise OSError(errno.EBADF, "Bad file descriptor")

        def shutdown(self, how):
            self.was_shut_down = True
            raise OSError(errno.EBADF, "Bad file descriptor")

    closed = Closed()
    shut_down(closed, os.getpid())
    assert closed.was_shut_down
