"""One relay: from the stream into Redis, once each, whatever breaks."""

from __future__ import annotations

import pytest
from numbered_server import Numbered, numbers_of, wait_for

from sse_client import SSE, HttpClient, UnexpectedStatusError
from sse_client.relay import RedisRelay, RelayError, RelayState
from sse_client.relay.lease import acquire
from tests.support import sse_client_for_tests

LEASE = 0.6


@pytest.fixture
def numbered():
    with Numbered() as server:
        yield server


def relay_to(redis, client, url, **options):
    options = {"stream": "orders", "lease_time": LEASE, "redis": redis.url, **options}
    return RedisRelay(client, url, **options)


def test_each_event_becomes_one_entry(redis, server):
    server.enqueue = None
    redis.entries("orders")


def test_a_stream_that_ends_has_been_relayed_in_order(redis, numbered):
    numbered.last = 200
    with sse_client_for_tests() as client:
        relay = relay_to(redis, client, numbered.url)
        relay.run()
    assert numbers_of(redis, "orders") == list(range(1, 201))
    assert relay.state is RelayState.CLOSED
    assert relay.statistics.written == 200
    assert relay.statistics.batches < 200
