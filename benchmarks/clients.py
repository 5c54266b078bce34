"""The clients that are compared over the whole path from the server to the loop over the events.

Anything that many streams can share (a client, a pool, TLS settings) is created once, in advance.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from sse_client import SSE, HttpClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

OURS = "sse_client"
LIMIT = "bare read1"
LAUNCHDARKLY = "launchdarkly-eventsource"
HTTPX_SSE = "httpx-sse"

_READ_SIZE = 64 * 1024


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        name: Its name in the tables.
        opened: Opens the stream at a URL, and yields its events (objects with ``data``) until the
            server ends it. The limit yields the bytes read instead.
    """

    name: str
    opened: Callable[[str], AbstractContextManager[Iterable[Any]]]


def _bare() -> Client:
    session = requests.Session()

    @contextlib.contextmanager
    def opened(url: str) -> Iterator[Iterable[bytes]]:
        with session.get(url, stream=True) as response:
            read = response.raw.read1
            yield iter(lambda: read(_READ_SIZE, decode_content=True), b"")

    return Client(LIMIT, opened)


def _ours() -> Client:
    client = HttpClient().install(SSE, reconnect="never")

    @contextlib.contextmanager
    def opened(url: str) -> Iterator[Iterable[Any]]:
        with client.sse(url) as session:
            yield session.incoming

    return Client(OURS, opened)


def _launchdarkly() -> Client:
    new_client = importlib.import_module("ld_eventsource").SSEClient

    @contextlib.contextmanager
    def opened(url: str) -> Iterator[Iterable[Any]]:
        with new_client(url) as client:
            yield client.events

    return Client(LAUNCHDARKLY, opened)


def _httpx_sse() -> Client:
    connect = importlib.import_module("httpx_sse").connect_sse
    client = importlib.import_module("httpx").Client(timeout=None, trust_env=False)

    @contextlib.contextmanager
    def opened(url: str) -> Iterator[Iterable[Any]]:
        with connect(client, "GET", url) as source:
            yield source.iter_sse()

    return Client(HTTPX_SSE, opened)


def _sseclient_py() -> Client:
    new_client = importlib.import_module("sseclient").SSEClient
    session = requests.Session()

    @contextlib.contextmanager
    def opened(url: str) -> Iterator[Iterable[Any]]:
        with session.get(url, stream=True) as response:
            yield new_client(response).events()

    return Client("sseclient-py", opened)


class _Ended(Exception):  # noqa: N818  # not an error, but a way to leave the loop
    """The stream has ended, and requests-sse is about to reconnect."""


def _requests_sse() -> Client:
    new_source = importlib.import_module("requests_sse").EventSource
    session = requests.Session()

    def end() -> None:
        raise _Ended

    def until_the_end(source: Iterable[Any]) -> Iterator[Any]:
        try:
            yield from source
        except _Ended:
            return

    @contextlib.contextmanager
    def opened(url: str) -> Iterator[Iterable[Any]]:
        with new_source(url, session=session, on_error=end) as source:
            yield until_the_end(source)

    return Client("requests-sse", opened)


_MAKERS: dict[str, Callable[[], Client]] = {
    LIMIT: _bare,
    OURS: _ours,
    LAUNCHDARKLY: _launchdarkly,
    HTTPX_SSE: _httpx_sse,
    "sseclient-py": _sseclient_py,
    "requests-sse": _requests_sse,
}

NAMES = tuple(_MAKERS)


def installed() -> list[Client]:
    """Return all the clients that are installed."""
    found: list[Client] = []
    for make in _MAKERS.values():
        with contextlib.suppress(ImportError):
            found.append(make())
    return found
