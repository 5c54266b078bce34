"""What urllib3 would do besides opening a stream: warn repeatedly, retry, and log secrets."""

from __future__ import annotations

import logging
import ssl
import warnings

import pytest
import requests
from requests.adapters import HTTPAdapter
from support import PATIENCE, deaf_listener, silent_listener, sse_client_for_tests
from urllib3.exceptions import InsecureRequestWarning
from urllib3.util import Retry

from sse_client import ConnectionFailedError
from sse_client.http.abortable_connections import watched_by

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class TestLogs:
    """The log of urllib3: everything at DEBUG, and at WARNING records that no application hides."""

    SECRET = "?token=SeCrEt"

    @pytest.fixture(autouse=True)
    def no_secret_is_logged(self, caplog):
        caplog.set_level(logging.DEBUG)
        yield
        records = caplog.get_records("call")
        assert records, "urllib3 has nothing to tell?"
        for record in records:
            assert "SeCrEt" not in caplog.handler.format(record)
            assert record.levelno < logging.WARNING

    def test_do_not_tell_the_query_of_a_stream(self, server):
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client, client.sse(server.url + self.SECRET) as session:
            assert session.incoming.get().data == "one"
            assert session.response.raw.geturl() == "/" + self.SECRET
        assert server.requests[0].target == "/" + self.SECRET

    def test_do_not_tell_it_where_a_redirect_leads(self, server):
        server.redirect("/there" + self.SECRET)
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client, client.sse(server.url + self.SECRET):
            pass
        targets = [request.target for request in server.requests]
        assert targets == ["/" + self.SECRET, "/there" + self.SECRET]

    def test_do_not_tell_it_to_a_proxy_that_forwards(self, server):
        server.serve(["one"], then="stall")
        with sse_client_for_tests() as client:
            client.sse("http://name.invalid/" + self.SECRET, proxies={"http": server.url}).close()
        assert server.requests[0].target == "http://name.invalid/" + self.SECRET

    @pytest.mark.parametrize("line", [b"nonsense\r\n", b"SeCrEt\r\n", b": x\r\n", b" x\r\n"])
    def test_do_not_tell_it_of_a_malformed_header(self, server, line):
        head = HEAD.replace(b"\r\n", b"\r\n" + line, 1)
        server.handler = lambda exchange: (exchange.write_raw(head + b"\r\n"), exchange.stall())
        with sse_client_for_tests() as client:
            client.sse(server.url + self.SECRET).close()

    def test_do_not_tell_it_of_an_adapter_that_retries(self, server):
        # It does not retry either, because it would wait where nothing can abort it.
        retries = Retry(3, status_forcelist=[503], backoff_factor=60)
        server.respond(503, {"Retry-After": "3600"})
        with (
            deaf_listener() as port,
            requests.Session() as own,
            sse_client_for_tests(own) as client,
        ):
            own.mount("http://", HTTPAdapter(max_retries=retries))
            for address in (server.url, f"http://127.0.0.1:{port}/"):
                with pytest.raises(Exception, match=r"responded with 503|cannot connect"):
                    client.sse(address + self.SECRET, timeout=0.1)
        assert len(server.requests) == 1

    def test_leave_a_plain_request_as_it_is(self, server):
        server.serve(then="stall")
        server.respond(503)
        server.respond(200, body=b"fine")
        retries = Retry(1, status_forcelist=[503])
        with requests.Session() as own, sse_client_for_tests(own) as client:
            own.mount("http://", HTTPAdapter(max_retries=retries))
            client.sse(server.url).close()
            assert client.get(server.url_for("/plain?a=b")).text == "fine"
        assert server.requests[1].target == "/plain?a=b"

    def test_are_not_bent_for_a_connection_of_another_class(self, server):
        # A connection that returned to the pool after the pool was searched.
        class Watcher:
            header_timeout = PATIENCE

        server.serve(then="stall")
        server.respond(200, body=b"fine")
        with sse_client_for_tests() as client:
            adapter = client._session.get_adapter(server.url)
            pool = adapter.poolmanager.connection_from_url(server.url)
            plain = pool._new_conn()
            client.sse(server.url).close()
            with watched_by(Watcher()):
                response = pool._make_request(plain, "GET", "/plain?a=b", preload_content=False)
            assert response.read() == b"fine"
            plain.close()
        assert server.requests[1].target == "/plain?a=b"


class TestUnverified:
    def test_connections_warn_once_for_each_client(self, tls_server):
        for _ in range(2):
            for _ in range(3):
                tls_server.serve(["one"])
            tls_server.respond(204)
            with warnings.catch_warnings(record=True) as caught, sse_client_for_tests() as client:
                warnings.simplefilter("always")
                assert len(list(client.sse(tls_server.url, verify=False).incoming)) == 3
            assert [type(each.message) for each in caught] == [InsecureRequestWarning]
            assert "127.0.0.1" in str(caught[0].message)

    def test_connections_of_a_plain_request_warn_as_ever(self, tls_server):
        tls_server.serve(then="stall")
        tls_server.respond(200)
        with sse_client_for_tests() as client:
            with pytest.warns(InsecureRequestWarning, match="not verified"):
                client.sse(tls_server.url, verify=False).close()
            with pytest.warns(InsecureRequestWarning, match="Unverified HTTPS request"):
                client.get(tls_server.url, verify=False)

    def test_unexpected_connections_are_not_made(self, tls_server):
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
            client.sse(tls_server.url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert caught.value.permanent
        assert tls_server.requests == []


def test_a_plain_request_through_the_tunnel_of_a_stream_is_left_as_it_is(server):
    # The pool, and so the class of its connections, is that of the previous stream.
    server.handler = lambda exchange: exchange.respond(407)
    with sse_client_for_tests() as client:
        for send, error in (
            (client.sse, ConnectionFailedError),
            (client.get, requests.exceptions.ProxyError),
        ):
            with pytest.raises(error, match="407"):
                send("https://127.0.0.1:9/", proxies={"https": server.url})
    assert [request.method for request in server.requests] == ["CONNECT"] * 2


@pytest.mark.parametrize("verified", [True, False])
def test_a_tls_connection_that_is_reset_before_its_handshake_is_closed(tls, monkeypatch, verified):
    # What Python's ssl then does at that point.
    made = []

    def getpeername(sock):
        made.append(sock)
        raise ConnectionResetError("just now")

    monkeypatch.setattr(ssl.SSLSocket, "getpeername", getpeername, raising=False)
    with (
        silent_listener() as (port, _),
        sse_client_for_tests() as client,
        pytest.raises(ConnectionFailedError, match="just now"),
    ):
        client.sse(f"https://127.0.0.1:{port}/", verify=tls.ca_bundle if verified else False)
    assert [each.fileno() for each in made] == [-1]
