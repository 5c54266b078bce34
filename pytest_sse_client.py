"""The fixtures of sse_client for pytest, which finds them through the entry point ``pytest11``.

pytest imports this at each start, in every environment in which sse_client is installed, whether
its tests need it or not. So it is no module of the package, whose import takes requests and threads
along: it imports that once a test has asked for a fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client.testing import InMemoryServer, ManualClock, SSEServer


@pytest.fixture
def sse_server() -> Iterator[SSEServer]:
    """A real server on 127.0.0.1 that the test scripts, started; it is stopped after the test."""
    from sse_client.testing import SSEServer

    with SSEServer() as server:
        yield server


@pytest.fixture
def sse_clock() -> ManualClock:
    """A clock that stands still until the test moves it."""
    from sse_client.testing import ManualClock

    return ManualClock()


@pytest.fixture
def sse_memory(request: pytest.FixtureRequest) -> Iterator[InMemoryServer]:
    """A server without a socket, started; it is stopped after the test.

    In a test that asks for ``sse_clock``, too, it runs on that clock.
    """
    from sse_client.testing import InMemoryServer

    # Else nobody would move the clock, and a reconnection would wait forever.
    is_manual = "sse_clock" in request.fixturenames
    clock = request.getfixturevalue("sse_clock") if is_manual else None
    with InMemoryServer(clock=clock) as server:
        yield server
