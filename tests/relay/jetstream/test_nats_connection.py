"""The connection to NATS: its addresses, its failures, and what they say."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import subprocess
import sys
import time

import pytest
import trustme
from canaries import CANARY
from nats_process import NatsProcess
from numbered_server import wait_for
from processes import Process
from support import PATIENCE, Running
from tables import each_of

from sse_client.relay.jetstream import connection as connection_module
from sse_client.relay.jetstream.address import parse_addresses
from sse_client.relay.jetstream.connection import NatsServer
from sse_client.relay.jetstream.failures import (
    NatsError,
    from_complaint,
    from_exception,
    from_reply,
    parse_reply,
)

#: Two users: one has all rights, and the other may not use the API of JetStream.
USERS = """
authorization {
  users = [
    {user: "all", password: "%(secret)s"}
    {
      user: "some", password: "%(secret)s"
      permissions: {publish: ["orders"], subscribe: ["_INBOX.>"]}
    }
  ]
}
"""


#: A program that ends while the name of a server is being resolved, which never ends.
HANGING_RESOLVER = """
import socket, threading
from sse_client.relay.jetstream.connection import NatsServer

def hang(*arguments, **options):
    print("resolving", flush=True)
    resolving.set()
    threading.Event().wait()

resolving = threading.Event()
socket.getaddrinfo = hang
server = NatsServer("nats://nats.invalid")
threading.Thread(target=lambda: server.ask("INFO"), daemon=True).start()
resolving.wait()
server.close()
print("closed", flush=True)
"""


@pytest.fixture
def free_address():
    """An address on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def failure_of(address):
    """Return the failure of a request to this address."""
    server = NatsServer(address)
    try:
        with pytest.raises(NatsError) as caught:
            server.ask("INFO")
    finally:
        server.close()
    assert CANARY not in str(caught.value)
    return caught.value


def refusal_of(address):
    """Return the permanent failure of requests to this address.

    The server closes the connection after it, and the client may notice that first.
    """
    deadline = time.monotonic() + PATIENCE
    error = failure_of(address)
    while error.passes and time.monotonic() < deadline:
        error = failure_of(address)
    return error


@each_of(
    ("address", "urls", "shown"),
    [
        ("h", ["nats://h:4222"], "h:4222"),
        ("nats://h:1/", ["nats://h:1"], "h:1"),
        ("tls://u:p@h,i:2", ["tls://u:p@h:4222", "tls://u:p@i:2"], "h:4222,i:2"),
        ("t@h,nats://v@[::1]", ["nats://t@h:4222", "nats://v@[::1]:4222"], "h:4222,[::1]:4222"),
    ],
)
def test_an_address_names_one_or_several_servers(address, urls, shown):
    found = parse_addresses(address)
    assert [each.url for each in found] == urls
    assert ",".join(each.shown for each in found) == shown
    assert repr(found[0]) == f"<ServerAddress {found[0].shown}>"
    assert found[0].is_encrypted == address.startswith("tls")


@each_of(
    "address",
    ["", "nats://", "http://h", "h,,i", "h/path", "h?tls=1", "h:port", "nats://[h", "h:99999"],
)
def test_a_wrong_address_is_refused_without_being_shown(address):
    with pytest.raises(ValueError, match="the address of NATS must be like") as caught:
        parse_addresses(address and f"nats://u:{CANARY}@x,{address}")
    assert CANARY not in str(caught.value)


def test_without_its_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    with pytest.raises(ImportError, match=r"nats-py: pip install 'sse-client\[nats\]'"):
        NatsServer("h")


def test_nothing_is_shown_of_an_address_but_hosts_and_ports(nats):
    assert repr(NatsServer(f"nats://u:{CANARY}@h")) == "<NatsServer h:4222>"


def test_the_next_server_is_used_if_one_is_not_there(nats, free_address):
    server = NatsServer(f"{free_address},{nats.url}")
    assert "streams" in server.ask("INFO")
    assert server.max_payload == 1024 * 1024
    server.close()


