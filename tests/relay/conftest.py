"""The fixtures for the tests of the relay."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from numbered_server import Numbered
from redis_process import RedisProcess
from support import sse_client_for_tests

from sse_client.relay import connection as connection_module
from sse_client.relay import patience as patience_module

# The server of numbered events and the processes that report are those of the chaos tests.
sys.path.append(str(Path(__file__).parent.parent / "chaos"))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client import HttpClient


@pytest.fixture
def redis(tmp_path_factory) -> Iterator[RedisProcess]:
    """A Redis that has just started and is empty."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture
def seed() -> int:
    """A new seed each time, or the seed from the environment."""
    given = os.environ.get("CHAOS_SEED")
    return random.SystemRandom().randrange(2**32) if given is None else int(given)


@pytest.fixture
def numbered() -> Iterator[Numbered]:
    """A server of numbered events whose stream does not end."""
    with Numbered() as server:
        server.ends = False
        yield server


@pytest.fixture
def client() -> Iterator[HttpClient]:
    """A client that reconnects quickly."""
    with sse_client_for_tests() as made:
        yield made


@pytest.fixture
def short_delays(monkeypatch) -> None:
    """Wait only for a moment before another attempt to reach Redis."""
    monkeypatch.setattr(patience_module, "LONGEST_DELAY", 0.1)


@pytest.fixture
def short_timeouts(monkeypatch) -> None:
    """Wait only half a second for a reply from Redis."""
    monkeypatch.setattr(connection_module, "SOCKET_TIMEOUT", 0.5)
