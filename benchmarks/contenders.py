"""The parsers that are compared: ours, the limit, and the peers, each used in its fastest way.

A peer is imported when it is first needed, and left out if it is not installed.
"""

from __future__ import annotations

import codecs
import datetime as dt
import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workloads import Event

from sse_client import EventStreamParser, parse_event_batches, parse_event_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from workloads import Workload

OURS = "sse_client"
OURS_SINGLY = "sse_client, singly"
LIMIT = "limit"

#: More than the longest line that is measured.
_MAX_EVENT_SIZE = 128 * 1024 * 1024


@dataclass(frozen=True)
class Contender:
    """A way to parse the events in chunks.

    Attributes:
        name: Its name in the tables, as on the package index.
        consume: Takes each event of the chunks and drops it. This is timed.
        events: Returns the events of the chunks, to check them.
    """

    name: str
    consume: Callable[[list[bytes]], None]
    events: Callable[[list[bytes]], list[Event]]

    def is_right(self, workload: Workload, chunks: list[bytes]) -> bool:
        """Return whether it returns exactly the events of the workload."""
        try:
            return self.events(chunks) == workload.all_events()
        except Exception:  # noqa: BLE001  # whatever error a peer raises, it has not returned the events
            return False


def limit(workload: Workload) -> Contender:
    """Return the work that no parser in Python can avoid: decoding and splitting each chunk.

    The times of the others are divided by its time. It returns no correct events.
    """
    separator = workload.separator

    def consume(chunks: list[bytes]) -> None:
        for chunk in chunks:
            chunk.decode().split(separator)

    def consume_cut_characters(chunks: list[bytes]) -> None:
        for chunk in chunks:
            chunk.decode("utf-8", "replace").split(separator)

    is_ascii = all(block.isascii() for block in workload.blocks)
    return Contender(LIMIT, consume if is_ascii else consume_cut_characters, lambda _: [])


def _ours() -> Contender:
    return in_batches(OURS, lambda chunks: parse_event_batches(chunks, parser=_new_parser()))


def in_batches(name: str, batches: Callable[[list[bytes]], Iterator[list[Any]]]) -> Contender:
    """Return a contender with our parser, which returns the events of one chunk at a time."""

    def consume(chunks: list[bytes]) -> None:
        for batch in batches(chunks):
            for _ in batch:
                pass

    def events(chunks: list[bytes]) -> list[Event]:
        return [Event(got.data, got.event, got.id) for batch in batches(chunks) for got in batch]

    return Contender(name, consume, events)


def _ours_singly() -> Contender:
    return _iterating(
        OURS_SINGLY,
        lambda chunks: parse_event_stream(chunks, parser=_new_parser()),
        lambda got: Event(got.data, got.event, got.id),
    )


def _new_parser() -> EventStreamParser:
    return EventStreamParser(max_event_size=_MAX_EVENT_SIZE)


def _iterating(
    name: str,
    iterate: Callable[[list[bytes]], Iterable[Any]],
    plain: Callable[[Any], Event | None],
) -> Contender:
    """Return a contender that yields one event after another. ``plain`` converts them to ours."""

    def consume(chunks: list[bytes]) -> None:
        for _ in iterate(chunks):
            pass

    def events(chunks: list[bytes]) -> list[Event]:
        return [event for got in iterate(chunks) if (event := plain(got)) is not None]

    return Contender(name, consume, events)


def _usual(got: Any) -> Event:  # noqa: ANN401  # a class of the peer
    return Event(got.data, got.event or "message", got.id or "")


