"""The failures of NATS and JetStream, in words that contain no secrets."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from typing import Any

from sse_client import SSEClientError

#: The texts with which a server refuses user or password, or a right.
_REFUSALS = ("authorization violation", "authentication expired", "authentication revoked")
_PERMISSIONS = "permissions violation"

#: JetStream's codes of errors that pass: no leader, no room, too many requests.
_PASSING = frozenset({408, 429})
_FIRST_OF_SERVER = 500

#: JetStream's codes of requests that it will never fulfil: it is not enabled for the account.
_NOT_ENABLED = frozenset({10039})

#: JetStream's code of a stream that exists already: another relay has just created it.
_EXISTS = 10058

#: JetStream's codes of a stream that doesn't exist, and of a message that doesn't.
NO_STREAM = 10059
NO_MESSAGE = 10037

#: JetStream's code of a new stream whose name another stream has, with another configuration.
NAME_IN_USE = 10058

#: JetStream's codes of a write whose condition is not met: the last sequence number, the last
#: message ID, and an atomic batch of which it has lost messages or the beginning.
UNMET = frozenset({10071, 10164, 10070, 10176})

#: Longer texts contain nothing more that is useful.
_LONGEST_TEXT = 300


class NatsError(SSEClientError):
    """NATS or JetStream fails, or refuses.

    Attributes:
        passes: Whether another attempt may succeed.
        code: JetStream's code of the error (``err_code``), 0 if it has none.
    """

    def __init__(self, message: str, *, passes: bool, code: int = 0) -> None:
        super().__init__(message)
        self.passes = passes
        self.code = code


class NoRespondersError(NatsError):
    """Nobody subscribes to the subject: JetStream is not available, or the stream is gone."""

    def __init__(self, server: str) -> None:
        super().__init__(f"JetStream is not available ({server})", passes=True)


def parse_reply(reply: bytes) -> dict[str, Any]:
    """Return the content of a reply of JetStream.

    Raises:
        NatsError: It is not one of JetStream. Another program may subscribe to the subject.
    """
    try:
        found = json.loads(reply)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NatsError("a reply that is not one of JetStream", passes=True)
    return found


def from_reply(error: dict[str, object]) -> NatsError:
    """Return the error that JetStream has replied."""
    status, code = int(str(error.get("code", 0))), int(str(error.get("err_code", 0)))
    passes = status >= _FIRST_OF_SERVER or status in _PASSING or code == _EXISTS
    text = _printable(str(error.get("description", "")))
    passes = passes and code not in _NOT_ENABLED
    return NatsError(f"JetStream: {text} ({code})", passes=passes, code=code)


def from_complaint(text: str) -> NatsError | None:
    """Return the error for a complaint of a server, None if it concerns no request."""
    shown = _printable(text.removeprefix("nats: ").strip("'"))
    lower = shown.lower()
    if any(each in lower for each in _REFUSALS):
        return NatsError("it refuses user, password or token", passes=False)
    if _PERMISSIONS in lower:
        return NatsError(f"missing right: {shown}", passes=False)
    return None


def from_exception(error: BaseException, server: str) -> NatsError:
    """Return the error for one of nats-py or of the system, with host and port of the server."""
    found = from_complaint(str(error))
    if found is not None:
        return NatsError(f"{found} ({server})", passes=False)
    if type(error).__name__ == "SecureConnWantedError":  # of nats-py
        return NatsError(f"the server does not offer TLS ({server})", passes=False)
    if isinstance(error, asyncio.TimeoutError):
        return NatsError(f"no reply in time ({server})", passes=True)
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "")
        reason = reason or "the handshake failed"
        return NatsError(f"TLS: {reason} ({server})", passes=True)
    reason = type(error).__name__
    if isinstance(error, socket.gaierror):
        reason = error.strerror or reason
    elif type(error) is OSError and error.errno:  # asyncio repeats the address in strerror
        reason = os.strerror(error.errno)
    return NatsError(f"{reason} ({server})", passes=True)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:_LONGEST_TEXT])
