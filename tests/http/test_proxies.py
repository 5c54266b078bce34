"""The statements of ``docs/howto/proxies.md`` about proxies and variables for a CA bundle."""

from __future__ import annotations

import pytest
import requests
from support import sse_client_for_tests

from sse_client import ConnectionFailedError
from sse_client.testing import SSEServer

#: A reserved name that no resolver knows, so each response has come through a proxy.
URL = "http://events.invalid/stream"

VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in [*VARIABLES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def other():
    with SSEServer() as started:
        yield started


def follow(client, url=URL, **arguments):
    with client.sse(url, reconnect="never", **arguments) as session:
        return [event.data for event in session.incoming]


class TestTheProxy:
    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
    def test_may_be_that_of_the_environment(self, server, monkeypatch, name):
        monkeypatch.setenv(name, server.url)
        server.serve(["one"])
        with sse_client_for_tests() as client:
            assert follow(client) == ["one"]
        assert server.requests[0].target == URL

    def test_of_the_call_comes_before_that_of_the_environment(self, server, other, monkeypatch):
        monkeypatch.setenv("http_proxy", other.url)
        server.serve(["one"])
        with sse_client_for_tests() as client:
            assert follow(client, proxies={"http": server.url}) == ["one"]
        assert other.requests == []

    def test_of_the_environment_comes_before_that_of_the_session(self, server, other, monkeypatch):
        monkeypatch.setenv("http_proxy", server.url)
        server.serve(["one"])
        with requests.Session() as session, sse_client_for_tests(session) as client:
            session.proxies["http"] = other.url
            assert follow(client) == ["one"]
        assert other.requests == []

    def test_of_the_environment_is_ignored_without_trust_env(self, server, other, monkeypatch):
        monkeypatch.setenv("http_proxy", other.url)
        server.serve(["one"])
        with requests.Session() as session, sse_client_for_tests(session) as client:
            session.trust_env = False
            assert follow(client, server.url) == ["one"]
        assert other.requests == []

    def test_is_not_used_for_the_hosts_of_no_proxy(self, server, other, monkeypatch):
        monkeypatch.setenv("http_proxy", other.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        server.serve(["one"])
        with sse_client_for_tests() as client:
            assert follow(client, server.url) == ["one"]
        assert other.requests == []

    def test_that_needs_a_missing_package_names_it(self, monkeypatch):
        def missing(*_, **__):  # as in requests without PySocks, in place of urllib3's
            raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

        monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
        proxy = "socks5h://user:secret@127.0.0.1:1080"
        with sse_client_for_tests() as client, pytest.raises(ConnectionFailedError) as caught:
            follow(client, "https://events.example/stream", proxies={"https": proxy})
        assert str(caught.value) == (
            "cannot connect to https://events.example/stream through the proxy "
            "socks5h://127.0.0.1:1080: a SOCKS proxy needs the package PySocks: "
            "pip install 'sse-client[socks]'"
        )
        assert not caught.value.was_sent


class TestTheBundle:
    @pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_may_be_that_of_the_environment(self, tls, tls_server, monkeypatch, name):
        monkeypatch.setenv(name, tls.ca_bundle)
        tls_server.serve(["one"])
        with requests.Session() as session, sse_client_for_tests(session) as client:
            session.verify = "/nowhere"  # the variable takes precedence
            assert follow(client, tls_server.url) == ["one"]

    def test_of_the_call_comes_before_that_of_the_environment(self, tls, tls_server, monkeypatch):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        tls_server.serve(["one"])
        with sse_client_for_tests() as client:
            assert follow(client, tls_server.url, verify=tls.ca_bundle) == ["one"]

    def test_is_not_that_of_python_s_own_variable(self, tls, tls_server, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", tls.ca_bundle)
        with (
            sse_client_for_tests() as client,
            pytest.raises(ConnectionFailedError, match="certificate verify failed"),
        ):
            follow(client, tls_server.url)


def test_addresses_of_requests_unixsocket_are_refused():
    with sse_client_for_tests() as client, pytest.raises(ValueError, match="must begin with http"):
        follow(client, "http+unix://%2Ftmp%2Fapp.sock/events")
