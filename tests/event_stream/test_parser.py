"""The parser: named streams under every line end and chunking, and random ones beside a reference.

The invariant is that chunking never changes the events. Work and memory are checked by what is
allocated, or by sizes at which a parser that goes back over old bytes would never end.
"""

from __future__ import annotations

import itertools
import random
import re
import sys
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from effort import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference_parser import fitting, interpret
from streams import FAMILIES, STREAMS, Stream
from tables import each_of

from sse_client.errors import EventTooLargeError
from sse_client.event_stream.events import ServerSentEvent
from sse_client.event_stream.parser import (
    DEFAULT_MAX_EVENT_SIZE,
    EventStreamParser,
    parse_event_batches,
    parse_event_stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Chunking = Callable[[bytes, str], Iterator[list[bytes]]]
    Streams = list[tuple[Stream, str, bytes]]

MIB = 1024 * 1024
LINE_ENDS = (b"\n", b"\r", b"\r\n")
RETAINED_COMMENTS = 64 * 1024

TRAILING_DATA = (
    b"data: unfinished",
    b"\n",
    b"\r\r\n",
    b"\n\ndata: trailing\n\n",
    b"\xef\xbb\xbfdata: trailing\r\n\r\n",
)


_BEHIND_BLANK_LINES = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)")


@dataclass
class Outcome:
    """All that a stream has led to."""

    events: list[ServerSentEvent] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    last_event_id: str = ""
    reconnection_time: int | None = None
    too_large: bool = False


def outcome_of(chunks: Iterable[bytes], **options: Any) -> Outcome:
    outcome = Outcome()
    parser = EventStreamParser(on_comment=outcome.comments.append, **options)
    for chunk in chunks:
        try:
            outcome.events += parser.feed(chunk)
        except EventTooLargeError as error:
            outcome.events += error.events
            outcome.too_large = True
            break
    outcome.last_event_id = parser.last_event_id
    outcome.reconnection_time = parser.reconnection_time
    return outcome


def reference_of(stream: bytes, max_event_size: int | None = None, **options: Any) -> Outcome:
    fits = None if max_event_size is None else fitting(stream, max_event_size)
    meaning = interpret(stream if fits is None else fits, **options)
    return Outcome(
        meaning.events,
        meaning.comments,
        meaning.last_event_id,
        meaning.reconnection_time,
        too_large=fits is not None,
    )


def options_of(stream: Stream) -> dict[str, Any]:
    return {
        "last_event_id": stream.starting_id,
        "show_comment_events": stream.show_comment_events,
        "show_retry_events": stream.show_retry_events,
    }


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(positions), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


def whole(data: bytes, _name: str) -> Iterator[list[bytes]]:
    yield [data]


def single_bytes(data: bytes, _name: str) -> Iterator[list[bytes]]:
    yield byte_by_byte(data)


def single_bytes_between_empty_chunks(data: bytes, _name: str) -> Iterator[list[bytes]]:
    yield [b"", *(chunk for byte in byte_by_byte(data) for chunk in (byte, b"", b""))]


def every_cut_in_two(data: bytes, _name: str) -> Iterator[list[bytes]]:
    for position in range(1, len(data)):
        # Amid hundreds of one byte, one cut is like the next.
        around = data[max(0, position - 100) : position + 100]
        if position % 50 == 0 or around != around[:1] * 200:
            yield cut(data, [position])


def block_by_block(data: bytes, _name: str = "") -> Iterator[list[bytes]]:
    yield _BEHIND_BLANK_LINES.split(data)


def random_cuts(data: bytes, name: str) -> Iterator[list[bytes]]:
    chance = random.Random(name)
    for _ in range(20):
        count = chance.randint(2, 12)
        yield cut(data, [chance.randint(0, len(data)) for _ in range(count)])


CHUNKINGS: dict[str, Chunking] = {
    "whole": whole,
    "byte by byte": single_bytes,
    "byte by byte between empty chunks": single_bytes_between_empty_chunks,
    "every cut in two": every_cut_in_two,
    "block by block": block_by_block,
    "random cuts": random_cuts,
}


def of_each_family(test: Callable[..., None]) -> Callable[..., None]:
    """Call a test once for each family, with its streams under each line end, by its name."""
    families = {
        family: [(stream, *variant) for stream in streams for variant in stream.variants().items()]
        for family, streams in FAMILIES.items()
    }
    return pytest.mark.parametrize("streams", families.values(), ids=families)(test)


class TestNamedStreams:
    def test_have_a_name_each(self) -> None:
        assert len({stream.name for stream in STREAMS}) == len(STREAMS)

    @of_each_family
    def test_lead_to_the_same_however_they_are_cut(self, streams: Streams) -> None:
        for stream, line_end, data in streams:
            expected = (list(stream.events), stream.last_event_id, stream.reconnection_time)
            for name, chunking in CHUNKINGS.items():
                for chunks in chunking(data, stream.name):
                    outcome = outcome_of(chunks, **options_of(stream))
                    found = (outcome.events, outcome.last_event_id, outcome.reconnection_time)
                    assert found == expected, (stream.name, line_end, name, chunks)

    @of_each_family
    def test_mean_the_same_to_the_reference(self, streams: Streams) -> None:
        for stream, line_end, data in streams:
            meaning = reference_of(data, **options_of(stream))
            assert tuple(meaning.events) == stream.events, (stream.name, line_end)
            assert meaning.last_event_id == stream.last_event_id, (stream.name, line_end)
            assert meaning.reconnection_time == stream.reconnection_time, (stream.name, line_end)

    @of_each_family
    def test_can_have_anything_behind_them(self, streams: Streams) -> None:
        for stream, line_end, data in streams:
            for trailing in TRAILING_DATA:
                expected = reference_of(data + trailing, **options_of(stream))
                for chunks in ([data + trailing], [data, trailing], byte_by_byte(data + trailing)):
                    outcome = outcome_of(chunks, **options_of(stream))
                    assert outcome == expected, (stream.name, line_end, chunks)

    @of_each_family
    def test_come_as_any_kind_of_bytes(self, streams: Streams) -> None:
        for stream, line_end, data in streams:
            middle = len(data) // 2
            for kind in (bytearray, memoryview):
                chunks: list[Any] = [kind(data[:middle]), kind(b""), kind(data[middle:])]
                outcome = outcome_of(chunks, **options_of(stream))
                assert tuple(outcome.events) == stream.events, (stream.name, line_end, kind)

    @of_each_family
    def test_give_the_same_events_through_the_generators(self, streams: Streams) -> None:
        for stream, line_end, data in streams:
            for chunks in ([data], byte_by_byte(data)):
                case = (stream.name, line_end, chunks)
                single = parse_event_stream(chunks, parser=EventStreamParser(**options_of(stream)))
                batches = list(
                    parse_event_batches(chunks, parser=EventStreamParser(**options_of(stream)))
                )
                assert tuple(single) == stream.events, case
                assert tuple(event for batch in batches for event in batch) == stream.events, case
                assert all(batches), case


