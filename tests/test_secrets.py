"""No secret of a request appears in an error, a traceback, a log record, a repr or a name."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import requests
from canaries import CANARY, tells
from support import Running, silent_listener, sse_client_for_tests

from sse_client import (
    BearerAuth,
    ConnectionFailedError,
    DefaultRequest,
    ReconnectionExhaustedError,
    SSEClientError,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
    iter_events,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: All secrets that a request may have.
SECRETS = {
    "params": {"token": CANARY},
    "headers": {
        "Authorization": f"Bearer {CANARY}",
        "X-Api-Key": CANARY,
        "Last-Event-ID": CANARY,
    },
    "cookies": {"sid": CANARY},
}


def secret_url(server, path="/events"):
    """The address of a server, with secrets in all parts that may contain one."""
    rest = f"{server.host}:{server.port}{path}?token={CANARY}#{CANARY}"
    return f"{server.url.partition('://')[0]}://user{CANARY}:pw{CANARY}@{rest}"


def chain(error) -> Iterator[BaseException]:
    """An error, and the other errors of its traceback."""
    seen = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting.append(found.__cause__)
        waiting.append(getattr(found, "last_cause", None))
        if not found.__suppress_context__:
            waiting.append(found.__context__)


def assert_silent(error):
    for found in chain(error):
        assert not tells(str(found))
        assert not tells(repr(found))
    assert not tells("".join(traceback.format_exception(error)))


@pytest.fixture
def records(caplog):
    """Return the log records of the package so far, none of which may contain a secret."""

    def ours():
        of_the_test = caplog.get_records("call")
        return [record for record in of_the_test if record.name.partition(".")[0] == "sse_client"]

    caplog.set_level(logging.DEBUG, "sse_client")
    yield ours
    for record in ours():
        assert CANARY not in record.getMessage()
        assert CANARY not in repr(record.args)
        assert CANARY not in caplog.handler.format(record)


@pytest.fixture
def client(records):
    with sse_client_for_tests() as client:
        yield client


def refused(client, kind, url, **arguments):
    """Open a stream that fails, and check all its readable output."""
    given = {**SECRETS, **arguments}
    with pytest.raises(kind) as caught:
        client.sse(url, **given)
    assert_silent(caught.value)
    return caught.value


class Address:
    """Replaces a server if there is none."""

    def __init__(self, host, port, scheme="http"):
        self.host, self.port = host, port
        self.url = f"{scheme}://{host}:{port}/"


@pytest.fixture
def nobody():
    """An address at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address("127.0.0.1", bound.getsockname()[1])


class TestConnecting:
    def test_to_a_refused_port(self, client, nobody):
        refused(client, ConnectionFailedError, secret_url(nobody))

    def test_to_a_refused_port_until_it_gives_up(self, client, nobody):
        refused(
            client,
            ReconnectionExhaustedError,
            secret_url(nobody),
            retry_first_connection=True,
            max_reconnection_attempts=2,
        )

    def test_to_an_unknown_name(self, client, monkeypatch):
        # The error of a stand-in for the resolver, because a real one may be slow.
        def fail(*_, **__):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        refused(client, ConnectionFailedError, secret_url(Address("name.invalid", 80)))

    def test_to_a_name_that_cannot_be(self, client):
        refused(client, (ConnectionFailedError, ValueError), secret_url(Address("x" * 70, 80)))

    def test_with_tls_that_nobody_trusts(self, client, tls_server):
        refused(client, ConnectionFailedError, secret_url(tls_server))

    def test_with_tls_to_something_that_does_not_speak_it(self, client):
        with silent_listener() as (port, accept):
            url = secret_url(Address("127.0.0.1", port, "https"))
            opening = Running(lambda: refused(client, ConnectionFailedError, url))
            accept().sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            assert isinstance(opening.outcome(), ConnectionFailedError)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_through_a_dead_proxy(self, client, nobody, server, tls_server, scheme):
        target = server if scheme == "http" else tls_server
        proxies = {scheme: f"http://user:{CANARY}@{nobody.host}:{nobody.port}/?{CANARY}"}
        refused(client, ConnectionFailedError, secret_url(target), proxies=proxies)

    def test_through_a_proxy_that_refuses(self, client, server, tls_server):
        server.handler = lambda exchange: exchange.respond(407)
        proxies = {"https": f"http://user:{CANARY}@{server.host}:{server.port}"}
        refused(client, ConnectionFailedError, secret_url(tls_server), proxies=proxies)

    @pytest.mark.parametrize(
        "proxy",
        ["http://u:{}@[::1", "http://u:{}@h:x", "ftp://u:{}@h", "http://", "socks5://u:{}@h"],
    )
    def test_through_a_proxy_that_is_no_address(self, client, server, proxy):
        proxies = {"http": proxy.format(CANARY)}
        refused(client, (SSEClientError, ValueError), secret_url(server), proxies=proxies)

    def test_that_is_cut_off_before_the_response(self, client, server):
        server.handler = lambda exchange: exchange.drop()
        refused(client, ConnectionFailedError, secret_url(server))

    def test_that_takes_too_long(self, client, server):
        server.handler = lambda exchange: exchange.stall()
        refused(client, ConnectionFailedError, secret_url(server), timeout=(5, 0.05))

    def test_to_something_that_does_not_speak_http(self, client, server):
        server.handler = lambda exchange: (exchange.write_raw(b"SSH-2.0-x\r\n"), exchange.drop())
        refused(client, ConnectionFailedError, secret_url(server))


class TestInvalidAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            f"user:{CANARY}@host/events",
            f"{CANARY}@host/events?{CANARY}",
            f"/events?token={CANARY}",
            f"http://user:{CANARY}@/events",
            f"http://user:{CANARY}@host:port/?{CANARY}",
            f"http://user:{CANARY}@[::1/",
            f"http://user:{CANARY}@[nothing]/",
            f"http://[user:{CANARY}@host]/",
            f"http://user:{CANARY}@ex\u2100mple/",
            f"http://user:{CANARY}@*/",
            f"http://user:{CANARY}@.host/",
            f"ftp://user:{CANARY}@host/?{CANARY}",
            f"http:user:{CANARY}@host",
            f"//user:{CANARY}@host/",
            f"?{CANARY}",
            f"mailto:{CANARY}@host",
        ],
    )
    def test_are_not_spelled_out(self, client, url):
        refused(client, (ValueError, ConnectionFailedError), url)

    def test_in_parts_are_not_spelled_out(self, client):
        with pytest.raises((ValueError, ConnectionFailedError)) as caught:
            client.sse(host=f"user:{CANARY}@host", path=f"/?{CANARY}")
        assert_silent(caught.value)

    def test_of_a_plugin_are_not_spelled_out(self, client):
        for base in (f"user:{CANARY}@host", f"http://user:{CANARY}@[::1", f"http://h/?{CANARY}"):
            with pytest.raises(ValueError) as caught:
                client.install(DefaultRequest, base_url=base)
            assert_silent(caught.value)


class TestUnsendableRequests:
    @pytest.mark.parametrize(
        "value",
        [
            f"{CANARY}\n",
            f"{CANARY}\r\nX: y",
            f" {CANARY}",
            f"{CANARY}\r\n".encode(),
            f"{CANARY}\u20ac",
            [CANARY],
        ],
    )
    def test_do_not_tell_their_headers(self, client, server, value):
        refused(client, ValueError, secret_url(server), headers={"X-Api-Key": value})
        refused(client, ValueError, secret_url(server), headers={"X-Api-Key": lambda: value})
        assert server.requests == []

    @pytest.mark.parametrize("value", [f"Bearer {CANARY}\n", f"Bearer {CANARY}\u20ac"])
    def test_do_not_tell_what_an_auth_has_set(self, client, server, value):
        def auth(prepared):
            prepared.headers["Authorization"] = value
            return prepared

        refused(client, ValueError, secret_url(server), auth=auth)
        assert server.requests == []

    @pytest.mark.parametrize("value", [f"{CANARY}\nx", f"{CANARY}\u20ac"])
    def test_do_not_tell_their_cookies(self, client, server, value):
        refused(client, ValueError, secret_url(server), cookies={"sid": value})
        assert server.requests == []

    def test_do_not_tell_a_name_of_a_header(self, client, server):
        refused(client, ValueError, secret_url(server), headers={f"X {CANARY}": "y\n"})

    def test_do_not_tell_a_last_event_id(self, client, server):
        refused(client, ValueError, secret_url(server), headers={"Last-Event-ID": f"{CANARY}\n"})