def test_a_server_that_is_not_there_is_named(nats, free_address):
    error = failure_of(f"nats://u:{CANARY}@{free_address}")
    assert error.passes
    assert str(error).endswith(f"({free_address})")


def test_a_request_after_the_end_fails(nats):
    server = NatsServer(nats.url)
    server.close()
    with pytest.raises(NatsError, match="closed"):
        server.ask("INFO")
    server.close()


@pytest.fixture
def guarded(tmp_path):
    """A server with two users."""
    config = tmp_path / "nats.conf"
    config.write_text(USERS % {"secret": CANARY})
    process = NatsProcess(tmp_path / "store", "--config", str(config))
    process.nats = NatsServer(process.url.replace("//", f"//all:{CANARY}@"))
    with process:
        yield process


def test_a_refusal_of_password_or_right_is_permanent(guarded):
    error = refusal_of(guarded.url.replace("//", f"//all:{CANARY}-wrong@"))
    assert not error.passes
    assert str(error) == f"it refuses user, password or token (127.0.0.1:{guarded.port})"
    error = failure_of(guarded.url.replace("//", f"//some:{CANARY}@"))
    assert not error.passes
    assert str(error).lower().startswith("missing right: permissions violation for publish to ")
    assert "$js.api.info" in str(error).lower()


@pytest.mark.parametrize(
    ("option", "user"),
    [
        ('user: "ü@", password: "a/b:%,"', "%C3%BC%40:a%2Fb%3A%25%2C"),
        ('token: "a/b:%,"', "a%2Fb%3A%25%2C"),
    ],
)
def test_user_password_and_token_may_be_percent_encoded(tmp_path, option, user):
    config = tmp_path / "nats.conf"
    config.write_text(f"authorization {{{option}}}", encoding="utf-8")
    process = NatsProcess(tmp_path / "store", "--config", str(config))
    process.nats = NatsServer(process.url.replace("//", f"//{user}@"))
    with process:
        assert "streams" in process.nats.ask("INFO")


def test_a_server_without_jetstream_is_waited_for(tmp_path):
    with NatsProcess(tmp_path, jetstream=False) as process:
        error = failure_of(process.url)
    assert error.passes
    assert str(error) == f"JetStream is not available (127.0.0.1:{process.port})"


def start_asking(nats):
    """Start a request to a frozen server, and return it once it is sent."""
    client = nats.nats._link.client
    before = client.stats["out_msgs"]
    asking = Running(lambda: nats.nats.ask("INFO"))
    wait_for(lambda: client.stats["out_msgs"] > before)
    return asking


def test_a_lost_connection_ends_a_request_at_once(own_nats):
    own_nats.freeze()
    asking = start_asking(own_nats)
    own_nats.kill()
    assert "the connection was lost" in str(asking.outcome())
    own_nats.start()
    assert own_nats.nats.ask("INFO")


def test_closing_ends_a_request_at_once(own_nats):
    own_nats.freeze()
    asking = start_asking(own_nats)
    own_nats.nats.close()
    assert str(asking.outcome()) == "the connection is closed"


def test_closing_ends_an_attempt_to_connect(own_nats):
    own_nats.freeze()
    server = NatsServer(own_nats.url)
    asking = Running(lambda: server.ask("INFO"))
    wait_for(server._connecting.locked)
    server.close()
    assert str(asking.outcome()) == "the connection is closed"