FRAGMENTS = [
    *(b"data", b"event", b"id", b"retry", b"foo", b"Data", b"dat"),
    *(b":", b": ", b" ", b"\t", b"::", b"x", b"message"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"),
    *(b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\xef\xbb", b"\0"),
    *(b"0", b"7", b"12345678901234567890", b"\xd9\xa1", b"+1"),
    *(b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"\xc2\x85"),
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"\x80", b"\xed\xa0\x80", b"\xc0\x8a", b"\xff"),
    *(b"\v", b"\f", b"\x1c"),
    *(b"data: a\n", b"data:b\r\n", b"data\n", b"id: 1\n", b"id\r", b"id: \0\n", b"event: e\n"),
    *(b"retry: 5\n", b": comment\n", b":\r\n", b"data: x\n\n", b"id: 2\ndata: y\n\n"),
    *(b": c\n\n", b"retry: 9\n\n", b"event: e\ndata: z\r\n\r\n", b"data: p\ndata: q\n\n"),
]

adversarial_streams = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join),
    st.lists(st.sampled_from(FRAGMENTS[-17:]), max_size=30).map(b"".join),
    st.binary(max_size=60),
)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    stream = draw(adversarial_streams)
    if draw(st.booleans()) and draw(st.booleans()):
        return byte_by_byte(stream)
    return cut(stream, draw(st.lists(st.integers(0, len(stream)), max_size=12)))


_TEXTS = [b"", b"a", b"x: y", b" ", b":", b"{}", "\u20ac\u2028".encode(), b"\xff", b"\0", b"data: "]

#: Long enough that lines under CRLF go the way for long ones, though some turn out to be unusual.
_LONG_TEXTS = [
    *(b"x" * 300, b"x" * 300, b"y" * 600, "\u20ac\u2028".encode() * 60),
    *(b"\xff" + b"x" * 300, b"x" * 300 + b"\0", b"x" * 300 + b"\rdata: y", b"x" * 300 + b"\r", b""),
]

#: Blocks as servers write them, so that there are runs of them; %a to %c stand for texts.
_SHAPES = [
    b"data: %a\n\n",
    b"data: %a\n\n",
    b"id: %a\ndata: %b\n\n",
    b"event: %a\nid: %b\ndata: %c\n\n",
    b"id: %a\nevent: %b\ndata: %c\n\n",
    b"data: %a\nid: %b\n\n",
    b"data: %a\ndata: %b\ndata: %c\n\n",
    b"data: %a\ndata:%b\n\n",
    b"data: %a\nevent: %b\ndata: %c\n\n",
    b"event: %a\ndata: %b\n\n",
    b"id: %a\nid: %b\ndata: %c\n\n",
    b"id: %a\n\n",
    b"data:%a\n\n",
    b": %a\n\n",
    b"data: %a\n\n: %b\n\n",
    b":\n\ndata: %a\n\ndata: %b\n\n",
    b":%a\ndata: %b\n\n",
    b"retry: 1%a\ndata: %b\n\n",
    b"\n",
]


@st.composite
def runs_of_blocks(draw: st.DrawFn) -> bytes:
    """Many blocks of one shape or of a few, with a flaw here and there."""
    texts = st.sampled_from(draw(st.sampled_from([_TEXTS, _TEXTS, _LONG_TEXTS])))
    stream = b""
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from(_SHAPES))
        for _ in range(draw(st.integers(1, 14))):
            block = shape
            for name in (b"%a", b"%b", b"%c"):
                block = block.replace(name, draw(texts))
            stream += block
    if draw(st.booleans()):
        stream = stream.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r\n", b"\r"])))
    if not draw(st.integers(0, 3)):
        position = draw(st.integers(0, len(stream)))
        stream = stream[:position] + draw(st.sampled_from(FRAGMENTS)) + stream[position:]
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + stream


@st.composite
def cut_runs(draw: st.DrawFn) -> list[bytes]:
    stream = draw(runs_of_blocks())
    match draw(st.integers(0, 2)):
        case 0:
            size = draw(st.sampled_from([1, 7, 64, 500, 10_000]))
            return [stream[start : start + size] for start in range(0, len(stream), size)]
        case 1:
            return next(block_by_block(stream))
    return cut(stream, draw(st.lists(st.integers(0, len(stream)), max_size=6)))


