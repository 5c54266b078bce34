"""The measured event streams, their events, and how they are split into chunks.

Everything is seeded, so each run of the benchmarks parses the same bytes.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SEED = 9_2

#: The number of different blocks of a stream, which are then repeated.
_DIFFERENT = 500

_WORDS = (
    "the",
    "stream",
    "of",
    "events",
    "is",
    "read",
    "as",
    "it",
    "arrives",
    "and",
    "each",
    "one",
)
_SIGNS = "事件流把数据推送给客户端每一行都是文字日本語の行もある한국어도있다"
_EMOJI = "🚀🎉🙂🔥🌍🧵"

READ_SIZE = 16 * 1024
MEBIBYTE = 1024 * 1024


class Event(NamedTuple):
    """The fields of an event that a consumer must get."""

    data: str
    event: str = "message"
    id: str = ""


#: Creates the lines of a block, and the event that they represent.
Make: TypeAlias = "Callable[[random.Random, int], tuple[list[str], Event]]"


@dataclass(frozen=True)
class Workload:
    """A stream: ``blocks``, each written as the server sends it, repeated ``repeats`` times.

    Attributes:
        shape: The name shared with its siblings, whose blocks have the same size and the same
            fields, and differ only in how they are written. A parser should take equally long for
            each.
    """

    name: str
    title: str
    blocks: tuple[bytes, ...]
    events: tuple[Event, ...]
    repeats: int = 1
    line_end: bytes = b"\n"
    shape: str = ""

    @property
    def stream(self) -> bytes:
        """All of its bytes."""
        return b"".join(self.blocks) * self.repeats

    @property
    def count(self) -> int:
        """The number of its events."""
        return len(self.events) * self.repeats

    @property
    def separator(self) -> str:
        """The bytes between two blocks: the end of a line, and an empty line."""
        return (self.line_end * 2).decode()

    @property
    def is_sibling(self) -> bool:
        """Whether it differs from another stream only in how its blocks are written."""
        return self.shape not in {"", self.name}

    def all_events(self) -> list[Event]:
        """Return the events that a consumer must get, in order."""
        return list(self.events) * self.repeats

    def sample(self) -> Workload:
        """Return the stream without most of its repetitions, to check a parser with."""
        return replace(self, repeats=min(self.repeats, 2))


def _block(lines: list[str], line_end: bytes) -> bytes:
    return b"".join(line.encode() + line_end for line in [*lines, ""])


def _llm(rng: random.Random, number: int) -> tuple[list[str], Event]:
    """One token of a chat completion, in a line of 180 bytes."""
    chunk = {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "created": 1741570283 + number,
        "choices": [{"index": 0, "delta": {"content": " " + rng.choice(_WORDS)}}],
        "finish_reason": None,
        "pad": "",
    }
    room = 180 - len("data: ") - len(json.dumps(chunk))
    chunk["pad"] = "".join(rng.choices("abcdefghijkmnopqrstuvwxyz0123456789", k=room))
    data = json.dumps(chunk)
    return [f"data: {data}"], Event(data)


def _wikimedia(rng: random.Random, number: int) -> tuple[list[str], Event]:
    """A change of a wiki: ``event``, ``id`` and ``data`` of 1.2 KB together."""
    title = " ".join(rng.choices(_WORDS, k=4)).title()
    url = f"https://en.wikipedia.org/wiki/{title.replace(' ', '_')}"
    change = {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "meta": {
            "uri": url,
            "request_id": f"{rng.getrandbits(128):032x}",
            "id": f"{rng.getrandbits(128):032x}",
            "dt": "2024-11-25T03:00:00Z",
            "domain": "en.wikipedia.org",
            "stream": "mediawiki.recentchange",
            "topic": "eqiad.mediawiki.recentchange",
            "partition": 0,
            "offset": 5_280_000_000 + number,
        },
        "id": 1_840_000_000 + number,
        "type": "edit",
        "namespace": 0,
        "title": title,
        "title_url": url,
        "user": f"Editor{rng.randrange(10_000)}",
        "bot": rng.random() < 0.3,
        "minor": rng.random() < 0.2,
        "length": {"old": rng.randrange(90_000), "new": rng.randrange(90_000)},
        "revision": {"old": 1_259_000_000 + number, "new": 1_259_000_001 + number},
        "server_url": "https://en.wikipedia.org",
        "wiki": "enwiki",
        "comment": "",
    }
    topics = ("eqiad.mediawiki.recentchange", "codfw.mediawiki.recentchange")
    position = json.dumps(
        [{"topic": topic, "partition": 0, "timestamp": 1732503600000 + number} for topic in topics]
    )
    room = 1200 - len(json.dumps(change)) - len(position) - len("event: message\nid: \ndata: \n\n")
    words = " ".join(rng.choices(_WORDS, k=room // 2))
    change["comment"] = words[:room]
    data = json.dumps(change)
    return ["event: message", f"id: {position}", f"data: {data}"], Event(data, "message", position)


def _tick(rng: random.Random, number: int) -> tuple[list[str], Event]:
    """The smallest useful event: 15 bytes."""
    position, value = str(number % 10), str(rng.randrange(10))
    return [f"id: {position}", f"data: {value}"], Event(value, "message", position)


def _repeating_tick(_rng: random.Random, number: int) -> tuple[list[str], Event]:
    """A tick whose data is always the same."""
    position = str(number % 10)
    return [f"id: {position}", "data: x"], Event("x", "message", position)


def _tick_with_id_last(rng: random.Random, number: int) -> tuple[list[str], Event]:
    (id, data), event = _tick(rng, number)
    return [data, id], event


def _without_space(make: Make) -> Make:
    """Leave out the space after the colon."""

    def make_without(rng: random.Random, number: int) -> tuple[list[str], Event]:
        lines, event = make(rng, number)
        return [line.replace(": ", ":", 1) for line in lines], event

    return make_without


def _typed_every_tenth(make: Make) -> Make:
    """Give every tenth block an event type."""

    def make_typed(rng: random.Random, number: int) -> tuple[list[str], Event]:
        lines, event = make(rng, number)
        if number % 10:
            return lines, event
        return ["event: usage", *lines], event._replace(event="usage")

    return make_typed


def _many_lines(rng: random.Random, number: int) -> tuple[list[str], Event]:
    """A text of fifty lines in one event."""
    text = [f"{number:>4} {' '.join(rng.choices(_WORDS, k=6))}" for _ in range(50)]
    return [f"data: {line}" for line in text], Event("\n".join(text))


def _world(rng: random.Random, number: int) -> tuple[list[str], Event]:
    """Chinese, Japanese, Korean and emoji: three and four bytes per character."""
    text = "".join(rng.choices(_SIGNS, k=60)) + "".join(rng.choices(_EMOJI, k=4))
    data = json.dumps({"index": number, "delta": text}, ensure_ascii=False)
    return [f"data: {data}"], Event(data)


def _make(
    name: str,
    title: str,
    make: Make,
    size: int,
    *,
    line_end: bytes = b"\n",
    heartbeats: bool = False,
    shape: str = "",
) -> Workload:
    rng = random.Random(_SEED)
    blocks: list[bytes] = []
    events: list[Event] = []
    for number in range(_DIFFERENT):
        lines, event = make(rng, number)
        if heartbeats:
            blocks.append(_block([":"], line_end))
        blocks.append(_block(lines, line_end))
        events.append(event)
    repeats = max(1, size // sum(map(len, blocks)))
    return Workload(name, title, tuple(blocks), tuple(events), repeats, line_end, shape or name)


def long_line(mebibytes: int) -> Workload:
    """Return a stream of a single event, whose only line has this size."""
    data = f"{mebibytes:0>1024}" * (mebibytes * 1024)
    block = f"data: {data}\n\n".encode()
    return Workload(f"line-{mebibytes}", f"one {mebibytes} MB line", (block,), (Event(data),))


def all_workloads(scale: float = 1.0) -> list[Workload]:
    """Return the workloads with many events, each of a few megabytes times ``scale``."""
    size = int(4 * MEBIBYTE * scale)
    return [
        _make("llm", "LLM lines, 180 B", _llm, size),
        _make("wikimedia", "Wikimedia-like, 1.2 KB", _wikimedia, 2 * size),
        _make("50-lines", "50-line events", _many_lines, size),
        _make("ticks", "ticks, 15 B", _tick, size // 4),
        _make("llm-crlf", "LLM lines, CRLF", _llm, size, line_end=b"\r\n"),
        _make("wikimedia-crlf", "Wikimedia-like, CRLF", _wikimedia, 2 * size, line_end=b"\r\n"),
        _make("heartbeats", "half heartbeats", _llm, size, heartbeats=True),
        _make("world", "CJK and emoji", _world, size),
        *_siblings(size),
    ]


def _siblings(size: int) -> list[Workload]:
    """Return streams of the same shape as others, to check that not only those are fast."""
    ticks = size // 4
    return [
        _make("ticks-repeating", "ticks, repeating", _repeating_tick, ticks, shape="ticks"),
        _make("ticks-id-last", "ticks, ID last", _tick_with_id_last, ticks, shape="ticks"),
        _make("ticks-no-space", "ticks, no space", _without_space(_tick), ticks, shape="ticks"),
        _make(
            "ticks-typed", "ticks, 1 in 10 typed", _typed_every_tenth(_tick), ticks, shape="ticks"
        ),
        _make("llm-no-space", "LLM lines, no space", _without_space(_llm), size, shape="llm"),
        _make("llm-typed", "LLM lines, 1 in 10 typed", _typed_every_tenth(_llm), size, shape="llm"),
    ]


def _in_reads(workload: Workload) -> Iterator[bytes]:
    stream = workload.stream
    for start in range(0, len(stream), READ_SIZE):
        yield stream[start : start + READ_SIZE]


def _at_random(workload: Workload) -> Iterator[bytes]:
    rng = random.Random(_SEED)
    stream = workload.stream
    start = 0
    while start < len(stream):
        end = start + rng.randint(1, 4096)
        yield stream[start:end]
        start = end


def _mid_block(workload: Workload) -> Iterator[bytes]:
    """Split in the middle of a block, after about the size of a read."""
    chunk = b""
    for block in workload.blocks * workload.repeats:
        middle = len(block) // 2
        if len(chunk) + middle < READ_SIZE:
            chunk += block
        else:
            yield chunk + block[:middle]
            chunk = block[middle:]
    yield chunk


def _by_block(workload: Workload) -> Iterator[bytes]:
    for _ in range(workload.repeats):
        yield from workload.blocks


#: The ways in which a stream can arrive: in reads of 16 KiB, in reads that begin in the middle of a
#: block, in chunks of 1 to 4096 bytes, and in one chunk per write.
CHUNKINGS: dict[str, Callable[[Workload], Iterator[bytes]]] = {
    "16 KiB": _in_reads,
    "mid-block": _mid_block,
    "random": _at_random,
    "by event": _by_block,
}

#: The two ways of reads, which differ only in where they begin.
READS = ("16 KiB", "mid-block")
