"""What the sse-client command prints about a failure and with -v, and its exit status."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import pytest
from canaries import CANARY
from command_line import follow
from support import Running, Signal, silent_listener

from sse_client import (
    ConnectionFailedError,
    IdleTimeoutError,
    ReconnectionExhaustedError,
    ServerSentEvent,
    SSEClientError,
)
from sse_client.cli import failures, outages, verbose
from sse_client.cli.proxies import proxy_for

# The exit status.


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionFailedError("x"), 3),
        (IdleTimeoutError("x", timeout=1.0, waited_for="bytes"), 5),
        (ReconnectionExhaustedError("x", attempts=1), 5),
        (ReconnectionExhaustedError("x", attempts=1, last_cause=ConnectionFailedError("y")), 3),
        (SSEClientError("x"), 1),
        (ValueError("x"), 1),
        (None, 1),
    ],
)
def test_each_kind_of_failure_has_its_status(error, status):
    assert failures.status_of(error) == status


# The body of a refused response.


def errors_of(capsys, status: int, *words: str) -> list[str]:
    assert follow(*words) == status
    output, errors = capsys.readouterr()
    assert output == ""
    return errors.splitlines()


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", []),
        (b" \n", []),
        (b'{"detail":\n\n "no such stream"}', ['  {"detail":', '   "no such stream"}']),
        (b"\x1b[2Jgone", [r"  \x1b[2Jgone"]),
        (b"\x89PNG\0\1", ["  (6 bytes that are not text)"]),
        (b"\xff\xfe\xfd", ["  (3 bytes that are not text)"]),
        (b"x" * 3000, ["  " + "x" * 1000, "  ..."]),
        (b"l\n" * 30, ["  l"] * 12 + ["  ..."]),
    ],
    ids=["none", "blank", "JSON", "escapes", "binary", "no UTF-8", "long", "many lines"],
)
def test_a_refusal_shows_the_beginning_of_the_body(server, capsys, body, shown):
    server.respond(404, body=body)
    first, *rest = errors_of(capsys, 4, server.url)
    assert first == f"sse-client: {server.url} responded with 404 Not Found"
    assert rest == shown


def test_a_response_that_is_not_a_stream_shows_its_body_too(server, capsys):
    server.respond(200, {"Content-Type": "text/html"}, body="<h1>Log in</h1>")
    assert errors_of(capsys, 4, server.url) == [
        f"sse-client: {server.url} responded with text/html, not with text/event-stream",
        "  <h1>Log in</h1>",
    ]


def test_the_last_refusal_of_several_is_shown(server, capsys):
    server.serve([b"retry: 1\n\n"])
    server.respond(503, body="busy")
    assert errors_of(capsys, 4, "--max-reconnection-attempts", "1", server.url)[-1] == "  busy"


# Hints.


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (401, b"", "log in with -u USER:PASSWORD"),
        (400, b"The plain HTTP request was sent to HTTPS port", "try https://"),
        (400, b"Client sent an HTTP request to an HTTPS server.", "try https://"),
        (400, b"bad", None),
        (410, b"", None),
    ],
)
def test_a_refusal_may_have_a_hint(server, capsys, status, body, hint):
    server.respond(status, body=body)
    last = errors_of(capsys, 4, "--last-event-id", "1", server.url)[-1]
    assert (hint in last) if hint else ("hint" not in last)


def test_plain_http_is_told_from_tls(capsys):
    with silent_listener() as (port, accept):
        responding = Running(lambda: accept().sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        last = errors_of(capsys, 3, f"https://127.0.0.1:{port}/")[-1]
        responding.outcome()
    assert last == "  hint: the response is not TLS: if the server speaks plain HTTP, use http://"


def test_tls_is_told_from_plain_http(capsys):
    error = ConnectionFailedError("no response: not a status line: '\\x15\\x03\\x03'")
    failures.report(error)
    assert "try https://" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "hint"), [(10, "dates"), (20, "--cacert"), (62, "host of the")])
def test_a_certificate_has_a_hint(capsys, code, hint):
    cause = ssl.SSLCertVerificationError()
    cause.verify_code = code
    error = ConnectionFailedError("no")
    error.__cause__ = cause
    assert failures.report(error) == 3
    assert hint in capsys.readouterr().err.splitlines()[-1]


def test_an_unknown_authority_has_a_hint(tls_server, capsys):
    assert "--cacert FILE trusts" in errors_of(capsys, 3, tls_server.url)[-1]


def test_another_failure_of_tls_has_no_hint(capsys):
    error = ConnectionFailedError("no")
    error.__cause__ = ssl.SSLEOFError()
    failures.report(error)
    assert "hint" not in capsys.readouterr().err


# Proxies.


def test_the_proxy_of_the_environment_is_named(server, monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", server.url.replace("//", f"//user:{CANARY}@"))
    monkeypatch.delenv("no_proxy", raising=False)
    server.respond(502)
    errors = errors_of(capsys, 4, "http://nowhere.invalid/x?y", "--max-reconnection-attempts", "0")
    assert f"  the request went through the proxy {server.url.rstrip('/')}" in errors
    assert CANARY not in "".join(errors)


def test_a_proxy_that_the_message_names_is_named_once(server, capsys):
    server.stop()
    errors = errors_of(capsys, 3, "http://nowhere.invalid/", "--proxy", server.url)
    assert len(errors) == 1
    assert "through the proxy" in errors[0]


def test_the_proxy_that_was_asked_for_counts_before_the_environment(monkeypatch):
    monkeypatch.setenv("http_proxy", "e:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert proxy_for("http://a/") == "http://e:1"
    assert proxy_for("http://a/", {"http": "http://u:p@c:2"}) == "http://c:2"
    assert proxy_for("http://a/", {"no_proxy": "*"}) is None


# With -v.


def test_verbose_shows_both_headers_losses_and_the_end(server, capsys):
    server.serve([ServerSentEvent("one", id="1", retry=1)], then="drop")
    server.redirect("/x?token=s3cr3t")
    server.respond(204, {"Set-Cookie": "a=s3cr3t", "X-Colour": "\x1b[31m"})
    words = ["-H", "X-Key: s3cr3t", "-u", "me:s3cr3t", "-A", "agent 7"]
    assert follow("-v", *words, f"{server.url}a?token=s3cr3t") == 0
    output, errors = capsys.readouterr()
    assert output == "one\n"
    assert "s3cr3t" not in errors
    assert "\x1b" not in errors
    lines = errors.splitlines()
    for line in (
        f"* GET {server.url}a",
        "> GET /a?[hidden]",
        f"> Host: 127.0.0.1:{server.port}",
        "> User-Agent: agent 7",
        "> Accept: text/event-stream",
        "> X-Key: [hidden]",
        "> Authorization: [hidden]",
        "< HTTP/1.1 200 OK",
        "< Content-Type: text/event-stream",
        "* connection 1 is open",
        "> Last-Event-ID: 1",
        "< HTTP/1.1 302 Found",
        "< Location: /x",
        "< HTTP/1.1 204 No Content",
        "< Set-Cookie: [hidden]",
        "* the stream has ended",
    ):
        assert line in lines, line
    assert any("after event 1; reconnecting in 0.001" in line for line in lines)


def test_verbose_shows_a_failure_and_the_proxy(server, capsys):
    server.serve(["one"], then="end")
    words = ["-v", "--reconnect", "never", "--end-of-stream", "x", "--proxy", server.url]
    assert follow(*words, "http://nowhere.invalid/") == 5
    errors = capsys.readouterr().err
    assert f"* GET http://nowhere.invalid/ through the proxy {server.url.rstrip('/')}" in errors
    assert "; giving up" in errors
    assert "* the stream has failed" in errors


def test_an_address_that_cannot_be_parsed_is_not_shown():
    assert verbose.shown_url(f"http://[{CANARY}/") == "(an address that cannot be parsed)"


@pytest.mark.parametrize(
    ("version", "name"), [(20, "HTTP/2"), (None, "HTTP"), (7, "HTTP version 7")]
)
def test_the_version_of_http_is_named(version, name):
    response = SimpleNamespace(raw=SimpleNamespace(version=version))
    assert verbose.http_version(response) == name


def test_a_stream_that_just_ends_is_told(capsys):
    session = SimpleNamespace(last_event_id="", error=None)
    verbose.Conversation().hooks()["on_disconnect"](session, None, 2.0)
    assert capsys.readouterr().err == "* the stream ended; reconnecting in 2 s\n"


# Outages.


def test_an_outage_that_lasts_is_one_line(server, monkeypatch, capsys):
    monkeypatch.setattr(outages, "LASTING", 0.0)
    said = Signal()
    monkeypatch.setattr(outages, "complain", said)
    server.serve([ServerSentEvent("one", retry=1)], then="drop")
    server.respond(503)
    server.handler = lambda exchange: (said.await_(), exchange.respond(204))
    assert follow(server.url) == 0
    ((line,),) = said.calls
    assert line.startswith("no connection for 0 s, still trying: ")
    assert capsys.readouterr() == ("one\n", "")


def lost(watch, error=None, delay=1.0) -> None:
    watch.hooks()["on_disconnect"](None, error, delay)


def test_an_outage_is_said_once_and_after_a_while(monkeypatch, capsys):
    timers = []

    class Timer:
        def __init__(self, interval, function) -> None:
            self.interval, self.function, self.log = interval, function, []
            timers.append(self)

        def start(self) -> None:
            self.log.append("started")

        def cancel(self) -> None:
            self.log.append("cancelled")

        def join(self) -> None:
            self.log.append("joined")

    monkeypatch.setattr(outages.threading, "Timer", Timer)
    with outages.Outages("a") as watch:
        hooks = watch.hooks()
        lost(watch, ValueError("refused"))
        lost(watch)
        timers[0].function()
        assert capsys.readouterr().err == (
            "sse-client: a: no connection for 10 s, still trying: the stream ended\n"
        )
        hooks["on_open"](None)
        lost(watch, ValueError("it\nbroke"))
        lost(watch, ValueError("final"), None)
        lost(watch)
    lost(watch)
    assert [timer.interval for timer in timers] == [10.0] * 3
    assert [timer.log[1:] for timer in timers] == [
        ["cancelled"],
        ["cancelled"],
        ["cancelled", "joined"],
    ]
