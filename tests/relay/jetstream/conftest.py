"""What the tests of the relay into NATS may ask for."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from nats_process import LEASE, NatsProcess

from sse_client.relay.jetstream import connection as connection_module
from sse_client.relay.jetstream.relay import JetStreamRelay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sse_client import HttpClient

_names = (f"stream-{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def shared_nats(tmp_path_factory) -> Iterator[NatsProcess]:
    """A server for all tests that leave it running."""
    with NatsProcess(tmp_path_factory.mktemp("nats")) as process:
        yield process


@pytest.fixture
def nats(shared_nats) -> Iterator[NatsProcess]:
    """The same server, without its connection once the test is over, because that has a thread."""
    yield shared_nats
    shared_nats.disconnect()


@pytest.fixture
def own_nats(tmp_path) -> Iterator[NatsProcess]:
    """A server that the test may kill and freeze."""
    with NatsProcess(tmp_path) as process:
        yield process


@pytest.fixture
def stream() -> str:
    """The name of a stream that does not exist yet."""
    return next(_names)


@pytest.fixture
def short_timeouts(monkeypatch) -> None:
    """Wait a moment only for a reply of NATS."""
    monkeypatch.setattr(connection_module, "TIMEOUT", 0.3)


@pytest.fixture
def relay_to(client) -> Callable[..., JetStreamRelay]:
    """Creates a relay."""

    def create(
        nats: NatsProcess, stream: str, url: str, client: HttpClient = client, **options: object
    ) -> JetStreamRelay:
        return JetStreamRelay(
            client, url, nats=nats.url, stream=stream, **{"lease_time": LEASE, **options}
        )

    return create
