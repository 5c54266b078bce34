"""Every attempt is watched, whichever pool serves it. A manager keeps ten pools, and drops others.

An attempt that is not watched can't be aborted, has no limit on its header, and logs its query.
"""

from __future__ import annotations

import copy
import logging
import pickle
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from support import PATIENCE, Running, reads_end, silent_listener, sse_client_for_tests

from sse_client import ConnectionFailedError, SessionClosedError
from sse_client.clock import SYSTEM_CLOCK
from sse_client.http.abortable_connections import abortable, watched_by
from sse_client.http.aborting import AbortableSocket, ConnectionAborted

HOSTS = 100

#: A header that exceeds the limit, although none of its fields is too long for Python.
TOO_LONG = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X: %b\r\n" % (b"x" * 60_000) for _ in range(5))


@pytest.fixture(autouse=True)
def every_name_leads_here(monkeypatch):
    """Let each name that ends with .test resolve to this machine."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        return resolve("127.0.0.1" if host.endswith(".test") else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def address(server, number=0):
    return server.url.replace("127.0.0.1", f"host-{number}.test") + "?token=SeCrEt"


class AllAtOnce(HTTPAdapter):
    """An adapter that sends once all threads are about to, when their pools were dropped.

    It simulates a user's adapter in a session that many threads share.
    """

    def __init__(self, parties, **options):
        super().__init__(**options)
        self._barrier = threading.Barrier(parties)

    def send(self, *args, **kwargs):
        self._barrier.wait(PATIENCE)
        return super().send(*args, **kwargs)


@contextmanager
def session_with(adapter):
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        yield session


def is_watched(session, url, server, **arguments):
    """Whether an attempt is watched: it then fails because of a header that is too long."""
    server.handler = lambda exchange: exchange.write_raw(TOO_LONG)
    with (
        sse_client_for_tests(session) as client,
        pytest.raises(ConnectionFailedError) as caught,
    ):
        client.sse(url, **arguments)
    return "the header of the response has more than" in str(caught.value)


class TestAHundredThreadsWithAHundredHosts:
    def test_can_all_be_aborted(self, server):
        with session_with(AllAtOnce(HOSTS)) as session, sse_client_for_tests(session) as client:
            attempts = [
                Running(lambda number=number: client.sse(address(server, number)))
                for number in range(HOSTS)
            ]
            # The server has read each request, and does not respond.
            exchanges = [server.accept(PATIENCE) for _ in attempts]
            client.close()
            assert all(exchange.wait_closed(PATIENCE) for exchange in exchanges)
            outcomes = [attempt.outcome() for attempt in attempts]
        assert {type(outcome) for outcome in outcomes} == {SessionClosedError}

    def test_have_a_limit_on_each_header_and_log_no_query(self, server, caplog):
        caplog.set_level(logging.DEBUG)
        server.handler = lambda exchange: exchange.write_raw(TOO_LONG)
        with (
            session_with(AllAtOnce(HOSTS)) as session,
            sse_client_for_tests(session) as client,
            ThreadPoolExecutor(HOSTS) as threads,
        ):
            attempts = [
                threads.submit(client.sse, address(server, number)) for number in range(HOSTS)
            ]
            outcomes = [str(attempt.exception()) for attempt in attempts]
        limited = [text for text in outcomes if "the header of the response has more than" in text]
        assert len(limited) == HOSTS
        assert len(server.requests) == HOSTS
        assert all(request.target == "/?token=SeCrEt" for request in server.requests)
        assert "SeCrEt" not in caplog.text


class TestPoolsThatWereThereBefore:
    def test_are_replaced(self, server):
        with session_with(HTTPAdapter()) as session:
            server.respond(200)
            session.get(address(server))
            assert is_watched(session, address(server), server)

    def test_leave_their_requests_in_work_alone(self, server):
        with session_with(HTTPAdapter()) as session:
            opening = Running(lambda: session.get(address(server), stream=True))
            exchange = server.accept()
            exchange.open()
            response = opening.outcome()
            assert is_watched(session, address(server), server)
            exchange.send("one")
            exchange.end()
            assert response.content == b"data: one\n\n"

    def test_are_replaced_by_pools_that_plain_requests_share(self, server):
        with session_with(HTTPAdapter()) as session:
            assert is_watched(session, address(server), server)
            server.handler = lambda exchange: exchange.respond(200, body=b"plain")
            for _ in range(2):
                assert session.get(address(server)).text == "plain"
        assert len({request.client_port for request in server.requests[1:]}) == 1

    def test_are_replaced_once(self, server):
        with session_with(HTTPAdapter()) as session:
            manager = session.get_adapter("http://").poolmanager
            assert is_watched(session, address(server), server)
            pool = manager.connection_from_url(address(server))
            assert is_watched(session, address(server), server)
            assert manager.connection_from_url(address(server)) is pool


class TestProxies:
    URL = "http://name.invalid/?token=SeCrEt"

    def test_that_are_known_before(self, server):
        proxies = {"http": server.url}
        with session_with(HTTPAdapter()) as session:
            server.respond(200)
            session.get(self.URL, proxies=proxies)
            assert is_watched(session, self.URL, server, proxies=proxies)

    def test_whose_manager_is_made_late(self, server):
        class Late(HTTPAdapter):
            """An adapter that chooses the proxy when it sends."""

            def send(self, request, **options):
                assert self.proxy_manager == {}
                return super().send(request, **{**options, "proxies": {"http": server.url}})

        with session_with(Late()) as session:
            assert is_watched(session, self.URL, server)

    def test_whose_manager_another_thread_replaces(self, server):
        class Replacing(HTTPAdapter):
            """What happens if two threads create the manager of a proxy at the same time."""

            def send(self, request, **options):
                (proxy,) = self.proxy_manager
                before = self.proxy_manager.pop(proxy)
                assert self.proxy_manager_for(proxy) is not before
                return super().send(request, **options)

        with session_with(Replacing()) as session:
            assert is_watched(session, self.URL, server, proxies={"http": server.url})

    def test_with_pool_classes_of_their_own(self, server):
        # Like the pools for SOCKS, which need another package.
        class Connection(urllib3.connection.HTTPConnection):
            def _new_conn(self):
                sock = socket.create_connection(("127.0.0.1", server.port), self.timeout)
                made.append(sock)
                return sock

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        class Adapter(HTTPAdapter):
            def proxy_manager_for(self, proxy, **options):
                if proxy not in self.proxy_manager:
                    self.proxy_manager[proxy] = urllib3.PoolManager()
                    self.proxy_manager[proxy].pool_classes_by_scheme = {"http": Pool}
                return self.proxy_manager[proxy]

        made = []
        with session_with(Adapter()) as session:
            assert is_watched(session, self.URL, server, proxies={"http": "socks5h://proxy.test"})
        assert len(made) == 1


class TestWhatOthersSee:
    def test_is_not_changed_in_urllib3_and_in_other_sessions(self, server):
        shared = dict(urllib3.poolmanager.pool_classes_by_scheme)
        with requests.Session() as other, session_with(HTTPAdapter()) as session:
            assert is_watched(session, address(server), server)
            manager = other.get_adapter("http://").poolmanager
            assert type(manager.connection_from_url(server.url)) is urllib3.HTTPConnectionPool
        assert urllib3.poolmanager.pool_classes_by_scheme == shared
        assert urllib3.HTTPConnectionPool.ConnectionCls is urllib3.connection.HTTPConnection

    @pytest.mark.parametrize(
        "copied", [copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))]
    )
    def test_in_a_copy_of_a_session_is_watched_when_that_opens_a_stream(self, server, copied):
        with session_with(HTTPAdapter()) as session:
            assert is_watched(session, address(server), server)
            with copied(session) as other:
                assert is_watched(other, address(server), server)

    def test_is_the_name_of_the_usual_class(self, server):
        with session_with(HTTPAdapter()) as session:
            assert is_watched(session, address(server), server)
            pool = session.get_adapter("http://").poolmanager.connection_from_url(server.url)
        assert str(pool).startswith("HTTPConnectionPool(")
        assert pool.ConnectionCls.__name__ == "HTTPConnection"

    def test_is_what_the_options_of_a_pool_say(self, tls, tls_server):
        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args, **options):
                super().init_poolmanager(*args, assert_hostname="localhost", **options)

        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", Adapter())
            url = tls_server.url.replace("127.0.0.1", "other.test")
            assert is_watched(session, url, tls_server, verify=tls.ca_bundle)


class TestConnectionsThatConnectByThemselves:
    """Like those through a SOCKS proxy, which can be aborted once they are connected."""

    @staticmethod
    def pool_class(port):
        class Connection(urllib3.connection.HTTPSConnection):
            def _new_conn(self):
                self.made = socket.create_connection(("127.0.0.1", port), self.timeout)
                return self.made

        class Pool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Connection

        return Pool

    def test_can_be_aborted_in_the_handshake(self):
        with silent_listener() as (port, accept), session_with(HTTPAdapter()) as session:
            session.mount("https://", HTTPAdapter())
            manager = session.get_adapter("https://").poolmanager
            manager.pool_classes_by_scheme = {"https": self.pool_class(port)}
            with sse_client_for_tests(session) as client:
                opening = Running(lambda: client.sse("https://name.invalid/"))
                peer = accept()
                assert peer.recv(1)
                client.close()
                assert reads_end(peer)
            assert isinstance(opening.outcome(), SessionClosedError)

    def test_are_closed_if_they_were_aborted_meanwhile(self):
        watcher = AbortableSocket(print, SYSTEM_CLOCK)
        with silent_listener() as (port, _):
            connection = abortable(self.pool_class(port).ConnectionCls)("name.invalid")
            watcher.abort()
            with watched_by(watcher), pytest.raises(ConnectionAborted):
                connection.connect()
        assert connection.made.fileno() == -1


class TestPoolsThatAUserMakes:
    """Pools of an adapter or manager that does not use the classes of its pools."""

    class Manager(urllib3.PoolManager):
        def _new_pool(self, scheme, host, port, request_context=None):
            return urllib3.HTTPConnectionPool(host, port)

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args, **options):
            self.poolmanager = TestPoolsThatAUserMakes.Manager()

    def test_make_connections_that_are_watched(self, server):
        with session_with(self.Adapter()) as session:
            assert is_watched(session, address(server), server)

    def test_fail_the_connection_if_they_are_closed(self, server):
        class Adapter(HTTPAdapter):
            def get_connection_with_tls_context(self, *args, **options):
                pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port)
                pool.close()
                return pool

        with (
            session_with(Adapter()) as session,
            sse_client_for_tests(session) as client,
            pytest.raises(ConnectionFailedError, match=r"[Cc]losed"),
        ):
            client.sse(server.url)

    def test_have_their_idle_connections_closed_as_nothing_could_abort_them(self, server):
        class Adapter(HTTPAdapter):
            pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port)

            def get_connection_with_tls_context(self, *args, **options):
                return self.pool

        with session_with(Adapter()) as session:
            server.respond(200)
            session.get(address(server))
            for _ in range(2):  # watched pools stay watched
                assert is_watched(session, address(server), server)
        assert len({request.client_port for request in server.requests}) == 3
        Adapter.pool.close()
