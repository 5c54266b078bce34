"""Tools for testing code that uses event streams: servers that a test scripts, and a clock.

`SSEServer` accepts real connections. The test determines the responses, byte by byte if needed::

    with SSEServer() as server:
        server.serve(["one", "two"], then="reset")
        server.serve(["three"], then="stall")
        ...  # run a client against server.url

It uses only the standard library, and works with any client.
`InMemoryServer` takes the same script without a socket, below `HttpClient` or requests. With a
`ManualClock` the waits between reconnections take no time::

    clock = ManualClock()
    with InMemoryServer(clock=clock) as server, server.client() as client:
        server.serve(["one"], then="reset")
        server.serve(["two"], then="stall")
        with client.sse("https://api.example.com/events") as session:
            assert clock.advance_to_next() == 3.0
            assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]

pytest has the fixtures ``sse_server``, ``sse_memory`` and ``sse_clock``.
"""

from __future__ import annotations

from sse_client.testing.clock import ManualClock
from sse_client.testing.exchange import Exchange
from sse_client.testing.memory_server import InMemoryServer
from sse_client.testing.request import RecordedRequest
from sse_client.testing.server import SSEServer
from sse_client.testing.unscripted import UnscriptedRequestError

__all__ = [
    "Exchange",
    "InMemoryServer",
    "ManualClock",
    "RecordedRequest",
    "SSEServer",
    "UnscriptedRequestError",
]