class TestRandomStreams:
    @settings(deadline=None, max_examples=examples(1000))
    @given(chunks=cut_runs(), show=st.booleans())
    @example(chunks=[b"data: 1\n\n", b"data: a\r:\n\n"], show=True)
    @example(chunks=[b"id: 1\ndata: a\n\n" * 20, b"event: e\ndata: b\n\n"], show=False)
    @example(chunks=[b"data: 1\n\n", b"id: 1\rdata: a\n\n"], show=True)
    @example(chunks=[b"data: 1\n\n", b"id: 1\ndata: a\n\n" * 12], show=True)
    @example(chunks=[b"id: 1\nevent: e\ndata: a\ndata: b\n\n" * 8], show=False)
    @example(chunks=[b"id: 1\nid: 2\ndata: a\n\n" * 8, b"data: b\n\n"], show=False)
    @example(chunks=[b"id: \0\nevent: \ndata: a\n\n" * 8, b"data: b\n\n"], show=False)
    @example(chunks=[b"event: \ndata: a\n\n" * 8, b"data: b\n\n"], show=False)
    @example(chunks=[b"event: e\r\ndata: a\r\n\r\n" * 8, b"data: b\r\n\r\n"], show=False)
    @example(chunks=[b"data: a\n\n:\n\n: b\n\n" * 6, b"\ndata: c\n\n"], show=False)
    @example(chunks=[b"data: a\n\n:\n\n: b\n\n" * 6, b"\ndata: c\n\n"], show=True)
    @example(chunks=[b":\n\ndata: a\n\nid: 1\n\n" * 6, b"data: c\n\n"], show=False)
    @example(chunks=[b"data: a\ndata: b\n\n" * 3 + b"data: c\nda", b"ta: \n\n\n"], show=True)
    @example(chunks=[b"id: 1\n" * 99, b"data: a\nda", b"ta: b\n\ndata: c\n"], show=True)
    @example(chunks=[b"data: a\n" * 99, b"\n\ndata: a\nid: 1\n\n:", b"\n\n"], show=True)
    @example(chunks=[b"\r\n\r\ndata: x\n\ndata"], show=False)
    @example(
        chunks=[b"data: 0\n\n", b"data: \xff\n\n", b"id: \xff\ndata: \xe2\x82\n\n"], show=False
    )
    @example(
        chunks=[b"data: 0\n\n", b"id: 1\nevent: e\nid: 2\ndata: a\n\n", b"data: b\n\n"], show=True
    )
    @example(chunks=[b"data: 0\n\n", b"id: 1\nevent: \ndata: a\n\n", b"id\ndata: b\n\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b"id: 1\n\ndata: a\n\n", b"event: e\ndata: \n\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b"id: \0\ndata: a\n\n", b": c\nid: 1\ndata: b\n\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b":\n\n", b":\r\n\n", b": c\n\n", b": \xff\n\n"], show=True)
    @example(chunks=[b"id: 1\r\n", b"event: e\r\ndata: a\r\n\r\n" * 12], show=False)
    @example(chunks=[b"data: 0\n\n", b"id: 1\r\ndata: a\rid: 2\r\n\r\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b"id: 1\r\ndata: a\nid: 2\r\n\r\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b"data: a\nid: 2\r\n\r\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b"data: \xff\r\n\r\n", b"data: a\r:\r\n\r\n"], show=True)
    @example(chunks=[b"data: 0\n\n", b": c\r\n\r\n", b":\r\r\n\r\n", b":\n\r\n\r\n"], show=True)
    @example(
        chunks=[b"data: 0\n\n", b"id: 1\ndata: a\r\n\r\n", b"id: 1\r\r\ndata: b\r\n\r\n"], show=True
    )
    @example(
        chunks=[b"data: 0\n\n", b"event: e\r\nid: \xff\r\ndata: a\r\n\r\n", b"data: b\n\n"],
        show=True,
    )
    @example(
        chunks=[b"data: 0\n\n", b"id: 1\r\ndata: \r\n\r\n", b"id: 2\r\r\ndata: a\r\n\r\n"],
        show=True,
    )
    def test_of_usual_blocks_lead_to_what_the_reference_says(
        self, chunks: list[bytes], show: bool
    ) -> None:
        options = {"show_comment_events": show, "show_retry_events": show}
        assert outcome_of(chunks, **options) == reference_of(b"".join(chunks), **options)

    @settings(deadline=None, max_examples=examples(300))
    @given(chunks=cut_runs(), max_event_size=st.integers(8, 60))
    def test_of_usual_blocks_stop_where_the_reference_does(
        self, chunks: list[bytes], max_event_size: int
    ) -> None:
        expected = reference_of(b"".join(chunks), max_event_size)
        assert outcome_of(chunks, max_event_size=max_event_size) == expected

    @settings(deadline=None, max_examples=examples(1000))
    @given(
        chunks=cut_streams(),
        last_event_id=st.sampled_from(["", "7"]),
        show_comment_events=st.booleans(),
        show_retry_events=st.booleans(),
    )
    @example(
        chunks=[b"\xef", b"\xbb", b"\xbf", b"\r", b"\n"],
        last_event_id="",
        show_comment_events=True,
        show_retry_events=True,
    )
    def test_lead_to_what_the_reference_says(
        self,
        *,
        chunks: list[bytes],
        last_event_id: str,
        show_comment_events: bool,
        show_retry_events: bool,
    ) -> None:
        options: dict[str, Any] = {
            "last_event_id": last_event_id,
            "show_comment_events": show_comment_events,
            "show_retry_events": show_retry_events,
        }
        assert outcome_of(chunks, **options) == reference_of(b"".join(chunks), **options)

    @settings(deadline=None, max_examples=examples(500))
    @given(chunks=cut_streams(), max_event_size=st.integers(1, 40))
    @example(chunks=[b"\xef", b"\xbb"], max_event_size=1)
    @example(chunks=[b"\xef", b"\xbb", b"x"], max_event_size=2)
    @example(chunks=[b"data: x\n:", b"123", b"4567\n\n"], max_event_size=8)
    def test_stop_where_the_reference_does_when_an_event_is_too_large(
        self, chunks: list[bytes], max_event_size: int
    ) -> None:
        expected = reference_of(b"".join(chunks), max_event_size)
        assert outcome_of(chunks, max_event_size=max_event_size) == expected

    @settings(deadline=None)
    @given(stream=adversarial_streams.filter(lambda stream: b"\r" not in stream))
    def test_mean_the_same_under_each_line_end(self, stream: bytes) -> None:
        outcome = outcome_of([stream])
        assert outcome_of([stream.replace(b"\n", b"\r")]) == outcome
        assert outcome_of([stream.replace(b"\n", b"\r\n")]) == outcome


def usual_block(number: int) -> bytes:
    return b"event: e\r\nid: %d\r\ndata: %s\r\n\r\n" % (number, b"x" * (1000 + number))


class TestLongLinesUnderCRLF:
    """Have a way of their own, up to a line that is not one of the usual ones."""

    ODD_LINES = (
        *(b"data: y\r\n", b"data\r\n", b"data:y\r\n", b"id: 9\0\r\n", b"id:9\r\n", b"id\r\n"),
        *(b": comment\r\n", b"retry: 5\r\n", b"foo: y\r\n", b"event: \r\n", b"data: \xff\r\n"),
        *(b"id: 9\n", b"id: 9\r", b"id: 9\r\r\n", b"id: 9\r\rdata: y\r\n", b"id: 9\n\r\n"),
        *(b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r\n"),
    )

    @each_of("odd", ODD_LINES)
    def test_may_have_any_others_between_them(self, odd: bytes) -> None:
        usual = usual_block(1)
        positions = (0, *(i + 2 for i in range(len(usual)) if usual[i : i + 2] == b"\r\n"))
        for position, show in itertools.product(positions, [False, True]):
            options = {"show_comment_events": show, "show_retry_events": show}
            odd_block = usual[:position] + odd + usual[position:]
            stream = usual_block(0) + odd_block + usual_block(2) + odd_block + usual_block(3)
            expected = reference_of(stream, **options)
            for size in (len(stream), 1200, 700):
                outcome = outcome_of(pieces_of(stream, size), **options)
                assert outcome == expected, (position, show, size)

    @pytest.mark.parametrize("odd", [b"", b": comment\r\n", b"foo: y\r\n", b"id: 9\n", b"id: 9\r"])
    def test_are_measured_like_any_others(self, odd: bytes) -> None:
        last = b"id: 2\r\n" + odd + b"data: " + b"y" * 1500
        stream = usual_block(0) + usual_block(1) + last
        for size in (len(stream), 1200, 700):
            parser = EventStreamParser()
            for piece in pieces_of(stream, size):
                parser.feed(piece)
            others = 0 if odd.startswith(b":") else len(odd.rstrip())
            assert parser.unfinished_size == len("id: 2") + others + len("data: ") + 1500

    @pytest.mark.parametrize("size", [5000, 1200, 700])
    def test_come_before_the_error_if_an_event_is_too_large(self, size: int) -> None:
        stream = b"".join(map(usual_block, range(6)))
        limit = len("event: eid: 3data: ") + 1003
        outcome = outcome_of(pieces_of(stream, size), max_event_size=limit)
        assert outcome.too_large
        assert outcome.events == interpret(stream).events[:4]

    def test_end_a_block_that_has_begun_in_another_way(self) -> None:
        chunks = [b": comment\ndata: y\ndata: z\n", b"id: " + b"1" * 500 + b"\r\n\r\n"]
        expected = ServerSentEvent("y\nz", id="1" * 500, comments="comment")
        assert outcome_of(chunks).events == [expected]

    def test_give_their_events_with_the_last_byte_of_the_blank_line(self) -> None:
        blocks = usual_block(0) + usual_block(1)
        for end in (1, 2):
            parser = EventStreamParser()
            first = parser.feed(blocks[:-end])
            assert [event.id for event in [*first, *parser.feed(blocks[-end:])]] == ["0", "1"]
            assert len(first) == 3 - end  # the CR of a blank line ends it


class TestFinalCR:
    def test_ends_the_line_at_once(self) -> None:
        parser = EventStreamParser()
        assert parser.feed(b"data: 1\r\r") == [ServerSentEvent("1")]

    @pytest.mark.parametrize("in_between", [[], [b""], [b"", b""]])
    def test_takes_the_lf_that_follows_along(self, in_between: list[bytes]) -> None:
        parser = EventStreamParser()
        chunks = [b"data: 1\r", *in_between, b"\n\r", *in_between, b"\ndata: 2\r\n\r"]
        events = [parser.feed(chunk) for chunk in chunks]
        nothing: list[list[ServerSentEvent]] = [[] for _ in in_between]
        assert events == [
            [],
            *nothing,
            [ServerSentEvent("1")],
            *nothing,
            [ServerSentEvent("2")],
        ]

    def test_takes_one_lf_along_and_no_more(self) -> None:
        parser = EventStreamParser()
        assert parser.feed(b"data: 1\r") == []
        assert parser.feed(b"\n") == []
        assert parser.feed(b"\n") == [ServerSentEvent("1")]

    def test_leaves_the_event_count_alone_when_the_lf_comes(self) -> None:
        parser = EventStreamParser()
        parser.feed(b"data: 1\r\n\r")
        assert parser.feed(b"\n") == []
        assert parser.feed(b"data: 2\n\n") == [ServerSentEvent("2")]

    def test_makes_the_retry_count(self) -> None:
        parser = EventStreamParser()
        parser.feed(b"retry: 5\r")
        assert parser.reconnection_time == 5

    def test_makes_the_comment_heard(self) -> None:
        heard: list[str] = []
        EventStreamParser(on_comment=heard.append).feed(b": ping\r")
        assert heard == ["ping"]


class TestState:
    def test_is_empty_to_begin_with(self) -> None:
        parser = EventStreamParser()
        assert parser.last_event_id == ""
        assert parser.reconnection_time is None

    def test_the_id_counts_at_the_end_of_its_block(self) -> None:
        parser = EventStreamParser(last_event_id="0")
        parser.feed(b"id: 1\n")
        assert parser.last_event_id == "0"
        parser.feed(b"\n")
        assert parser.last_event_id == "1"

    def test_the_retry_counts_at_the_end_of_its_line(self) -> None:
        parser = EventStreamParser()
        parser.feed(b"retry: 10")
        assert parser.reconnection_time is None
        parser.feed(b"\n")
        assert parser.reconnection_time == 10

    def test_an_event_comes_with_the_last_byte_of_its_blank_line(self) -> None:
        parser = EventStreamParser()
        *others, last = byte_by_byte(b"id: 1\ndata: x\n\n")
        assert [parser.feed(byte) for byte in others] == [[]] * len(others)
        assert parser.feed(last) == [ServerSentEvent("x", id="1")]

    @pytest.mark.parametrize("max_event_size", [10, DEFAULT_MAX_EVENT_SIZE])
    def test_looking_at_it_changes_nothing(self, max_event_size: int) -> None:
        stream = b"retry: 10\n: ping\n\ndata: a\n\n: ping\nid: 2\n\n"
        heard: list[str] = []
        parser = EventStreamParser(on_comment=heard.append, max_event_size=max_event_size)
        events = []
        for byte in byte_by_byte(stream):
            events += parser.feed(byte)
            assert (parser.reconnection_time, parser.last_event_id) in {
                (None, ""),
                (10, ""),
                (10, "2"),
            }
            assert parser.unfinished_size <= len(stream)
        assert (events, heard) == ([ServerSentEvent("a")], ["ping", "ping"])

    def test_two_parsers_share_nothing(self) -> None:
        first, second = EventStreamParser(), EventStreamParser()
        first.feed(b"\xef\xbb\xbfid: 1\nretry: 5\ndata: x\n")
        assert second.feed(b"\xef\xbb\xbfdata: y\n\n") == [ServerSentEvent("y")]
        assert second.reconnection_time is None

    def test_a_chunk_may_be_overwritten_afterwards(self) -> None:
        parser = EventStreamParser()
        buffer = bytearray(b"data: 1")
        parser.feed(memoryview(buffer))
        buffer[:] = b"XXXXXXX"
        assert parser.feed(b"\n\n") == [ServerSentEvent("1")]

    def test_an_event_of_the_parser_equals_one_made_by_hand(self) -> None:
        (event,) = EventStreamParser().feed(b"event: e\nid: 1\nretry: 2\n: c\ndata: d\n\n")
        assert type(event) is ServerSentEvent
        assert event == ServerSentEvent("d", "e", "1", 2, "c")


class TestOnComment:
    def test_is_called_before_the_block_ends(self) -> None:
        heard: list[str] = []
        parser = EventStreamParser(on_comment=heard.append)
        parser.feed(b": ping\n")
        assert heard == ["ping"]
        parser.feed(b":")
        assert heard == ["ping"]
        parser.feed(b"\n")
        assert heard == ["ping", ""]

    def test_is_called_once_for_each_line_in_order(self) -> None:
        heard: list[str] = []
        parser = EventStreamParser(on_comment=heard.append)
        parser.feed(b":a\n: b\ndata: x\n:  c\n\n::\n\n")
        assert heard == ["a", "b", " c", ":"]

    @pytest.mark.parametrize("shown", [False, True])
    def test_is_called_whether_comment_events_are_shown_or_not(self, shown: bool) -> None:
        heard: list[str] = []
        parser = EventStreamParser(on_comment=heard.append, show_comment_events=shown)
        events = parser.feed(b": ping\n\n")
        assert heard == ["ping"]
        assert events == ([ServerSentEvent(comments="ping")] if shown else [])

    def test_hears_broken_utf_8_replaced(self) -> None:
        heard: list[str] = []
        EventStreamParser(on_comment=heard.append).feed(b": \xff\xe2\x82\n")
        assert heard == ["\ufffd\ufffd"]

    @pytest.mark.parametrize("size", [1, 7, 1000])
    def test_may_look_at_the_parser(self, size: int) -> None:
        seen: list[tuple[str, int | None, str]] = []

        def look(comment: str) -> None:
            assert parser.unfinished_size < 100
            seen.append((comment, parser.reconnection_time, parser.last_event_id))

        parser = EventStreamParser(on_comment=look)
        stream = b"id: 1\nretry: 5\n: a\ndata: x\n\n: b\n\nretry: 6\nid: 2\n: c\ndata: y\n\n"
        events = [event.data for piece in pieces_of(stream, size) for event in parser.feed(piece)]
        assert events == ["x", "y"]
        assert seen == [("a", 5, ""), ("b", 5, "1"), ("c", 6, "1")]

    def test_may_raise_and_then_go_on_with_the_next_bytes(self) -> None:
        def refuse(comment: str) -> None:
            raise RuntimeError(comment)

        parser = EventStreamParser(on_comment=refuse)
        parser.feed(b"id: 1\ndata: a\n: pi")
        with pytest.raises(RuntimeError, match="ping"):
            parser.feed(b"ng\n")
        assert parser.feed(b"data: b\n\n") == [ServerSentEvent("a\nb", id="1", comments="ping")]
        with pytest.raises(RuntimeError, match="ping"):
            parser.feed(b"data: a\n: ping\n\n")
        assert parser.feed(b"\n") == [ServerSentEvent("a", id="1", comments="ping")]

    @pytest.mark.parametrize("shown", [False, True])
    def test_hears_each_of_many_heartbeats_between_events(self, shown: bool) -> None:
        heard: list[str] = []
        parser = EventStreamParser(on_comment=heard.append, show_comment_events=shown)
        events = parser.feed(b"data: a\n\n:\n\n: b\n\n" * 10)
        assert heard == ["", "b"] * 10
        assert [event.data for event in events if event.comments is None] == ["a"] * 10
        assert [event.comments for event in events if not event.data] == heard * shown

    def test_may_raise_among_many_heartbeats(self) -> None:
        def refuse(comment: str) -> None:
            raise RuntimeError(comment)

        parser = EventStreamParser(on_comment=refuse)
        with pytest.raises(RuntimeError, match="b"):
            parser.feed(b"data: a\n\n: b\n\n" * 10)
        assert parser.feed(b"\ndata: c\n\n") == [ServerSentEvent("c")]

    def test_hears_comments_beyond_what_is_kept(self) -> None:
        heard: list[str] = []
        parser = EventStreamParser(on_comment=heard.append)
        parser.feed(b": " + b"x" * 1000 + b"\n" + b":" + b"y" * 1000 + b"\n")
        parser.feed((b": " + b"z" * 1000 + b"\n") * 100)
        assert len(heard) == 102


class TestMaxEventSize:
    @pytest.mark.parametrize(
        ("block", "size"),
        [
            (b"data: abcd\n", 10),
            (b"data: ab\ndata: cd\n", 16),
            (b"data\ndata\ndata\n", 12),
            (b"event: e\nid: 1\nretry: 5\ndata\n", 8 + 5 + 8 + 4),
            (b"unknown: field\n", 14),
            (b": comment\n", 9),
            (b"data: abcd\n: comment\n:\n: comment\n", 10),
            (b": comment\n: comment\n", 9),
            ("data: \u20ac\n".encode(), 9),
        ],
    )
    def test_counts_bytes_of_lines_without_their_ends(self, block: bytes, size: int) -> None:
        blocks = b"data: 1\n\n" + block + b"\n" + block + b"\n"
        for line_end, chunking in itertools.product(LINE_ENDS, CHUNKINGS.values()):
            for chunks in chunking(blocks.replace(b"\n", line_end), "max_event_size"):
                assert not outcome_of(chunks, max_event_size=size).too_large, chunks
                outcome = outcome_of(chunks, max_event_size=size - 1)
                assert outcome.too_large, chunks
                assert outcome.events == [ServerSentEvent("1")], chunks

    @pytest.mark.parametrize("begun", [b"data: ", b": ", b"", b"data: x\ndata: "])
    def test_counts_an_unfinished_line(self, begun: bytes) -> None:
        parser = EventStreamParser(max_event_size=100)
        size = len(begun.replace(b"\n", b""))
        parser.feed(begun)
        parser.feed(b"x" * (100 - size))
        with pytest.raises(EventTooLargeError):
            parser.feed(b"x")

    def test_a_comment_is_not_added_to_a_nearly_full_event(self) -> None:
        parser = EventStreamParser(max_event_size=10)
        events = [*parser.feed(b"data: abcd\n: pi"), *parser.feed(b"ng\n\n")]
        assert events == [ServerSentEvent("abcd", comments="ping")]

    def test_does_not_count_the_byte_order_mark(self) -> None:
        parser = EventStreamParser(max_event_size=7)
        assert parser.feed(b"\xef\xbb\xbfdata: x\n\n") == [ServerSentEvent("x")]

    def test_starts_anew_with_each_block(self) -> None:
        parser = EventStreamParser(max_event_size=7)
        assert len(parser.feed(b"data: x\n\n" * 1000)) == 1000

    def test_is_sixteen_mebibytes_unless_set(self) -> None:
        assert DEFAULT_MAX_EVENT_SIZE == 16 * MIB
        filling = b"x" * (16 * MIB - len("data: "))
        (event,) = EventStreamParser().feed(b"data: " + filling + b"\n\n")
        assert len(event.data) == len(filling)
        with pytest.raises(EventTooLargeError):
            EventStreamParser().feed(b"data: " + filling + b"x")

    def test_the_error_tells_the_limit_and_what_came_before(self) -> None:
        parser = EventStreamParser(max_event_size=20)
        assert parser.feed(b"data: 1\n\n") == [ServerSentEvent("1")]
        with pytest.raises(EventTooLargeError, match=r"max_event_size.*20") as caught:
            parser.feed(b"data: 2\n\ndata: 3\n\ndata: " + b"x" * 20 + b"\n\ndata: 4\n\n")
        assert caught.value.limit == 20
        assert caught.value.events == (ServerSentEvent("2"), ServerSentEvent("3"))

    def test_the_error_has_no_events_when_none_came_before(self) -> None:
        parser = EventStreamParser(max_event_size=20)
        parser.feed(b"data: 1\n\ndata: x")
        with pytest.raises(EventTooLargeError) as caught:
            parser.feed(b"x" * 20)
        assert caught.value.events == ()

    def test_the_parser_is_of_no_more_use_afterwards(self) -> None:
        parser = EventStreamParser(max_event_size=20)
        with pytest.raises(EventTooLargeError):
            parser.feed(b"data: 1\n\n" + b"x" * 21)
        for chunk in (b"\n\n", b"data: 2\n\n", b""):
            with pytest.raises(EventTooLargeError) as caught:
                parser.feed(chunk)
            assert caught.value.limit == 20
            assert caught.value.events == ()

    def test_what_was_read_before_can_still_be_asked_for(self) -> None:
        parser = EventStreamParser(max_event_size=20)
        with pytest.raises(EventTooLargeError):
            parser.feed(b"id: 1\nretry: 5\n\nid: 2\n" + b"x" * 21)
        assert parser.last_event_id == "1"
        assert parser.reconnection_time == 5


#: Pieces of lines, none of them blank whatever comes before.
LINES = [b"y" * 100, b"\ndata: y", b"\r\n: y", b"\rdata: ", b"y", b"\n", b"d"]


class TestBounds:
    """Memory by tracemalloc; work by sizes at which going back over old bytes takes hours."""

    @pytest.fixture(autouse=True)
    def _measured(self) -> Iterator[None]:
        tracemalloc.start()
        yield
        tracemalloc.stop()

    @pytest.mark.parametrize("count", [100_000, pytest.param(1_000_000, marks=pytest.mark.ci)])
    @pytest.mark.parametrize("line", [b": keep-alive\n", b":\n", b":" + b"x" * 200 + b"\r\n"])
    def test_many_comment_lines_without_a_blank_line_take_little_memory(
        self, line: bytes, count: int
    ) -> None:
        heard = 0

        def hear(_comment: str) -> None:
            nonlocal heard
            heard += 1

        tracemalloc.stop()  # it would take seconds to follow a million of lines
        parser = EventStreamParser(max_event_size=1000, on_comment=hear)
        chunk = line * 1000
        while heard < count - 10_000:
            parser.feed(chunk)
        tracemalloc.start()
        while heard < count:
            parser.feed(chunk)
        grown, peak = tracemalloc.get_traced_memory()
        assert heard == count
        assert grown < len(chunk)
        assert peak < 2 * MIB
        (event,) = parser.feed(b"data: x\n\n")
        assert event.data == "x"
        assert event.comments is not None
        assert len(event.comments) <= RETAINED_COMMENTS

    def test_comments_are_retained_within_a_bound_in_one_chunk(self) -> None:
        parser = EventStreamParser(show_comment_events=True)
        chunk = b": keep-alive\n" * 100_000 + b"\n"
        (event,) = parser.feed(chunk)
        assert event.comments is not None
        assert len(event.comments) == RETAINED_COMMENTS
        assert event.comments.startswith("keep-alive\nkeep-alive\n")
        assert parser.feed(b": next\n\n") == [ServerSentEvent(comments="next")]

    @pytest.mark.parametrize("before", ["", ":\n", ": some\n: lines\n"])
    def test_a_long_comment_is_retained_as_far_as_there_is_room(self, before: str) -> None:
        tracemalloc.stop()  # it would take seconds to follow the reference
        options = {"show_comment_events": True, "show_retry_events": True}
        for beside, room in itertools.product((b"", b"data: x\n"), (-1, 0, 1, 2)):
            line = ":" + "\N{SNOWMAN}" * (RETAINED_COMMENTS - room) + "\n"
            stream = beside + f"{before}{line}:\n: behind\n\n{line}\n: next\n\n".encode()
            expected = reference_of(stream, **options)
            assert max(len(event.comments or "") for event in expected.events) <= RETAINED_COMMENTS
            for size in (len(stream), 1000):
                outcome = outcome_of(pieces_of(stream, size), **options)
                assert outcome == expected, (beside, room, size)

    def test_a_long_heartbeat_is_retained_as_far_as_there_is_room(self) -> None:
        heard: list[str] = []
        parser = EventStreamParser(show_comment_events=True, on_comment=heard.append)
        assert parser.feed(b": short\n\n") == [ServerSentEvent(comments="short")]
        (event,) = parser.feed(b":" + b"x" * MIB + b"\n\n")
        assert event.comments == "x" * RETAINED_COMMENTS
        assert heard == ["short", "x" * MIB]

    def test_comments_retained_do_not_depend_on_the_chunking(self) -> None:
        stream = b": keep-alive\n" * 10_000 + b"data: x\n\n"
        outcome = outcome_of([stream])
        assert outcome_of([stream[i : i + 999] for i in range(0, len(stream), 999)]) == outcome
        assert outcome_of([stream[i : i + 7] for i in range(0, len(stream), 7)]) == outcome

    def test_nothing_is_kept_of_finished_events(self) -> None:
        parser = EventStreamParser()
        chunk = b"id: 1\nevent: e\n: c\ndata: " + b"x" * 1000 + b"\n\n"
        parser.feed(chunk)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(1000):
            parser.feed(chunk)
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < 16 * 1024

    def test_nothing_is_kept_of_a_too_large_event(self) -> None:
        parser = EventStreamParser(max_event_size=4 * MIB)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(64):
            parser.feed(bytes(64 * 1024))
        with pytest.raises(EventTooLargeError):
            parser.feed(b"x")
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < MIB

    @pytest.mark.parametrize("piece", [b"x", b"xx", b"xxxxxxx"])
    def test_a_line_in_tiny_pieces_takes_little_more_than_its_size(self, piece: bytes) -> None:
        parser = EventStreamParser()
        parser.feed(b"data: ")
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(MIB // 16 // len(piece)):
            parser.feed(piece)
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < MIB // 8

    @pytest.mark.parametrize(
        ("begun", "pieces"),
        [
            pytest.param(b"data: " + b"x" * (8 * MIB), [b"y", b"yy"], id="one long line"),
            pytest.param(b":" + b"x" * (8 * MIB), [b"y", b"yy"], id="one long comment"),
            pytest.param(b"data: x\n" * (MIB // 2), LINES, id="many lines"),
            pytest.param(b"data: x\r" * (MIB // 2), LINES, id="many lines that end with CR"),
            pytest.param(b"data: x\r\n" * (MIB // 2), LINES, id="many lines that end with CRLF"),
            pytest.param(b"foo\n" * MIB, LINES, id="many unknown fields"),
        ],
    )
    def test_more_of_an_unfinished_event_does_not_copy_what_has_come(
        self, begun: bytes, pieces: list[bytes]
    ) -> None:
        parser = EventStreamParser()
        tracemalloc.stop()
        parser.feed(begun)
        tracemalloc.start()
        taken = []
        for piece in pieces * 10:
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            parser.feed(piece)
            _, peak = tracemalloc.get_traced_memory()
            taken.append(peak - before)
        # A buffer may happen to grow, which it does ever more rarely.
        assert sum(size > MIB for size in taken) <= 1, taken


#: What looks at all bytes that it is given.
LOOKING = ["_take_blocks", "_take_lines", "_take_any_lines", "_wait", "_refuse_too_large"]


def work_of(chunks: list[bytes], monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Parse and count: the bytes that are looked at, once for each time, and the calls."""
    seen = calls = 0

    def counting(method: Callable[..., object]) -> Callable[..., object]:
        def counted(self: Any, chunk: bytes) -> object:
            nonlocal seen
            seen += len(chunk)
            return method(self, chunk)

        return counted

    def count_calls(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    parser = EventStreamParser(max_event_size=64 * MIB)
    with monkeypatch.context() as patch:
        for name in LOOKING:
            patch.setattr(EventStreamParser, name, counting(getattr(EventStreamParser, name)))
        sys.setprofile(count_calls)
        try:
            for chunk in chunks:
                parser.feed(chunk)
        finally:
            sys.setprofile(None)
    return seen, calls


def pieces_of(stream: bytes, size: int) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


class TestWorkForEachByte:
    """Does not grow with the size of a line, a block or a stream."""

    @pytest.mark.parametrize(
        ("size", "most"),
        [
            (1, 128),
            (3, 128),
            pytest.param(1, 512, marks=pytest.mark.ci),
            pytest.param(3, 512, marks=pytest.mark.ci),
            (300, 512),
            (16 * 1024, 512),
        ],
    )
    @pytest.mark.parametrize(
        ("begin", "unit"),
        [
            pytest.param(b"data: ", b"x" * 64, id="a long line"),
            pytest.param(b": ", b"x" * 64, id="a long comment"),
            pytest.param(b"", b"data: x\n" * 8, id="a block of many lines"),
            pytest.param(b"", b"data: x\r\n" * 8, id="a block of many lines under CRLF"),
            pytest.param(b"", b"id: %b\r\n" % (b"1" * 250), id="a block of long lines under CRLF"),
            pytest.param(b"id: 1\n", b"foo: x\n" * 8, id="a block of other fields"),
            pytest.param(b"", b": x\n" * 16, id="comments without an end"),
            pytest.param(b"", b"id: 1\ndata: x\n\n" * 4, id="small blocks"),
            pytest.param(b"", b"data: x\n\n" * 8, id="small blocks of data"),
        ],
    )
    def test_is_bounded_and_constant(
        self, begin: bytes, unit: bytes, size: int, most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        figures = []
        for count in (most // 16, most // 4, most):
            stream = begin + unit * count
            seen, calls = work_of(pieces_of(stream, size), monkeypatch)
            figures.append((seen / len(stream), calls / len(stream)))
        (seen, calls), *larger = figures
        assert seen <= 6
        for seen_of_larger, calls_of_larger in larger:
            assert seen_of_larger <= 1.1 * seen + 0.1
            assert calls_of_larger <= 1.1 * calls + 0.1


class TestWork:
    """Sizes at which a parser that goes back over old bytes takes hours, and a linear one a second.

    The time-out is no measurement, it only ends the hours.
    """

    @pytest.mark.timeout(30)
    @pytest.mark.parametrize(
        ("begin", "unit", "count", "more"),
        [
            pytest.param(b"data: ", b"x", 24 * MIB, b"y", id="one long line"),
            pytest.param(b":", b"x", 24 * MIB, b"y", id="one long comment"),
            pytest.param(b"", b"data: x\n", MIB, b"y", id="many lines"),
            pytest.param(b"", b"data: x\n", MIB, b"y\n", id="many lines and more of them"),
            pytest.param(b"", b"data: x\r\n", MIB, b"y\r\n", id="many lines under CRLF"),
        ],
    )
    def test_is_linear_in_what_comes_in_small_pieces(
        self, begin: bytes, unit: bytes, count: int, more: bytes
    ) -> None:
        parser = EventStreamParser(max_event_size=64 * MIB)
        parser.feed(begin + unit * count)
        assert not any(parser.feed(more) for _ in range(100_000))

    @pytest.mark.timeout(30)
    @pytest.mark.parametrize("line_end", LINE_ENDS)
    def test_is_linear_in_the_events_of_one_chunk(self, line_end: bytes) -> None:
        block = b"data: 0123456789" + line_end * 2
        assert len(EventStreamParser().feed(block * 300_000)) == 300_000


class TestArguments:
    @pytest.mark.parametrize("value", ["16", 16.0, None, True, b"16"])
    def test_max_event_size_must_be_an_int(self, value: Any) -> None:
        with pytest.raises(TypeError, match=f"max_event_size.*{type(value).__name__}"):
            EventStreamParser(max_event_size=value)

    @pytest.mark.parametrize("value", [0, -1, -(10**20)])
    def test_max_event_size_must_be_positive(self, value: int) -> None:
        with pytest.raises(ValueError, match=f"max_event_size.*{value}"):
            EventStreamParser(max_event_size=value)

    @pytest.mark.parametrize("value", [None, 1, b"1"])
    def test_last_event_id_must_be_a_str(self, value: Any) -> None:
        with pytest.raises(TypeError, match=f"last_event_id.*{type(value).__name__}"):
            EventStreamParser(last_event_id=value)

    @pytest.mark.parametrize("value", ["print", 1, True])
    def test_on_comment_must_be_callable(self, value: Any) -> None:
        with pytest.raises(TypeError, match=f"on_comment.*{type(value).__name__}"):
            EventStreamParser(on_comment=value)

    def test_options_go_by_name_alone(self) -> None:
        with pytest.raises(TypeError):
            EventStreamParser("1")  # type: ignore[call-arg]  # what is tested

    @pytest.mark.parametrize("chunk", ["data: x\n\n", 1, None, [b"x"], ["data"]])
    def test_a_chunk_must_be_bytes(self, chunk: Any) -> None:
        parser = EventStreamParser()
        parser.feed(b"data: 1")
        with pytest.raises(TypeError, match=f"chunk.*{type(chunk).__name__}"):
            parser.feed(chunk)
        assert parser.feed(b"\n\n") == [ServerSentEvent("1")]


def chunks_that_count(chunks: Iterable[bytes], taken: list[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        taken.append(chunk)
        yield chunk


class TestGenerators:
    CHUNKS = (b"data: 1\n\nda", b"ta: 2\n\ndata: 3\n\n", b": nothing\n\n", b"data: 4\n\n")

    def test_parse_event_stream_gives_an_event_at_a_time(self) -> None:
        taken: list[bytes] = []
        events = parse_event_stream(chunks_that_count(self.CHUNKS, taken))
        assert taken == []
        assert next(events) == ServerSentEvent("1")
        assert len(taken) == 1
        assert next(events) == ServerSentEvent("2")
        assert next(events) == ServerSentEvent("3")
        assert len(taken) == 2
        assert next(events) == ServerSentEvent("4")
        assert list(events) == []

    def test_parse_event_batches_gives_the_events_of_a_chunk_at_a_time(self) -> None:
        taken: list[bytes] = []
        batches = parse_event_batches(chunks_that_count(self.CHUNKS, taken))
        assert taken == []
        assert next(batches) == [ServerSentEvent("1")]
        assert len(taken) == 1
        assert next(batches) == [ServerSentEvent("2"), ServerSentEvent("3")]
        assert next(batches) == [ServerSentEvent("4")]
        assert list(batches) == []

    @pytest.mark.parametrize("parse", [parse_event_stream, parse_event_batches])
    def test_nothing_comes_of_no_chunks(
        self, parse: Callable[[Iterable[bytes]], Iterator[object]]
    ) -> None:
        assert list(parse([])) == []
        assert list(parse([b"", b"data: unfinished"])) == []

    def test_a_parser_of_ones_own_keeps_its_state(self) -> None:
        parser = EventStreamParser(last_event_id="1", show_retry_events=True)
        first = list(parse_event_stream([b"retry: 5\n\nid: 2\ndata"], parser=parser))
        second = list(parse_event_stream([b": x\n\n"], parser=parser))
        assert first == [ServerSentEvent(id="1", retry=5)]
        assert second == [ServerSentEvent("x", id="2")]
        assert parser.reconnection_time == 5

    def test_the_events_before_a_too_large_one_come_before_the_error(self) -> None:
        parser = EventStreamParser(max_event_size=10)
        events = parse_event_stream(
            [b"data: 1\n\n", b"data: 2\n\ndata: 3\n\ndata: too large"], parser=parser
        )
        assert [next(events) for _ in range(3)] == [ServerSentEvent(text) for text in "123"]
        with pytest.raises(EventTooLargeError) as caught:
            next(events)
        assert caught.value.limit == 10
        assert list(events) == []

    def test_the_batch_before_a_too_large_event_comes_before_the_error(self) -> None:
        parser = EventStreamParser(max_event_size=10)
        batches = parse_event_batches(
            [b"data: 1\n\n", b"data: 2\n\ndata: 3\n\ndata: too large"], parser=parser
        )
        assert next(batches) == [ServerSentEvent("1")]
        assert next(batches) == [ServerSentEvent("2"), ServerSentEvent("3")]
        with pytest.raises(EventTooLargeError):
            next(batches)

    def test_no_empty_batch_comes_before_the_error(self) -> None:
        parser = EventStreamParser(max_event_size=10)
        batches = parse_event_batches([b"data: too large"], parser=parser)
        with pytest.raises(EventTooLargeError):
            next(batches)

    @pytest.mark.parametrize("parse", [parse_event_stream, parse_event_batches])
    def test_a_whole_stream_in_place_of_its_chunks_is_refused(
        self, parse: Callable[[Any], Iterator[object]]
    ) -> None:
        for stream in (b"data: x\n\n", "data: x\n\n"):
            with pytest.raises(TypeError, match="chunk"):
                list(parse(stream))