class TestResponses:
    def test_of_another_status(self, client, server):
        server.respond(404)
        error = refused(client, UnexpectedStatusError, secret_url(server))
        assert server.url in str(error)

    def test_of_another_content_type(self, client, server):
        server.respond(200, {"Content-Type": "text/html", "Set-Cookie": f"a={CANARY}"})
        refused(client, UnexpectedContentTypeError, secret_url(server))

    def test_of_another_status_to_a_response_of_one_s_own(self, server):
        server.respond(404)
        with requests.get(secret_url(server), stream=True, timeout=5) as response:
            with pytest.raises(UnexpectedStatusError) as caught:
                list(iter_events(response))
            assert_silent(caught.value)

    def test_that_redirect_in_a_loop(self, client, server):
        server.handler = lambda exchange: exchange.redirect(f"/?{CANARY}")
        refused(client, ConnectionFailedError, secret_url(server))

    @pytest.mark.parametrize(
        "location",
        [
            *(f"http://user:{CANARY}@[::1/", f"http://user:{CANARY}@host:port/"),
            *(f"ftp://user:{CANARY}@host/", f"mailto:{CANARY}@host"),
            f"http://user:{CANARY}@ex\u2100mple/",
        ],
    )
    def test_that_redirect_to_no_address(self, client, server, location):
        server.redirect(location)
        refused(client, ConnectionFailedError, secret_url(server))

    def test_that_redirect_to_bytes_that_are_no_text(self, client, server):
        head = f"HTTP/1.1 302 Found\r\nLocation: /{CANARY}".encode() + b"\xe9\r\n\r\n"
        server.handler = lambda exchange: exchange.write_raw(head)
        refused(client, ConnectionFailedError, secret_url(server))

    def test_that_redirect_to_a_refused_port(self, client, server, nobody):
        server.redirect(secret_url(nobody))
        refused(client, ConnectionFailedError, secret_url(server))

    def test_that_redirect_to_a_refusal(self, client, server):
        server.redirect(f"/there?{CANARY}")
        server.respond(403)
        refused(client, UnexpectedStatusError, secret_url(server))


class TestBearerTokens:
    def install(self, client, load=lambda: f"T{CANARY}", refresh=lambda: f"U{CANARY}"):
        client.install(BearerAuth, load=load, refresh=refresh)
        return client.plugin(BearerAuth)

    @pytest.fixture
    def without_authorization(self):
        """The secrets without an Authorization, which would take precedence over the token."""
        headers = {**SECRETS["headers"]}
        del headers["Authorization"]
        return {**SECRETS, "headers": headers}

    def test_that_are_refused(self, client, server, without_authorization):
        plugin = self.install(client)
        server.handler = lambda exchange: exchange.respond(401)
        refused(client, UnexpectedStatusError, server.url, **without_authorization)
        sent = [request.headers["Authorization"] for request in server.requests]
        assert sent == [f"Bearer T{CANARY}", f"Bearer U{CANARY}"]
        for held in (plugin, client, plugin._token, *vars(plugin).values()):
            assert CANARY not in repr(held)

    @pytest.mark.parametrize("then", ["drop", "reset"])
    def test_that_are_cut_off_with_their_request(self, client, server, without_authorization, then):
        self.install(client)
        server.respond(401)
        server.handler = lambda exchange: getattr(exchange, then)()
        refused(client, ConnectionFailedError, server.url, **without_authorization)
        assert len(server.requests) == 2

    @pytest.mark.parametrize("value", [f"{CANARY}\r\nX: y", f"{CANARY} ", f"{CANARY}\u20ac"])
    def test_that_no_header_can_carry(self, client, server, without_authorization, value):
        self.install(client, load=lambda: value)
        refused(client, ConnectionFailedError, server.url, **without_authorization)
        with pytest.raises(ConnectionFailedError) as caught:
            client.get(server.url)
        assert_silent(caught.value)
        assert server.requests == []

    @pytest.mark.parametrize("name", ["load", "refresh"])
    def test_whose_server_is_gone(self, client, server, nobody, without_authorization, name):
        def fetch():
            return client.post(secret_url(nobody), data=CANARY).text

        self.install(client, **{name: fetch})
        server.handler = lambda exchange: exchange.respond(401)
        refused(client, ConnectionFailedError, server.url, **without_authorization)

    @pytest.mark.parametrize("status", [400, 503])
    def test_whose_server_refuses(self, client, server, without_authorization, status):
        def fetch():
            client.post(secret_url(server, "/token"), data=CANARY).raise_for_status()

        self.install(client, refresh=fetch)
        server.respond(401)
        server.respond(status, body=CANARY)
        refused(client, ConnectionFailedError, server.url, **without_authorization)

    def test_of_a_stream_that_breaks_off_and_is_refused(
        self, client, server, without_authorization, records
    ):
        self.install(client)
        server.serve(["one"], then="reset")
        server.handler = lambda exchange: exchange.respond(401)
        with client.sse(server.url, **without_authorization) as session:
            with pytest.raises(UnexpectedStatusError) as caught:
                for _ in session.incoming:
                    pass
            assert_silent(caught.value)
        assert any("reconnecting in" in record.getMessage() for record in records())