def _launchdarkly() -> Contender:
    reader = importlib.import_module("ld_eventsource.reader")
    comment = importlib.import_module("ld_eventsource.actions").Comment

    def iterate(chunks: list[bytes]) -> Iterable[Any]:
        lines = reader._BufferedLineReader.lines_from(chunks)  # noqa: SLF001  # as its SSEClient does
        found: Iterable[Any] = reader._SSEReader(lines).events_and_comments()  # noqa: SLF001
        return found

    def plain(got: Any) -> Event | None:  # noqa: ANN401
        if isinstance(got, comment):
            return None
        return Event(got.data, got.event, got.last_event_id or "")

    return _iterating("launchdarkly-eventsource", iterate, plain)


def _httpx_sse() -> Contender:
    decoders = importlib.import_module("httpx_sse._decoders")

    def iterate(chunks: list[bytes]) -> Iterator[Any]:
        # The loops of its EventSource.iter_sse and httpx's text decoder, without the layers above.
        decode_text = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        decode_lines = decoders.SSELineDecoder().decode
        decode_line = decoders.SSEDecoder().decode
        for chunk in chunks:
            text = decode_text(chunk)
            if text:
                for line in decode_lines(text):
                    event = decode_line(line.rstrip("\n"))
                    if event is not None:
                        yield event

    return _iterating("httpx-sse", iterate, _usual)


def _sseclient_py() -> Contender:
    client = importlib.import_module("sseclient").SSEClient
    return _iterating("sseclient-py", lambda chunks: client(chunks).events(), _usual)


class _ReadyBody:
    """Replaces urllib3's response, and returns the chunks unchanged."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def stream(self, _amount: int, *, decode_content: bool) -> Iterator[bytes]:
        assert decode_content
        return iter(self._chunks)

    def close(self) -> None:
        pass

    release_conn = close


def _requests_sse() -> Contender:
    requests = importlib.import_module("requests")
    source = importlib.import_module("requests_sse").EventSource

    class OneResponse:
        """Replaces a session of requests: responds once, and fails to reconnect."""

        def __init__(self, chunks: list[bytes]) -> None:
            self._bodies = [chunks]

        def request(self, **_arguments: object) -> Any:  # noqa: ANN401
            if not self._bodies:
                raise requests.ConnectionError
            response = requests.Response()
            response.status_code = 200
            response.url = "http://127.0.0.1/"
            response.headers["Content-Type"] = "text/event-stream"
            response.raw = _ReadyBody(self._bodies.pop())
            return response

    def iterate(chunks: list[bytes]) -> Iterator[Any]:
        events = source(
            "http://127.0.0.1/",
            session=OneResponse(chunks),
            reconnection_time=dt.timedelta(0),
            max_connect_retry=0,
        )
        events.connect()
        try:
            yield from events
        except requests.ConnectionError:
            return

    def plain(got: Any) -> Event:  # noqa: ANN401
        return Event(got.data, got.type, got.last_event_id)

    return _iterating("requests-sse", iterate, plain)


def _sdk(package: str) -> Callable[[], Contender]:
    def make() -> Contender:
        decoder = importlib.import_module(f"{package}._streaming").SSEDecoder
        return _iterating(package, lambda chunks: decoder().iter_bytes(iter(chunks)), _usual)

    return make


_MAKERS: dict[str, Callable[[], Contender]] = {
    OURS: _ours,
    OURS_SINGLY: _ours_singly,
    "launchdarkly-eventsource": _launchdarkly,
    "httpx-sse": _httpx_sse,
    "sseclient-py": _sseclient_py,
    "requests-sse": _requests_sse,
    "openai": _sdk("openai"),
    "anthropic": _sdk("anthropic"),
}

NAMES = tuple(_MAKERS)
PEERS = tuple(name for name in NAMES if name not in {OURS, OURS_SINGLY})


def contender(name: str) -> Contender:
    """Return the contender of that name.

    Raises:
        ImportError: It is not installed.
    """
    return _MAKERS[name]()


@functools.cache
def installed() -> tuple[Contender, ...]:
    """Return all the contenders that are installed."""
    found: list[Contender] = []
    for name in NAMES:
        try:
            found.append(contender(name))
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return tuple(found)
