"""The requests of the sse-client command, and their connections."""

from __future__ import annotations

import io
import ssl
import sys
from types import SimpleNamespace

import pytest
import trustme
from command_line import A_FILE, PATIENCE, follow, started, with_file
from tables import each_of

from sse_client.testing import SSEServer

SECRET = "s3cr3t"
BODY = b'{"a":\r\n "\xe2\x82\xac"}\n'
FORM = "application/x-www-form-urlencoded"


def sent_by(server: SSEServer, *words: str):
    """Run the command against a server that ends it, and return the one request."""
    server.respond(204)
    assert follow(server.url, *words) == 0
    return server.requests[-1]


@pytest.fixture
def body(tmp_path):
    path = tmp_path / "body"
    path.write_bytes(BODY)
    return path


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ([], ("GET", b"", None)),
        (["-X", "delete"], ("DELETE", b"", None)),
        (["-d", "a=ä"], ("POST", "a=ä".encode(), FORM)),
        (["-d", "a=1", "--data", "b=2"], ("POST", b"a=1&b=2", FORM)),
        (["-d", ""], ("POST", b"", FORM)),
        (["-d", "x", "-X", "PUT"], ("PUT", b"x", FORM)),
        (["-d", "x", "-H", "content-type: text/plain"], ("POST", b"x", "text/plain")),
        (["-d", "@{body}"], ("POST", BODY, FORM)),
        (["--data-raw", "@a"], ("POST", b"@a", FORM)),
        (["--json-body", "[1]"], ("POST", b"[1]", "application/json")),
        (["--json-body", "@{body}"], ("POST", BODY, "application/json")),
    ],
    ids=str,
)
def test_the_request_is_the_one_asked_for(server, body, words, sent):
    request = sent_by(server, *(word.replace("{body}", str(body)) for word in words))
    assert (request.method, request.body, request.headers.get("Content-Type")) == sent


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["-b", "a=1; b=ä"], "a=1; b=ä"),
        (["--cookie", "a=1", "-b", "b=2"], "a=1; b=2"),
        (["-b", "a=1", "-H", "cookie: b=2"], "a=1; b=2"),
    ],
    ids=str,
)
def test_cookies_are_sent(server, words, sent):
    assert sent_by(server, *words).headers["Cookie"] == sent


@pytest.mark.parametrize("text", [SECRET, "", f"a={SECRET}\n"])
def test_what_is_not_a_cookie_is_wrong_usage(capsys, text):
    assert follow("http://a/", "-b", text) == 2
    errors = capsys.readouterr().err
    assert "-b/--cookie: must have the form NAME=VALUE; files of cookies are not read" in errors
    assert SECRET not in errors


