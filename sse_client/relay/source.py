"""The event stream that is relayed: how it is opened, again and again, and what it is called."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sse_client import SSE, SSEConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sse_client import HttpClient, SSESession
    from sse_client.relay.leased_relay import LeasedRelay

#: Options of a stream that are the relay's own.
_OPTIONS = frozenset(field.name for field in dataclasses.fields(SSEConfig))
_OWN = (
    *("cursor", "auto_acknowledge", "overflow", "types", "deserialize"),
    *("show_comment_events", "show_retry_events"),
)


class StreamSource:
    """An event stream that can be opened behind any ID.

    Args:
        client: The client to open it with.
        url: Its address.
        arguments: What else ``client.sse`` is given.

    Raises:
        TypeError, ValueError: An argument is wrong, or the relay's own.
    """

    def __init__(self, client: HttpClient, url: str, arguments: Mapping[str, object]) -> None:
        given: dict[str, Any] = dict(arguments)
        for name in _OWN:
            if name in given:
                raise TypeError(
                    f"{name} cannot be given: a relay keeps the position, and hands on texts alone"
                )
        options = {name: value for name, value in given.items() if name in _OPTIONS}
        self._client = client
        config = client.plugin(SSE).config.replace(options)
        self._url = url
        self.begin_after = config.last_event_id
        self._on_open = config.on_open
        self._on_disconnect = config.on_disconnect
        # The first connection of a relay may as well fail as any other.
        self._arguments: dict[str, Any] = {"retry_first_connection": True, **given}
        self.shown = address_without_secrets(url)

    def open(self, last_event_id: str, relay: LeasedRelay) -> SSESession:
        """Open it behind this ID, and report each connection to the relay. Blocks until it is open.

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
        TypeError, ValueError: It is none; the message doesn't repeat it.
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


def _call(hook: Callable[..., object] | None, *arguments: object) -> None:
    if hook is not None:
        hook(*arguments)
