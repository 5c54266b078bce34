"""A request that is about to be sent, as plugins see it, and its callable values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class PendingRequest(requests.Request):
    """A ``requests.Request`` that is about to be sent. It may be cancelled before that."""

    #: Raises an error if the session or the client is closed. A hook that waits should call it from
    #: time to time, and let its errors pass.
    raise_if_aborted: Callable[[], None]

    #: The names of headers that a redirect to another origin removes: those of the call and of
    #: ``DefaultRequest``, except a few that contain no secrets. ``Authorization`` and ``Cookie``
    #: are always removed. A plugin may add names.
    private_headers: frozenset[str] = frozenset()


#: Headers without secrets, which a redirect takes to any origin.
_PUBLIC_HEADERS = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control"),
        *("content-encoding", "content-language", "content-type", "last-event-id", "pragma"),
        *("user-agent",),
    }
)


def private_names(headers: Mapping[str, Any]) -> set[str]:
    """Return the names of the headers that may contain a secret, such as an API key."""
    return {
        name
        for name, value in headers.items()
        if callable(value) or name.lower() not in _PUBLIC_HEADERS
    }


def resolve_values(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the pairs, with each callable value replaced by its result."""
    pairs = cast("Mapping[str, Any]", values).items() if hasattr(values, "items") else values
    return [(name, value() if callable(value) else value) for name, value in pairs]