class TestStreams:
    @contextmanager
    def ended(self, client, server, **arguments):
        """A session whose error is checked, with all its readable output."""
        with client.sse(secret_url(server), **{**SECRETS, **arguments}) as session:
            names = [thread.name for thread in threading.enumerate()]
            for text in (*names, repr(session), repr(client), repr(session.incoming)):
                assert CANARY not in text
            with pytest.raises(SSEClientError) as caught:
                for _ in session.incoming:
                    pass
            assert_silent(caught.value)
            assert CANARY not in repr(session)
            yield caught.value

    def wait_then(self, then):
        """A stream that continues until its client reads it, so that its thread can be seen."""

        def handler(exchange):
            exchange.send("one", id=CANARY)
            exchange.comment(CANARY)
            self.looked.wait()
            getattr(exchange, then)()

        self.looked = threading.Event()
        return handler

    @pytest.mark.parametrize("then", ["drop", "reset"])
    def test_that_break_off(self, client, server, then):
        server.handler = self.wait_then(then)
        opened = self.looked
        with self.ended(
            client, server, reconnect="never", end_of_stream=lambda _: opened.set()
        ) as error:
            assert type(error) is StreamInterruptedError

    def test_are_followed_by_a_thread_named_after_the_host(self, client, server):
        names = []

        def handler(exchange):
            names.extend(thread.name for thread in threading.enumerate())
            exchange.send("one")
            exchange.stall()

        server.handler = handler
        with client.sse(secret_url(server), **SECRETS):
            assert "sse-client:127.0.0.1" in names

    def test_that_fall_silent(self, client, server):
        server.handler = self.wait_then("stall")
        self.looked.set()
        with self.ended(client, server, reconnect="never", timeout=(5, 0.1)) as error:
            assert error.waited_for == "bytes"

    def test_that_bring_no_events(self, client, server):
        server.handler = self.wait_then("stall")
        self.looked.set()
        with self.ended(client, server, reconnect="never", event_timeout=0.1) as error:
            assert error.waited_for == "event"

    def test_that_reconnect_until_they_give_up(self, client, server, records):
        server.serve(["one"], then="drop")
        server.handler = lambda exchange: exchange.respond(503)
        with self.ended(client, server, max_reconnection_attempts=2) as error:
            assert isinstance(error, ReconnectionExhaustedError)
        assert any("reconnecting in" in record.getMessage() for record in records())

    def test_that_are_too_large(self, client, server):
        server.handler = lambda exchange: exchange.write(b"data: " + CANARY.encode() * 1000)
        with self.ended(client, server, max_event_size=100):
            pass

    def test_without_a_name_are_named_after_their_path(self, client, server):
        client.install(DefaultRequest, base_url=server.url)
        server.serve(then="stall")
        with client.sse(path=f"/events?{CANARY}") as session:
            assert repr(session) == "<SSESession /events OPEN>"
