"""Which versions of HTTP a server offers over TLS (ALPN, RFC 7301)."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sse_client.cli.checking.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 5.0
_PORT = 443


def about_versions(url: str) -> Iterator[Finding]:
    """Yield a conclusion on the versions that a server offers. Blocks for a handshake."""
    limit = "Browsers open at most six connections to a host over HTTP/1.1."
    parts = urlsplit(url)
    if parts.scheme.lower() != "https":
        yield Finding(
            "http",
            "note",
            "Browsers use HTTP/1.1 without TLS, with at most six connections to a host.",
        )
    elif _offers_http2(parts.hostname or "", parts.port or _PORT):
        yield Finding("http", "ok", "The server also offers HTTP/2.")
    else:
        yield Finding("http", "note", f"The server does not offer HTTP/2. {limit}")


def _offers_http2(host: str, port: int) -> bool:
    # Nothing is sent over this connection, so the certificate is not checked again.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.suppress(OSError):
        raw = socket.create_connection((host, port), timeout=_TIMEOUT)
        with raw, context.wrap_socket(raw, server_hostname=host) as secured:
            return secured.selected_alpn_protocol() == "h2"
    return False
