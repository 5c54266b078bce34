"""What urllib3 would do beside opening a stream: warn again and again, retry, and log secrets."""

from __future__ import annotations

import ssl
import warnings

import pytest
from support import sse_client_for_tests
from urllib3.exceptions import InsecureRequestWarning

from sse_client import ConnectionFailedError


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

    def test_connections_do_not_come_unasked(self, tls_server):
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
            client.sse(tls_server.url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert caught.value.permanent
        assert tls_server.requests == []
