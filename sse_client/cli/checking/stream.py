"""Surveys an event stream line by line: its events, comments and invalid lines.

It has no I/O: its input is bytes and the times of their arrival.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sse_client import EventStreamParser

if TYPE_CHECKING:
    from sse_client import ServerSentEvent

_LINE_END = re.compile(b"\r\n|\n|\r")

_FIELDS = (b"data", b"event", b"id", b"retry")
_BOM = b"\xef\xbb\xbf"

#: Arrivals within this time of each other are one burst, in seconds.
_PAUSE = 0.05

#: The maximum number of invalid lines kept, and the maximum length of each, in bytes.
_MOST_INVALID = 5
_LONGEST_INVALID = 60


@dataclass(frozen=True)
class InvalidLine:
    """A line that clients ignore or misinterpret.

    Attributes:
        number: Its number in the stream, from 1.
        text: Its beginning.
        reason: What is wrong with it.
    """

    number: int
    text: str
    reason: str


@dataclass
class Burst:
    """Bytes that arrived together.

    Attributes:
        began: When the first of them arrived, in seconds after the header.
        ended: When the last of them arrived.
        size: Their number.
        events: The number of events that they completed.
        is_whole: Whether they end between two events.
    """

    began: float
    ended: float
    size: int = 0
    events: int = 0
    is_whole: bool = True


@dataclass
class StreamFacts:
    """The facts about a stream. Times are in seconds after the header of the response.

    Attributes:
        bursts: The bytes that arrived together.
        events: The events, each with the time of its arrival.
        comments: The times at which comment lines arrived.
        events_with_id: The number of events with an ``id`` field.
        retries: The reconnection times that the server sent, in milliseconds.
        invalid: The first invalid lines.
        invalid_count: The number of invalid lines.
        size: The number of bytes.
        largest: The length of the largest data, in characters.
    """

    bursts: list[Burst] = field(default_factory=list)
    events: list[tuple[float, ServerSentEvent]] = field(default_factory=list)
    comments: list[float] = field(default_factory=list)
    events_with_id: int = 0
    retries: list[int] = field(default_factory=list)
    invalid: list[InvalidLine] = field(default_factory=list)
    invalid_count: int = 0
    size: int = 0
    largest: int = 0


class StreamSurvey:
    """Records the facts about a stream while it arrives. Not thread-safe."""

    def __init__(self) -> None:
        self.facts = StreamFacts()
        self._now = 0.0
        self._parser = EventStreamParser(on_comment=lambda _: self.facts.comments.append(self._now))
        self._rest = b""
        self._skips_line_feed = False
        self._lines = 0
        self._has_data = False
        self._has_id = False
        self._has_fields = False

    def feed(self, data: bytes, now: float) -> None:
        """Record bytes that have arrived.

        Args:
            data: The bytes.
            now: When they arrived, in seconds after the header.
        """
        facts = self.facts
        self._now = now
        events = self._parser.feed(data)
        facts.events += [(now, event) for event in events]
        facts.largest = max([facts.largest, *(len(event.data) for event in events)])
        facts.size += len(data)
        self._take_lines(data)
        burst = facts.bursts[-1] if facts.bursts else None
        if burst is None or now - burst.ended > _PAUSE:
            burst = Burst(now, now)
            facts.bursts.append(burst)
        burst.ended = now
        burst.size += len(data)
        burst.events += len(events)
        burst.is_whole = not (self._has_fields or self._rest)

    def _take_lines(self, data: bytes) -> None:
        if self._skips_line_feed and data:
            data = data.removeprefix(b"\n")
            self._skips_line_feed = False
        if data.endswith(b"\r"):
            self._skips_line_feed = True
        *lines, self._rest = _LINE_END.split(self._rest + data)
        for line in lines:
            self._lines += 1
            self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        facts = self.facts
        if self._lines == 1:
            line = line.removeprefix(_BOM)
        if not line:
            facts.events_with_id += self._has_data and self._has_id
            self._has_data = self._has_id = self._has_fields = False
            return
        reason = _problem_of(line)
        if reason is not None:
            facts.invalid_count += 1
            if len(facts.invalid) < _MOST_INVALID:
                shown = line[:_LONGEST_INVALID].decode("utf-8", "backslashreplace")
                facts.invalid.append(InvalidLine(self._lines, shown, reason))
        name, _, value = line.partition(b":")
        if name in _FIELDS:
            self._has_fields = True
        if name == b"data":
            self._has_data = True
        elif name == b"id" and b"\0" not in value:
            self._has_id = True
        elif name == b"retry" and reason is None:
            facts.retries.append(int(value))


def _problem_of(line: bytes) -> str | None:
    """Return the problem of a line, or None if it is valid."""
    if not _is_utf8(line):
        return "it is not UTF-8"
    name, _, value = line.partition(b":")
    if name in _FIELDS:
        return _problem_of_value(name, value)
    similar = name.strip().lower()
    if similar in _FIELDS:
        return f"the name of the field must be {similar.decode()!r}; clients ignore the line"
    return "it is not a field; clients ignore it" if name else None


def _problem_of_value(name: bytes, value: bytes) -> str | None:
    if name == b"id" and b"\0" in value:
        return "an ID with a null is ignored"
    if name == b"retry" and not re.fullmatch(b" ?[0-9]{1,18}", value):
        return "retry must be a number of milliseconds; clients ignore it"
    return None


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
