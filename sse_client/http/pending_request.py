"""A request that is about to be sent, as plugins see it, and the callable values in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class PendingRequest(requests.Request):
    """A request of requests that is about to be sent, and that may be called off meanwhile."""

    #: Raises once the session or the client was closed. A hook that waits asks it now and then, and
    #: lets through what it raises.
    raise_if_aborted: Callable[[], None]

    #: The names of the headers that no redirect takes to another origin: those of the call and of
    #: ``DefaultRequest``, except for a few that hold no secrets. ``Authorization`` and ``Cookie``
    #: are among them in any case. A plugin may add its own.
    private_headers: frozenset[str] = frozenset()


#: Headers that hold no secret, so that a redirect takes them to any origin.
_PUBLIC_HEADERS = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control"),
        *("content-encoding", "content-language", "content-type", "last-event-id", "pragma"),
        *("user-agent",),
    }
)


def private_names(headers: Mapping[str, Any]) -> set[str]:
    """Return the names of the headers that may hold a secret, as a token or an API key."""
    return {
        name
        for name, value in headers.items()
        if callable(value) or name.lower() not in _PUBLIC_HEADERS
    }


def resolve_values(values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the pairs with each callable value replaced by what it returns now."""
    pairs = cast("Mapping[str, Any]", values).items() if hasattr(values, "items") else values
    return [(name, value() if callable(value) else value) for name, value in pairs]
