"""How to test code that follows a stream, without a network and without waiting.

    pytest examples/test_my_code.py

The fixtures ``sse_memory`` (a server without a socket) and ``sse_clock`` (a clock that the test
advances) come with sse_client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sse_client import UnexpectedStatusError

if TYPE_CHECKING:
    from sse_client import HttpClient
    from sse_client.testing import InMemoryServer, ManualClock

ORDERS = "https://shop.example.com/orders"


def total_of_orders(client: HttpClient, token: str) -> int:
    """Add up the orders of a day: the code under test."""
    total = 0
    headers = {"Authorization": f"Bearer {token}"}
    with client.sse(ORDERS, headers=headers, end_of_stream="end of day") as session:
        for event in session.incoming:
            if event.event == "order":
                total += event.json()["cents"]
            elif event.event == "cancel":
                total -= event.json()["cents"]
    return total


def test_adds_orders_and_subtracts_cancellations(sse_memory: InMemoryServer) -> None:
    sse_memory.serve(
        [
            b'event: order\ndata: {"cents": 500}\n\n',
            b'event: order\ndata: {"cents": 250}\n\n',
            b'event: cancel\ndata: {"cents": 500}\n\n',
            "end of day",
        ]
    )
    with sse_memory.client() as client:
        assert total_of_orders(client, "T1") == 250
    assert sse_memory.requests[0].headers["Authorization"] == "Bearer T1"


def test_counts_no_order_twice_when_the_connection_breaks(
    sse_memory: InMemoryServer, sse_clock: ManualClock
) -> None:
    sse_memory.serve([b'retry: 0\nid: 1\nevent: order\ndata: {"cents": 500}\n\n'], then="reset")
    sse_memory.serve([b'id: 2\nevent: order\ndata: {"cents": 250}\n\n', "end of day"])
    with sse_memory.client() as client:
        assert total_of_orders(client, "T1") == 750
    assert [request.last_event_id for request in sse_memory.requests] == [None, "1"]
    assert sse_clock.monotonic() == 0  # nothing had to wait


def test_raises_for_a_wrong_token(sse_memory: InMemoryServer) -> None:
    sse_memory.respond(401)
    with sse_memory.client() as client, pytest.raises(UnexpectedStatusError) as caught:
        total_of_orders(client, "wrong")
    assert caught.value.status_code == 401
