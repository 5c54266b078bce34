"""Reports failures of a command, and determines its exit status.

A message never contains a header, user info or a query that was typed. It may show the body of a
response, in which the server explains a refusal.
"""

from __future__ import annotations

import re
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

from sse_client import (
    ConnectionFailedError,
    CursorExpiredError,
    ReconnectionExhaustedError,
    StreamInterruptedError,
    UnexpectedContentTypeError,
    UnexpectedStatusError,
)
from sse_client.cli.output import complain, complain_in_detail
from sse_client.cli.terminal import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

FAILED = 1
NO_RESPONSE = 3
REFUSED = 4
CUT_OFF = 5

#: The maximum part of the body of a refusal that is shown.
_MOST_LINES = 12
_MOST_CHARACTERS = 1000

#: OpenSSL's reasons if the received bytes are not TLS.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}

#: OpenSSL's codes for problems of a certificate.
_EXPIRED = {9, 10}
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21}

#: The part of a message that names an option which the command does not have.
_LIBRARY_ADVICE = re.compile(r" \(the option content_types admits others\)")

#: The responses of servers to HTTP on a port for HTTPS.
_WANTS_HTTPS = re.compile(b"HTTP request.{0,40}HTTPS|client sent an HTTP request", re.IGNORECASE)


def status_of(error: BaseException | None) -> int:
    """Return the exit status for a failure."""
    if isinstance(error, ReconnectionExhaustedError):
        # If the stream ended each time, there is no cause.
        return CUT_OFF if error.last_cause is None else status_of(error.last_cause)
    if isinstance(error, ConnectionFailedError):
        return NO_RESPONSE
    if isinstance(error, UnexpectedStatusError | UnexpectedContentTypeError):
        return REFUSED
    if isinstance(error, StreamInterruptedError):
        return CUT_OFF
    return FAILED


def report(error: BaseException, name: str = "") -> int:
    """Report a failure on standard error, and return the exit status for it.

    Args:
        error: The error.
        name: The name of the stream, if there are several.
    """
    message = _LIBRARY_ADVICE.sub("", str(error))
    complain(f"{name}: {message}" if name else message)
    cause = error.last_cause if isinstance(error, ReconnectionExhaustedError) else None
    source = cause or error
    if isinstance(source, UnexpectedStatusError | UnexpectedContentTypeError):
        for line in excerpt(source.body, is_truncated=source.body_is_truncated):
            complain_in_detail(line)
    for note in getattr(error, "__notes__", ()):
        complain_in_detail(note)
    for hint in _hints(source):
        complain_in_detail(f"hint: {hint}")
    return status_of(error)


def excerpt(body: bytes, *, is_truncated: bool) -> Iterator[str]:
    """Yield the first lines of a body, without characters that control a terminal."""
    text = body.decode("utf-8", "replace")
    if "\0" in text or text.count("\ufffd") > len(text) // 10 + 1:
        yield f"({len(body)} bytes that are not text)"
        return
    lines = [line.rstrip() for line in text[:_MOST_CHARACTERS].splitlines() if line.strip()]
    yield from map(escape_controls, lines[:_MOST_LINES])
    if len(text) > _MOST_CHARACTERS or len(lines) > _MOST_LINES or is_truncated:
        yield "..."


def _hints(error: BaseException) -> Iterator[str]:
    if isinstance(error, ConnectionFailedError):
        yield from _tls_hints(error)
    if isinstance(error, UnexpectedStatusError) and not isinstance(error, CursorExpiredError):
        if error.status_code == HTTPStatus.UNAUTHORIZED:
            yield "log in with -u USER:PASSWORD, or send a token with --bearer-env VAR"
        elif error.status_code == HTTPStatus.BAD_REQUEST and _WANTS_HTTPS.search(error.body):
            yield "the server speaks TLS on this port: try https://"


def _tls_hints(error: ConnectionFailedError) -> Iterator[str]:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        yield _certificate_hint(cause.verify_code)
    elif isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") in _NOT_TLS:
        yield "the response is not TLS: if the server speaks plain HTTP, use http://"
    elif "\\x15\\x03" in str(error) or "\\x15\\x03" in str(cause):
        # The beginning of a TLS alert, instead of the status line.
        yield "the server speaks TLS on this port: try https://"


def _certificate_hint(code: int) -> str:
    if code in _EXPIRED:
        return "check the clock of this machine and the dates of the certificate"
    if code in _UNKNOWN_AUTHORITY:
        return "--cacert FILE trusts the authority that signed it; --insecure disables the check"
    return "the certificate must be for the host of the URL; --insecure disables the check"
