"""The pytest fixtures of sse_client, which pytest finds through the entry point ``pytest11``.

pytest imports this module at each start, in every environment in which sse_client is installed. So
the module is not part of the package, whose import loads requests. It imports the package only when
a test requests a fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client.testing import InMemoryServer, ManualClock, SSEServer


@pytest.fixture
def sse_server() -> Iterator[SSEServer]:
    """A running server on 127.0.0.1 that the test scripts. It is stopped after the test."""
    from sse_client.testing import SSEServer

    with SSEServer() as server:
        yield server


@pytest.fixture
def sse_clock() -> ManualClock:
    """A clock that advances only when the test advances it."""
    from sse_client.testing import ManualClock

    return ManualClock()


@pytest.fixture
def sse_memory(request: pytest.FixtureRequest) -> Iterator[InMemoryServer]:
    """A running server without a socket. It is stopped after the test.

    If the test also requests ``sse_clock``, the server runs on that clock.
    """
    from sse_client.testing import InMemoryServer

    # Otherwise nothing would advance the clock, and a reconnection would wait forever.
    is_manual = "sse_clock" in request.fixturenames
    clock = request.getfixturevalue("sse_clock") if is_manual else None
    with InMemoryServer(clock=clock) as server:
        yield server
