"""The event stream that is relayed: opening it, and its identity."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sse_client import SSE, SSEConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sse_client import HttpClient, SSESession
    from sse_client.relay.leased_relay import LeasedRelay

logger = logging.getLogger("sse_client")

#: Options of a stream that the relay sets itself.
_OPTIONS = frozenset(field.name for field in dataclasses.fields(SSEConfig))
_OWN = (
    *("cursor", "auto_acknowledge", "overflow", "types", "deserialize"),
    *("show_comment_events", "show_retry_events"),
)


class StreamSource:
    """An event stream that can be opened after any ID.

    Args:
        client: The client that opens it.
        url: Its address.
        arguments: The other arguments of ``client.sse``.

    Raises:
        TypeError, ValueError: An argument is wrong, or is one that the relay sets itself.
    """

    def __init__(self, client: HttpClient, url: str, arguments: Mapping[str, object]) -> None:
        given: dict[str, Any] = dict(arguments)
        for name in _OWN:
            if name in given:
                raise TypeError(
                    f"{name} cannot be given: a relay keeps the position itself and relays text"
                )
        options = {name: value for name, value in given.items() if name in _OPTIONS}
        self._client = client
        config = client.plugin(SSE).config.replace(options)
        self._url = url
        self.begin_after = config.last_event_id
        self._on_open = config.on_open
        self._on_disconnect = config.on_disconnect
        # The first connection of a relay may fail like any other.
        self._arguments: dict[str, Any] = {"retry_first_connection": True, **given}
        self.shown = address_without_secrets(url)
        #: Distinguishes two streams, also by their queries, without containing these.
        self.identity = f"{self.shown} {_digest(url)}"

    def open(self, last_event_id: str, relay: LeasedRelay) -> SSESession:
        """Open it after this ID, and report each connection to the relay. Blocks until it is open.

        Raises:
            SSEClientError: As ``client.sse`` does.
        """

        def on_open(session: SSESession) -> None:
            relay.opened(session)
            _call(self._on_open, session)

        def on_disconnect(
            session: SSESession, error: Exception | None, delay: float | None
        ) -> None:
            relay.disconnected(session, error)
            _call(self._on_disconnect, session, error, delay)

        session: SSESession = self._client.sse(
            self._url,
            **{
                **self._arguments,
                "last_event_id": last_event_id,
                "cursor": None,
                "types": None,
                "deserialize": None,
                "show_comment_events": False,
                "show_retry_events": False,
                "overflow": "block",
                "on_open": on_open,
                "on_disconnect": on_disconnect,
            },
        )
        return session


def address_without_secrets(url: str) -> str:
    """Return an address without user info, query and fragment.

    Raises:
        TypeError, ValueError: It is not an address; the message doesn't repeat it.
    """
    given: object = url
    if not isinstance(given, str):
        raise TypeError(f"url must be a str, not {type(given).__name__}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("url can't be parsed") from None
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def warn_of_another(stream: str, identity: str, other: str) -> None:
    """Warn if another address is relayed into the same Redis Stream, or was before.

    Args:
        stream: The key of the Redis Stream.
        identity: The identity of a source.
        other: The identity of the source that was relayed before, ``""`` if it is unknown.
    """
    if not other or other == identity:
        return
    shown, before = identity.partition(" ")[0], other.partition(" ")[0]
    logger.warning(
        "%r: relayed from %s, but before from %s%s: each continues at the position of the other",
        stream,
        shown,
        before,
        " with another query" if shown == before else "",
    )


def _digest(url: str) -> str:
    """Return a digest of the address without user info."""
    parts = urlsplit(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _call(hook: Callable[..., object] | None, *arguments: object) -> None:
    if hook is not None:
        hook(*arguments)
