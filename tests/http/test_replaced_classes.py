"""Stand-ins for the classes with which gevent and eventlet replace the standard ones."""

from __future__ import annotations

import queue
import socket
import ssl
import threading

import pytest
import requests
import urllib3
from support import sse_client_for_tests

from sse_client.clock import SYSTEM_CLOCK
from sse_client.http.abortable_connections import (
    abortable,
    begin_hop,
    current_watcher,
    tls_socket_class,
    watched_by,
    with_query,
)
from sse_client.http.aborting import AbortableSocket
from sse_client.http.pools import close_idle_connections
from sse_client.process import disown_all


class OtherQueue:
    """A queue with only the documented methods."""

    def __init__(self, maxsize):
        self._queue = queue.LifoQueue(maxsize)
        self.qsize = self._queue.qsize

    def get(self, block=True, timeout=None):
        return self._queue.get(block, timeout)

    def put(self, item, block=True, timeout=None):
        self._queue.put(item, block, timeout)


class Pool(urllib3.HTTPConnectionPool):
    QueueCls = OtherQueue


class TestIdleConnections:
    @staticmethod
    def connections(count):
        kinds = abortable(urllib3.connection.HTTPConnection), urllib3.connection.HTTPConnection
        return [[kind("127.0.0.1", 9) for _ in range(count)] for kind in kinds]

    @staticmethod
    def all_of(pool):
        found = []
        while pool.pool.qsize():
            found.append(pool.pool.get(block=False))
        return found

    def test_that_can_be_aborted_stay_in_their_order(self):
        (first, second), (other, _) = self.connections(2)
        closed = []
        other.close = lambda: closed.append(other)
        with Pool("127.0.0.1", 9, maxsize=5) as pool:
            for _ in range(4):
                pool.pool.get()
            for each in (first, other, None, second):
                pool.pool.put(each)
            close_idle_connections(pool)
            assert self.all_of(pool) == [second, first]
        assert closed == [other]

    def test_leave_their_places_in_a_pool_that_blocks(self):
        (ours, _), (other, _) = self.connections(2)
        with Pool("127.0.0.1", 9, maxsize=3, block=True) as pool:
            for _ in range(2):
                pool.pool.get()
            for each in (other, ours):
                pool.pool.put(each)
            close_idle_connections(pool)
            assert self.all_of(pool) == [ours, None, None]

    def test_are_closed_if_others_have_taken_their_places(self):
        class Full(OtherQueue):
            def put(self, item, block=True, timeout=None):
                if item is not None:
                    raise queue.Full

        (ours, _), _ = self.connections(2)
        closed = []
        ours.close = lambda: closed.append(ours)
        with Pool("127.0.0.1", 9, maxsize=1) as pool:
            pool.pool = Full(1)
            pool.pool._queue.put(ours)
            close_idle_connections(pool)
        assert closed == [ours]

    def test_are_none_of_a_pool_that_is_closed(self):
        with Pool("127.0.0.1", 9) as pool:
            pool.close()
            close_idle_connections(pool)


def test_a_queue_without_a_lock_is_left_alone_in_a_forked_child(server):
    server.handler = lambda exchange: exchange.respond(200)
    with requests.Session() as own, sse_client_for_tests(own) as client:
        own.get_adapter(server.url).poolmanager.pool_classes_by_scheme = {"http": Pool}
        assert client.get(server.url).ok
        disown_all()
        assert client.get(server.url).ok
    assert len({request.client_port for request in server.requests}) == 1


class TestGreenlets:
    """Each greenlet of a thread has its own ID, which ``threading.get_ident`` returns."""

    @pytest.fixture
    def be(self, monkeypatch):
        def be(ident):
            monkeypatch.setattr(threading, "get_ident", lambda: ident)

        return be

    def test_open_each_its_own_stream(self, be):
        first, second = object(), object()
        be(1)
        with watched_by(first):
            begin_hop()
            be(2)
            assert current_watcher() is None
            with watched_by(second), with_query("?x"):
                assert current_watcher() is second
                be(1)
                assert current_watcher() is first
                be(2)
            assert current_watcher() is None
            be(1)
            assert current_watcher() is first
        assert current_watcher() is None


class TestSockets:
    def test_of_tls_are_shut_down_below_it(self):
        told = []

        class Socket:
            def shutdown(self, how):
                told.append(("below", how))

        class TlsSocket(Socket):
            def do_handshake(self):
                """Exists because a TLS socket has this method."""

            def shutdown(self, how):
                told.append(("TLS", how))

        class GreenTlsSocket(TlsSocket):
            def shutdown(self, how):
                told.append(("green", how))

        for kind in (Socket, TlsSocket, GreenTlsSocket):
            attempt = AbortableSocket(print, SYSTEM_CLOCK)
            attempt.adopt(kind())
            attempt.abort()
        assert told == [("below", socket.SHUT_RDWR)] * 3

    def test_of_tls_that_nobody_makes_in_steps_keep_their_class(self):
        class Socket:
            """Like gevent's socket, which closes itself if it cannot be created."""

        assert tls_socket_class(Socket) is Socket
        assert issubclass(tls_socket_class(ssl.SSLSocket), ssl.SSLSocket)
        assert tls_socket_class(ssl.SSLSocket) is tls_socket_class(ssl.SSLSocket)


def test_whether_streams_can_share_a_thread_is_asked_for_each(server, monkeypatch):
    monkeypatch.setattr("sse_client.client.can_share", lambda: False)
    server.serve(then="stall")
    with sse_client_for_tests() as client, client.sse(server.url):
        names = {thread.name for thread in threading.enumerate()}
    assert "sse-client:127.0.0.1" in names
    assert "sse-client:reader" not in names
