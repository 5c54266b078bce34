"""Tools for testing code that uses event streams: a real server on the loopback interface.

`SSEServer` accepts real connections, and the test says, byte by byte if it likes, what they get::

    with SSEServer() as server:
        server.serve(["one", "two"], then="reset")
        server.serve(["three"], then="stall")
        ...  # run a client against server.url

Standard library only; it knows nothing about the client under test.
"""

from __future__ import annotations

from sse_client.testing.exchange import Exchange
from sse_client.testing.request import RecordedRequest
from sse_client.testing.server import SSEServer

__all__ = ["Exchange", "RecordedRequest", "SSEServer"]
