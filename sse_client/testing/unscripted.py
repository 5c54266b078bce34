"""Fails a request for which a test has no response, instead of letting it hang."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sse_client.testing.request import HEADER_ENCODING

if TYPE_CHECKING:
    from sse_client.testing.exchange import Exchange

#: How long a request waits for `accept`, in seconds: far longer than a test needs to call it.
UNSCRIPTED_TIMEOUT = 5.0

#: A status after which clients do not retry, unlike most others from 500 on.
_STATUS = 501


class UnscriptedRequestError(Exception):
    """A request arrived for which nothing was queued, and no handler or `accept` took it.

    The server raises it when it stops, so that the test fails.
    """


def refuse(exchange: Exchange, number: int, timeout: float) -> UnscriptedRequestError:
    """Respond to a request that has waited too long, and return the error for the test.

    Args:
        exchange: The request.
        number: Its number on this server, from 1.
        timeout: How long it has waited, in seconds.
    """
    request = exchange.request
    name = f"request {number} ({request.method} {request.path})"
    reason = f"No response was scripted for {name}"
    body = (
        f"{reason}, and the test did not accept it within {timeout:g} s.\n"
        "Queue one with serve(), respond() or redirect(), or set a handler.\n"
    )
    head = (
        f"HTTP/1.1 {_STATUS} {reason}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body.encode(*HEADER_ENCODING))}\r\n"
        "Connection: close\r\n\r\n"
    )
    with contextlib.suppress(ConnectionError):
        exchange.write_raw((head + body).encode(*HEADER_ENCODING))
        exchange.end()
    return UnscriptedRequestError(body.strip().replace("\n", " "))
