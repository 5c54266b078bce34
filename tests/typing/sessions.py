"""The types of sessions, checked by mypy and pyright, never run.

Each ignored line must be an error, because both report an ignore that is not needed.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

from sse_client import (
    SSE,
    BearerAuth,
    HttpClient,
    IncomingChannel,
    MergedSessions,
    ServerSentEvent,
    SSESession,
    TypedServerSentEvent,
    merge,
)

URL = "http://127.0.0.1:8080/events"


@dataclass
class Customer:
    """A type of the data of events."""

    name: str


@dataclass
class Product:
    """Another one."""

    price: float


def data_of(session: SSESession) -> str:
    """Accept a session of plain events. The annotation needs no parameter."""
    return session.incoming.get().data


def name_of(session: SSESession[TypedServerSentEvent[Customer]]) -> str:
    """Accept a typed session."""
    return session.incoming.get().data.name


def untyped(client: HttpClient) -> None:
    """Follow a stream without types."""
    session = client.sse(URL, reconnection_time=1.0)
    assert_type(session, SSESession)
    assert_type(session, SSESession[ServerSentEvent])
    assert_type(session.incoming, IncomingChannel[ServerSentEvent])
    for event in session.incoming:
        assert_type(event, ServerSentEvent)
        assert_type(event.data, str)
    assert_type(session.deserialize(Customer, "{}"), Customer)
    assert_type(session.deserialize(list[Customer], "[]"), list[Customer])
    with client.sse_session(URL) as entered:
        assert_type(entered, SSESession)
    assert_type(client.sse(URL, block=data_of), str)
    client.sse(URL, params={"symbol": ["A", "B"], "page": [1, 2], "tick": lambda: 0.5})
    client.get(URL, params={"symbol": ["A", "B"], "page": [1, 2], "since": 1.5})
    client.sse(URL, params={"page": object()})  # type: ignore[dict-item]
    client.sse(URL, type=Customer)  # type: ignore[call-overload]
    client.sse(URL, types=1)  # type: ignore[call-overload]
    client.sse(URL).incoming.get().data.name  # type: ignore[attr-defined]
    session.deserialize(Customer, b"{}")  # type: ignore[arg-type]


def one_type(client: HttpClient) -> None:
    """Follow a stream with one type for all events."""
    with client.sse(URL, types=Customer, capacity=1) as session:
        assert_type(session, SSESession[TypedServerSentEvent[Customer]])
        for event in session.incoming:
            assert_type(event, TypedServerSentEvent[Customer])
            assert_type(event.data, Customer)
            assert_type(event.source, ServerSentEvent | None)
            event.data.price  # type: ignore[attr-defined]
            event.id = "1"  # type: ignore[misc]
            session.acknowledge(event)
        assert_type(session.incoming.get(timeout=1).data, Customer)
        assert_type(session.incoming.get_nowait().data, Customer)
        assert_type(name_of(session), str)
        data_of(session)  # type: ignore[arg-type]
    assert_type(client.sse(URL, types=Customer, block=name_of), str)
    both = client.sse(URL, types=Customer | Product)
    assert_type(both.incoming.get().data, Customer | Product)
    several = client.sse(URL, types=list[Customer])
    assert_type(several.incoming.get().data, list[Customer])


def with_comments(client: HttpClient) -> None:
    """Follow a stream in which some events have no data, and so no type."""
    session = client.sse(URL, types=Customer, show_comment_events=True)
    event = session.incoming.get()
    assert_type(event, TypedServerSentEvent[Customer] | ServerSentEvent)
    if isinstance(event, TypedServerSentEvent):
        assert_type(event.data, Customer)
    event.data.name  # type: ignore[union-attr]


def by_name(client: HttpClient) -> None:
    """Follow one with types by the names of events."""
    session = client.sse(URL, types={"customer": Customer, "product": Product | None})
    assert_type(session, SSESession[TypedServerSentEvent[object] | ServerSentEvent])
    for event in session.incoming:
        if isinstance(event.data, Customer):
            assert_type(event.data.name, str)
        elif isinstance(event.data, Product):
            assert_type(event.data.price, float)
        event.data.name  # type: ignore[attr-defined]
    client.sse(URL, types={1: Customer})  # type: ignore[dict-item]


def several(client: HttpClient) -> None:
    """Follow several streams in one loop."""
    plain, typed = client.sse(URL), client.sse(URL, types=Customer)
    assert_type(merge([plain]), MergedSessions[ServerSentEvent])
    for session, event in merge([typed, typed]):
        assert_type(session, SSESession[TypedServerSentEvent[Customer]])
        assert_type(event.data, Customer)
    merge(plain)  # type: ignore[arg-type]


def values() -> None:
    """Create events, and widen their types."""
    event = TypedServerSentEvent(Customer("Ada"), event="customer")
    assert_type(event, TypedServerSentEvent[Customer])
    widened(event)


def widened(event: TypedServerSentEvent[object]) -> None:
    """Accept an event with data of any type."""
    assert_type(event.data, object)


def options(own: Any) -> None:
    """Pass the options to the plugin."""
    SSE(types={"customer": Customer}, deserialize="json", show_retry_events=True)
    SSE(deserialize=own)
    SSE(deserialize="yaml")  # type: ignore[arg-type]


def plugins_check_their_options(client: HttpClient) -> None:
    client.install(SSE, reconnection_time=3, types=Customer)
    client.install(SSE, reconection_time=3)  # type: ignore[call-arg]
    client.install(SSE, reconnection_time="3 s")  # type: ignore[arg-type]
    client.install(BearerAuth, load=lambda: "a token", refresh=lambda: "another")
    client.install(BearerAuth, lod=lambda: "a token")  # type: ignore[call-arg]
    client.install(Greeting, greeting="hello")
    client.install(Greeting, greeting=3)  # type: ignore[arg-type]


class Greeting:
    """A user's plugin."""

    def __init__(self, *, greeting: str) -> None:
        """Accept an option."""
