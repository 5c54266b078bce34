"""Get the data of events as objects, by event name.

    python examples/typed.py http://127.0.0.1:8080/events

Without an address it follows its own server. It needs neither pydantic nor msgspec. With one of
them, the types may also be its models.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from sse_client import SSE, DeserializationError, HttpClient, ServerSentEvent
from sse_client.testing import SSEServer


@dataclass
class Customer:
    """The data of a "customer" event."""

    id: int
    first_name: str
    last_name: str


@dataclass
class Product:
    """The data of a "product" event."""

    id: int
    prices: list[int]


def follow(url: str) -> None:
    """Print the events, and skip those that cannot be decoded."""
    types = {"customer": Customer, "product": Product}
    with HttpClient().install(SSE) as client, client.sse(url, types=types) as session:
        while True:
            try:
                event = next(session.incoming)
            except StopIteration:
                break
            except DeserializationError as error:
                print("skipped:", error)
                continue
            match event.data:
                case Customer(first_name=first_name, last_name=last_name):
                    print("customer:", first_name, last_name)
                case Product(prices=prices):
                    print("product:", *prices)
                case text:
                    print(f"{event.event}:", text)


def main() -> None:
    """Follow the given address, or our own server."""
    if len(sys.argv) > 1:
        follow(sys.argv[1])
        return
    customer = '{"id": 1, "first_name": "Jet", "last_name": "Brains"}'
    with SSEServer() as server:
        server.serve(
            [
                ServerSentEvent(customer, event="customer", retry=100),
                ServerSentEvent('{"id": 2, "prices": [100, 200]}', event="product"),
                ServerSentEvent('{"id": "none"}', event="product"),
                "plain text",
            ]
        )
        server.respond(204)  # no more events
        follow(server.url_for("/events"))


if __name__ == "__main__":
    main()
