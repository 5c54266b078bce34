"""Get the data of events as objects, by the names of the events.

    python examples/typed.py http://127.0.0.1:8080/events

Without an address it follows a server of its own. It needs neither pydantic nor msgspec; with one
of them the types may be that one's models, too.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from sse_client import SSE, DeserializationError, HttpClient, ServerSentEvent
from sse_client.testing import SSEServer


@dataclass
class Customer:
    """The data of an event "customer"."""

    id: int
    first_name: str
    last_name: str


@dataclass
class Product:
    """The data of an event "product"."""

    id: int
    prices: list[int]


def follow(url: str) -> None:
    """Print what comes, and go on behind what cannot be decoded."""
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
    """Follow the address given, or a server of our own."""
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
        server.respond(204)  # there are no more
        follow(server.url_for("/events"))


if __name__ == "__main__":
    main()