def test_the_data_may_come_from_standard_input(server, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from\nstdin\n")))
    assert sent_by(server, "-d", "@-").body == b"from\nstdin\n"


def test_standard_input_may_be_closed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert follow("http://a/", "-d", "@-") == 2
    assert capsys.readouterr().err.endswith("-d/--data: standard input is closed\n")


def test_a_post_is_sent_once_unless_it_is_to_be_sent_again(server, capsys):
    server.serve(["one"], then="drop")
    assert follow(server.url, "-d", "x") == 5
    assert len(server.requests) == 1
    server.serve([b"retry: 1\ndata: two\n\n"], then="drop")
    server.respond(204)
    assert follow(server.url, "-d", "x", "--reconnect", "always") == 0
    assert [request.body for request in server.requests[1:]] == [b"x", b"x"]
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize(("when", "status"), [("on_error", 0), ("never", 0), ("always", 4)])
def test_a_stream_that_ends_is_asked_for_again_as_wanted(server, when, status):
    server.serve([b"retry: 1\ndata: one\n\n"])
    server.respond(404)
    assert follow(server.url, "--reconnect", when) == status
    assert len(server.requests) == (2 if status else 1)


# A token.


def test_a_token_of_the_environment_is_sent(server, monkeypatch):
    monkeypatch.setenv("TOKEN", f" {SECRET}\n")
    assert sent_by(server, "--bearer-env", "TOKEN").headers["Authorization"] == f"Bearer {SECRET}"


def test_a_token_that_is_refused_is_a_failure_that_tells_none(server, monkeypatch, capsys):
    monkeypatch.setenv("TOKEN", SECRET)
    server.respond(401)
    server.respond(401)
    assert follow(server.url, "--bearer-env", "TOKEN") == 4
    errors = capsys.readouterr().err
    assert "responded with 401" in errors
    assert SECRET not in errors


@pytest.mark.parametrize("variable", ["", SECRET, "a=b"])
def test_a_variable_that_is_not_there_is_wrong_usage(monkeypatch, capsys, variable):
    monkeypatch.delenv(SECRET, raising=False)
    assert follow("http://a/", "--bearer-env", variable) == 2
    errors = capsys.readouterr().err
    assert "--bearer-env: must be an environment variable that is not empty" in errors
    assert SECRET not in errors


# TLS.


def test_a_certificate_that_nobody_knows_is_a_failure(tls_server, capsys):
    assert follow(tls_server.url) == 3
    assert "certificate" in capsys.readouterr().err.lower()
    assert tls_server.requests == []


def test_an_authority_can_be_trusted(tls_server, tls, capsys):
    sent_by(tls_server, "--cacert", tls.ca_bundle)
    assert capsys.readouterr().err == ""


def test_an_unchecked_certificate_is_warned_of_once(tls_server):
    tls_server.serve([b"retry: 1\ndata: one\n\n"])
    tls_server.respond(204)
    with started(tls_server.url, "--insecure") as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert output == "one\n"
    assert errors == "sse-client: warning: certificates are not checked (--insecure)\n"


@pytest.mark.parametrize("in_one_file", [True, False])
def test_the_client_shows_its_certificate(tmp_path, in_one_file):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    own = authority.issue_cert("me@example.org")
    files = SimpleNamespace(**{name: str(tmp_path / name) for name in ("ca", "cert", "key")})
    authority.cert_pem.write_to_path(files.ca)
    own.private_key_pem.write_to_path(files.key)
    words = ["--cacert", files.ca, "--cert", files.cert]
    if in_one_file:
        own.private_key_and_cert_chain_pem.write_to_path(files.cert)
    else:
        own.cert_chain_pems[0].write_to_path(files.cert)
        words += ["--key", files.key]
    with SSEServer(ssl_context=context) as server:
        sent_by(server, *words)
        assert follow(server.url, "--cacert", files.ca) == 3


# A proxy, and silence.


def test_a_proxy_is_asked_and_its_password_is_kept(server, capsys):
    proxy = server.url.replace("://", f"://user:{SECRET}@")
    server.respond(204)
    assert follow("http://nowhere.invalid/events", "--proxy", proxy) == 0
    (request,) = server.requests
    assert request.target == "http://nowhere.invalid/events"
    assert "Proxy-Authorization" in request.headers
    server.stop()
    assert follow("http://nowhere.invalid/events", "--proxy", proxy) == 3
    assert SECRET not in capsys.readouterr().err


def test_silence_for_too_long_is_a_lost_connection(server, capsys):
    server.serve(["one"], then="stall")
    assert follow(server.url, "--timeout", "0.05", "--reconnect", "never") == 5
    output, errors = capsys.readouterr()
    assert output == "one\n"
    assert "0.05" in errors


# Wrong usage.


@each_of(
    ("words", "message"),
    [
        (["-X", "G T"], "-X/--request: must be an HTTP method"),
        (["-d", f"@/{SECRET}"], "-d/--data: cannot read this file: No such file or directory"),
        (["-d", f"@{SECRET}\0"], "-d/--data: cannot read this file: ValueError"),
        (["-d", "@-"], "-d/--data: cannot read this file: "),
        (["-d", SECRET, "--json-body", "1"], "--json-body: not allowed with argument -d/--data"),
        (["--json-body", f"{{{SECRET}"], "argument --json-body: must be JSON"),
        (["--proxy", f"{SECRET}:80"], "--proxy: must begin with http://, https:// or socks5://"),
        (["--cacert", f"/{SECRET}"], "--cacert: there is no such file"),
        (["--cert", ""], "--cert: must be the path of a file"),
        (["--key", A_FILE], "--key requires --cert"),
        (["--insecure", "--cacert", A_FILE], "--cacert: not allowed with argument -k/--insecure"),
        (["--timeout", "0"], "--timeout: must be a number above 0"),
        (["--timeout", "nan"], "--timeout: must be a number above 0"),
        (["--max-time", "1e400"], "--max-time: must be a number above 0"),
        (["--reconnect", SECRET], "--reconnect: must be one of always, on_error, never"),
        (["--filter-comments", SECRET], "--filter-comments: must be one of on, off"),
        (["--json", "--raw"], "--raw: not allowed with argument --json"),
        (["--data-only", "--filter-comments", "off"], "--data-only shows no comments"),
        (["--state", ""], "--state: must be the path of a file"),
        (["--state", f"{SECRET}\0"], "--state: must be the path of a file"),
    ],
)
def test_wrong_usage_is_explained_without_what_was_typed(monkeypatch, capsys, words, message):
    class Unreadable(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Unreadable()))
    assert follow("http://a/", *with_file(words)) == 2
    errors = capsys.readouterr().err
    assert message in errors.splitlines()[-1]
    assert SECRET not in errors