def test_a_resolver_that_hangs_does_not_delay_the_exit(nats):
    process = Process(
        [sys.executable, "-c", HANGING_RESOLVER], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    try:
        shown, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert shown.split() == [b"resolving", b"closed"]


def test_a_name_is_resolved(nats):
    server = NatsServer(nats.url.replace("127.0.0.1", "localhost"))
    assert "streams" in server.ask("INFO")
    server.close()
    assert str(failure_of("nats://nats.invalid")).endswith("(nats.invalid:4222)")


def test_a_server_that_is_frozen_is_left(own_nats, short_timeouts):
    own_nats.freeze()
    for _ in range(2):  # it accepts a second connection
        with pytest.raises(NatsError, match="no reply in time") as caught:
            own_nats.nats.ask("INFO")
        assert caught.value.passes
    own_nats.thaw()
    assert own_nats.nats.ask("INFO")


def test_a_connection_that_nats_py_closes_silently_is_noticed(own_nats, monkeypatch):
    own_nats.freeze()
    asking = start_asking(own_nats)
    monkeypatch.setattr(own_nats.nats._client_class, "is_closed", property(lambda _: True))
    assert "the connection was lost" in str(asking.outcome())


def test_a_request_that_cannot_be_sent_ends(own_nats, monkeypatch):
    monkeypatch.setattr(connection_module, "_LONGEST_REQUEST", 0.2)
    own_nats.freeze()
    with pytest.raises(NatsError, match="no reply in time"):
        own_nats.nats.ask("INFO")


@pytest.fixture
def encrypted(tmp_path, monkeypatch):
    """A server with TLS, whose certificate authority the system trusts."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    options = [
        "--tls",
        "--tlscert",
        str(tmp_path / "cert.pem"),
        "--tlskey",
        str(tmp_path / "key.pem"),
    ]
    process = NatsProcess(tmp_path / "store", *options)
    process.nats = NatsServer(process.url.replace("nats:", "tls:"))
    with process:
        yield process


def test_tls_needs_a_certificate_of_a_known_authority(encrypted, monkeypatch):
    assert "streams" in encrypted.nats.ask("INFO")
    monkeypatch.delenv("SSL_CERT_FILE")
    error = failure_of(encrypted.url.replace("nats://", f"tls://u:{CANARY}@"))
    assert str(error).startswith("TLS: unable to get local issuer certificate (127.0.0.1:")


def test_no_password_is_sent_without_tls_to_a_server_that_should_have_it(nats):
    error = failure_of(nats.url.replace("nats://", f"tls://u:{CANARY}@"))
    assert str(error) == f"the server does not offer TLS (127.0.0.1:{nats.port})"
    assert not error.passes


def test_what_it_uses_of_nats_py_that_has_no_public_name_is_there(nats):
    assert nats.nats.ask("INFO")
    client = nats.nats._link.client
    assert client._server_info["max_payload"] == client.max_payload
    assert callable(super(type(client), client)._connect_command)
    assert callable(client._transport._io_writer.transport.abort)


@each_of(
    ("error", "shown"),
    [
        (OSError(errno.ECONNREFUSED, f"to {CANARY}"), "ConnectionRefusedError (h:1)"),
        (OSError(errno.EHOSTUNREACH, f"to {CANARY}"), f"{os.strerror(errno.EHOSTUNREACH)} (h:1)"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known (h:1)"),
        (OSError("Multiple exceptions"), "OSError (h:1)"),
        (ssl.SSLError(1, "x"), "TLS: the handshake failed (h:1)"),
        (asyncio.TimeoutError(), "no reply in time (h:1)"),
        (ValueError(CANARY), "ValueError (h:1)"),
    ],
)
def test_a_failure_names_the_server_and_the_reason(error, shown):
    assert str(from_exception(error, "h:1")) == shown


@each_of(
    ("status", "code", "passes"),
    [
        (503, 10008, True),
        (503, 10039, False),
        (429, 10167, True),
        (400, 10058, True),
        (400, 10071, False),
        (404, 10059, False),
    ],
)
def test_an_error_of_jetstream_passes_or_not(status, code, passes):
    error = from_reply({"code": status, "err_code": code, "description": "why\x1b"})
    assert (error.passes, error.code) == (passes, code)
    assert str(error) == f"JetStream: why? ({code})"


@each_of("reply", [b"", b"thanks", b"[1]"])
def test_a_reply_of_another_program_is_a_failure(reply):
    with pytest.raises(NatsError, match="not one of JetStream") as caught:
        parse_reply(reply)
    assert caught.value.passes


def test_a_complaint_that_concerns_no_request_is_ignored():
    assert from_complaint("nats: 'maximum connections exceeded'") is None
    text = str(from_complaint("nats: 'Permissions Violation for Publish to \"a\x1b\"'"))
    assert text == 'missing right: Permissions Violation for Publish to "a?"'
