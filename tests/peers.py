"""Other clients, each used as its own documentation shows."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import httpx_sse
import ld_eventsource
import requests
import requests_sse
import sseclient
from ld_eventsource.config import ConnectStrategy, ErrorStrategy
from support import PATIENCE, sse_client_for_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Follow = Callable[[str], "contextlib.AbstractContextManager[Iterator[str]]"]


@contextlib.contextmanager
def follow_with_ours(url: str) -> Iterator[Iterator[str]]:
    with sse_client_for_tests() as client, client.sse(url) as session:
        yield (event.data for event in session.incoming)


@contextlib.contextmanager
def follow_with_launchdarkly(url: str) -> Iterator[Iterator[str]]:
    with ld_eventsource.SSEClient(
        ConnectStrategy.http(url),
        initial_retry_delay=0,
        error_strategy=ErrorStrategy.continue_with_max_attempts(3),
    ) as client:
        yield (event.data for event in client.events)


@contextlib.contextmanager
def follow_with_httpx_sse(url: str) -> Iterator[Iterator[str]]:
    with (
        httpx.Client(timeout=PATIENCE, trust_env=False) as client,
        httpx_sse.connect_sse(client, "GET", url) as source,
    ):
        yield (event.data for event in source.iter_sse())


@contextlib.contextmanager
def follow_with_httpx2(url: str) -> Iterator[Iterator[str]]:
    with (
        httpx2.Client(timeout=PATIENCE, trust_env=False) as client,
        client.sse(url) as source,
    ):
        yield (event.data for event in source)


@contextlib.contextmanager
def follow_with_sseclient_py(url: str) -> Iterator[Iterator[str]]:
    with (
        requests.Session() as session,
        session.get(url, stream=True, timeout=PATIENCE) as response,
    ):
        yield (event.data for event in sseclient.SSEClient(response).events())


@contextlib.contextmanager
def follow_with_requests_sse(url: str) -> Iterator[Iterator[str]]:
    with (
        requests.Session() as session,
        requests_sse.EventSource(
            url, session=session, reconnection_time=timedelta(0), max_connect_retry=3
        ) as source,
    ):
        yield (_data_of(event) for event in source)


def _data_of(event: Any) -> str:
    return event.data


FOLLOW: dict[str, Follow] = {
    "sse_client": follow_with_ours,
    "launchdarkly-eventsource": follow_with_launchdarkly,
    "httpx-sse": follow_with_httpx_sse,
    "httpx2": follow_with_httpx2,
    "sseclient-py": follow_with_sseclient_py,
    "requests-sse": follow_with_requests_sse,
}
