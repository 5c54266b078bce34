"""Named event streams, each with the expected events.

A stream has LF line ends if possible, so that a test can replace them by CR or CRLF. A stream that
contains a CR itself is used unchanged. The names ``whatwg-`` mark the examples of WHATWG HTML,
section 9.2. The names ``wpt-`` mark the facts of the web platform tests of the same names
(``eventsource/format-*``).
"""

from __future__ import annotations

from dataclasses import dataclass

from sse_client.event_stream.events import ServerSentEvent as Event

BOM = b"\xef\xbb\xbf"

#: The value of a ``retry`` with too many digits: the largest number of 18 digits.
LARGEST_RETRY = 999_999_999_999_999_999


@dataclass(frozen=True)
class Stream:
    """A named stream: its bytes, the options of the parser, and the result."""

    name: str
    data: bytes
    events: tuple[Event, ...] = ()
    last_event_id: str = ""
    reconnection_time: int | None = None
    starting_id: str = ""
    show_comment_events: bool = False
    show_retry_events: bool = False

    def variants(self) -> dict[str, bytes]:
        """Return the bytes with each possible line end, by its name."""
        if b"\r" in self.data:
            return {"raw": self.data}
        if b"\n" not in self.data:
            return {"LF": self.data}
        return {
            "LF": self.data,
            "CR": self.data.replace(b"\n", b"\r"),
            "CRLF": self.data.replace(b"\n", b"\r\n"),
        }


_LONG_COMMENT = "x" * 2048

_WHATWG = [
    Stream(
        "whatwg-messages",
        b"data: The first message.\n\n"
        b"data: The second message,\ndata: on two lines.\n\n"
        b"data: The third message.\n\n",
        (
            Event("The first message."),
            Event("The second message,\non two lines."),
            Event("The third message."),
        ),
    ),
    Stream(
        "whatwg-event-types",
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        (Event("73857293", "add"), Event("2153", "remove"), Event("113411", "add")),
    ),
    Stream(
        "whatwg-stock-ticker",
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        (Event("YHOO\n+2\n10"),),
    ),
    Stream(
        "whatwg-comment-and-ids",
        b": test stream\n\n"
        b"data: first event\nid: 1\n\n"
        b"data:second event\nid\n\n"
        b"data:  third event\n\n",
        (Event("first event", id="1"), Event("second event"), Event(" third event")),
    ),
    Stream(
        "whatwg-comment-and-ids-cut-off-before-the-last-blank-line",
        b": test stream\n\n"
        b"data: first event\nid: 1\n\n"
        b"data:second event\nid\n\n"
        b"data:  third event\n",
        (Event("first event", id="1"), Event("second event")),
    ),
    Stream(
        "whatwg-empty-data",
        b"data\n\ndata\ndata\n\ndata:",
        (Event(""), Event("\n")),
    ),
    Stream(
        "whatwg-space-after-colon",
        b"data:test\n\ndata: test\n\n",
        (Event("test"), Event("test")),
    ),
]

_WPT = [
    Stream(
        "wpt-bom",
        BOM + b"data:1\n\n" + BOM + b"data:2\n\ndata:3\n\n",
        (Event("1"), Event("3")),
    ),
    Stream(
        "wpt-bom-2",
        BOM + BOM + b"data:1\n\ndata:2\n\ndata:3\n\n",
        (Event("2"), Event("3")),
    ),
    Stream(
        "wpt-comments",
        b"data:1\r:\0\n:\r\ndata:2\n:%(x)b\rdata:3\n:data:fail\r:%(x)b\ndata:4\n\n"
        % {b"x": _LONG_COMMENT.encode()},
        (
            Event(
                "1\n2\n3\n4",
                comments=f"\0\n\n{_LONG_COMMENT}\ndata:fail\n{_LONG_COMMENT}",
            ),
        ),
    ),
    Stream(
        "wpt-data-before-final-empty-line",
        b"retry:1000\ndata:test1\n\nid:test\ndata:test2\n",
        (Event("test1", retry=1000),),
        reconnection_time=1000,
    ),
    Stream(
        "wpt-field-data",
        b"data:\n\ndata\ndata\n\ndata:test\n\n",
        (Event(""), Event("\n"), Event("test")),
    ),
    Stream(
        "wpt-field-event",
        b"event:test\ndata:x\n\ndata:x\n\n",
        (Event("x", "test"), Event("x")),
    ),
    Stream("wpt-field-event-empty", b"event: \ndata:data\n\n", (Event("data"),)),
    Stream(
        "wpt-field-id",
        "id: \u2026\nretry: 200\ndata: hello\n\n".encode(),
        (Event("hello", id="\u2026", retry=200),),
        last_event_id="\u2026",
        reconnection_time=200,
    ),
    Stream(
        "wpt-field-id-2",
        "data: \u2026\n\ndata: \u2026\n\n".encode(),
        (Event("\u2026", id="\u2026"), Event("\u2026", id="\u2026")),
        starting_id="\u2026",
        last_event_id="\u2026",
    ),
    Stream(
        "wpt-field-id-3-persists",
        b"id: 1\ndata: 1\n\ndata:2\n\nid: 2\ndata:3\n\ndata:4\n\n",
        (Event("1", id="1"), Event("2", id="1"), Event("3", id="2"), Event("4", id="2")),
        last_event_id="2",
    ),
    Stream(
        "wpt-field-id-3-resets",
        b"id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n",
        (Event("1", id="1"), Event("2"), Event("3")),
    ),
    Stream(
        "wpt-field-id-3-resets-without-colon",
        b"id: 1\ndata: 1\n\nid\ndata:2\n\ndata:3\n\n",
        (Event("1", id="1"), Event("2"), Event("3")),
    ),
    *(
        Stream(
            f"wpt-field-id-null-{number}",
            b"id: " + value + b"\nretry: 200\ndata: hello\n\n",
            (Event("hello", retry=200),),
            reconnection_time=200,
        )
        for number, value in enumerate([b"\0\0", b"x\0", b"\0x", b"x\0x", b" \0"], start=1)
    ),
    Stream(
        "wpt-field-parsing",
        b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\n"
        b"da-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
        (Event("\0\n 2\n1\n3\n\n4"),),
    ),
    Stream(
        "wpt-field-retry",
        b"retry:03000\ndata:x\n\n",
        (Event("x", retry=3000),),
        reconnection_time=3000,
    ),
    Stream(
        "wpt-field-retry-bogus",
        b"retry:3000\nretry:1000x\ndata:x\n\n",
        (Event("x", retry=3000),),
        reconnection_time=3000,
    ),
    Stream("wpt-field-retry-empty", b"retry\ndata:test\n\n", (Event("test"),)),
    Stream(
        "wpt-field-unknown",
        b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
        (Event("test\n\ntest", comments="thisisacommentyay"),),
    ),
    Stream(
        "wpt-leading-space",
        b"data:\ttest\rdata: \ndata:test\n\n",
        (Event("\ttest\n\ntest"),),
    ),
    Stream(
        "wpt-newlines",
        b"data:test\r\ndata\ndata:test\r\n\r\n",
        (Event("test\n\ntest"),),
    ),
    Stream("wpt-null-character", b"data:\0\n\n", (Event("\0"),)),
    Stream("wpt-utf-8", "data:ok\u2026\n\n".encode(), (Event("ok\u2026"),)),
]

_LINE_ENDS = [
    Stream(
        "other-unicode-line-breaks-are-data",
        "data: a\u2028b\u2029c\u0085d\vE\ff\x1cg\x1dh\x1ei\n\n".encode(),
        (Event("a\u2028b\u2029c\u0085d\vE\ff\x1cg\x1dh\x1ei"),),
    ),
    Stream(
        "other-unicode-line-breaks-are-no-blank-lines",
        "data: 1\n\u2028\n\u0085\n\v\n\f\ndata: 2\n\n".encode(),
        (Event("1\n2"),),
    ),
    Stream(
        "other-unicode-line-breaks-in-every-field",
        "id: a\u2028b\nevent: c\u0085d\n: e\vf\ndata\n\n".encode(),
        (Event("", "c\u0085d", "a\u2028b", comments="e\vf"),),
        last_event_id="a\u2028b",
    ),
    Stream("cr-cr-at-the-end", b"data: 1\r\r", (Event("1"),)),
    Stream("crlf-cr-at-the-end", b"data: 1\r\n\r", (Event("1"),)),
    Stream("cr-crlf", b"data: 1\r\r\n", (Event("1"),)),
    Stream("lf-cr-is-two-line-ends", b"data: 1\n\rdata: 2\n\r", (Event("1"), Event("2"))),
    Stream("crlf-is-one-line-end", b"data: 1\r\ndata: 2\r\n\r\n", (Event("1\n2"),)),
    Stream(
        "cr-lf-lf-is-two-line-ends",
        b"data: 1\r\n\ndata: 2\r\r\n\ndata: 3\n\r\n",
        (Event("1"), Event("2"), Event("3")),
    ),
    Stream(
        "mixed-line-ends-within-a-block",
        b"id: 1\rdata: a\r\ndata: b\n\rid: 2\r\ndata: c\r\r",
        (Event("a\nb", id="1"), Event("c", id="2")),
        last_event_id="2",
    ),
    Stream("empty", b""),
    Stream("only-blank-lines", b"\n\n\n\n\n"),
    Stream("only-mixed-blank-lines", b"\r\n\r\r\n\n\r"),
    Stream(
        "many-blank-lines-between-blocks",
        b"\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n\n",
        (Event("1"), Event("2")),
    ),
]

_FIELDS = [
    Stream("colon-and-nothing", b"data:\n\n", (Event(""),)),
    Stream("no-colon", b"data\n\n", (Event(""),)),
    Stream("one-space-and-nothing", b"data: \n\n", (Event(""),)),
    Stream("empty-data-lines-around-data", b"data\ndata: x\ndata:\ndata\n\n", (Event("\nx\n\n"),)),
    Stream("one-leading-space-goes", b"data:   three  \n\n", (Event("  three  "),)),
    Stream("other-leading-blanks-stay", "data:\u00a0x\ty\n\n".encode(), (Event("\u00a0x\ty"),)),
    Stream("colons-in-the-value", b"data:: a:b: c:\n\n", (Event(": a:b: c:"),)),
    Stream("value-that-looks-like-a-field", b"data:data: x\n\n", (Event("data: x"),)),
    Stream(
        "names-are-case-sensitive",
        b"Data: 1\nDATA: 2\nEVENT: a\nEvent: b\nId: 1\nID: 2\nRetry: 5\nRETRY\ndata: x\n\n",
        (Event("x"),),
    ),
    Stream(
        "names-hold-no-blanks",
        b" data: 1\ndata : 2\n\tdata: 3\n id: 1\nid : 2\nretry : 5\nevent : a\ndata: x\n\n",
        (Event("x"),),
    ),
    Stream(
        "names-are-whole",
        b"dat: 1\ndataa: 2\ni: 3\nidd: 4\neven: a\nevents: b\nretr: 5\nretry2: 6\ndatadata\n"
        b"data: x\n\n",
        (Event("x"),),
    ),
    Stream(
        "names-beside-other-bytes",
        b"\0data: 1\ndata\0: 2\nd\xffata: 3\ndata\xc3: 4\n\xffdata\ndata: x\n\n",
        (Event("x"),),
    ),
    Stream("unknown-fields-alone", b"foo: bar\nbaz\n\n"),
    Stream("no-colon-lines", b"event\nid\nretry\ndata\n\n", (Event(""),)),
    Stream(
        "the-last-event-field-counts",
        b"event: a\nevent: b\ndata: 1\n\nevent: a\nevent\ndata: 2\n\n",
        (Event("1", "b"), Event("2")),
    ),
    Stream(
        "the-event-type-ends-with-its-block",
        b"event: a\n\ndata: 1\n\n",
        (Event("1"),),
    ),
    Stream("an-event-type-named-message", b"event: message\ndata: 1\n\n", (Event("1"),)),
    Stream("an-event-type-with-blanks", b"event:  a b \ndata\n\n", (Event("", " a b "),)),
    Stream(
        "fields-in-any-order",
        b"data: a\nretry: 7\ndata: b\nid: 1\nevent: e\ndata: c\n\n",
        (Event("a\nb\nc", "e", "1", 7),),
        last_event_id="1",
        reconnection_time=7,
    ),
    Stream("null-in-data-and-event", b"data: a\0b\nevent: c\0\n\n", (Event("a\0b", "c\0"),)),
    Stream("json", b'data: {"a": [1, 2]}\n\n', (Event('{"a": [1, 2]}'),)),
    Stream("done-marker", b"data: [DONE]\n\n", (Event("[DONE]"),)),
    Stream(
        "one-value-larger-than-a-network-read",
        b"data: " + b"0123456789abcdef" * 128 + b"\n\n",
        (Event("0123456789abcdef" * 128),),
    ),
]

_COMMENTS = [
    Stream("comment-lines-alone", b": a\n:b\n:\n\n"),
    Stream(
        "comment-lines-beside-data",
        b": a\ndata: 1\n:b\n:\n:  c\ndata: 2\n\ndata: 3\n\n",
        (Event("1\n2", comments="a\nb\n\n c"), Event("3")),
    ),
    Stream("comment-that-looks-like-a-field", b":data: 1\n::\n\n"),
    Stream(
        "comments-of-a-block-without-data-are-not-kept-for-the-next",
        b": a\n\ndata: 1\n\n",
        (Event("1"),),
    ),
    Stream("colon-behind-a-blank-is-no-comment", b" : a\ndata\n\n", (Event(""),)),
]

_IDS = [
    Stream("an-id-alone-counts", b"id: 1\n\n", last_event_id="1"),
    Stream(
        "an-id-alone-is-that-of-the-next-event",
        b"id: 1\n\ndata: x\n\n",
        (Event("x", id="1"),),
        last_event_id="1",
    ),
    Stream(
        "the-last-id-of-a-block-counts",
        b"id: 1\nid: 2\ndata: x\n\nid: 3\nid\ndata: y\n\n",
        (Event("x", id="2"), Event("y")),
    ),
    Stream(
        "an-ignored-id-changes-nothing",
        b"id: 1\nid: 2\0\ndata: x\n\nid: \0\ndata: y\n\n",
        (Event("x", id="1"), Event("y", id="1")),
        last_event_id="1",
    ),
    Stream("an-id-keeps-its-blanks", b"id:  1 \ndata\n\n", (Event("", id=" 1 "),), " 1 "),
    Stream("a-cut-off-block-is-discarded", b"data: 1\n\ndata: 2\n", (Event("1"),)),
    Stream(
        "a-cut-off-block-is-discarded-with-its-id",
        b"id: 1\ndata: x\n\nid: 2\ndata: y\n",
        (Event("x", id="1"),),
        last_event_id="1",
    ),
    Stream(
        "a-cut-off-id-line-is-discarded",
        b"id: 1\n\nid: 2",
        last_event_id="1",
    ),
    Stream("a-starting-id-stays", b": nothing\n\n", starting_id="7", last_event_id="7"),
    Stream(
        "a-starting-id-is-replaced",
        b"data: 1\n\nid: 8\ndata: 2\n\nid\ndata: 3\n\n",
        (Event("1", id="7"), Event("2", id="8"), Event("3")),
        starting_id="7",
    ),
    Stream(
        "a-starting-id-survives-a-cut-off-reset",
        b"id\ndata: 1\n",
        starting_id="7",
        last_event_id="7",
    ),
]

_RETRY = [
    Stream("a-retry-alone-counts", b"retry: 10\n\n", reconnection_time=10),
    Stream("a-retry-counts-in-a-cut-off-block", b"retry: 10\n", reconnection_time=10),
    Stream(
        "a-retry-counts-before-its-cut-off-event",
        b"retry: 1\ndata: x\n\nretry: 2\ndata: y\n",
        (Event("x", retry=1),),
        reconnection_time=2,
    ),
    Stream("a-cut-off-retry-line-is-discarded", b"retry: 10\nretry: 20", reconnection_time=10),
    Stream(
        "the-last-retry-of-a-block-counts",
        b"retry: 1\nretry: 2\ndata\n\n",
        (Event("", retry=2),),
        reconnection_time=2,
    ),
    Stream(
        "a-retry-belongs-to-its-block",
        b"retry: 1\n\ndata: x\n\n",
        (Event("x"),),
        reconnection_time=1,
    ),
    Stream(
        "a-retry-of-nothing",
        b"retry: 0\ndata\n\nretry: 000\ndata\n\n",
        (Event("", retry=0), Event("", retry=0)),
        reconnection_time=0,
    ),
    Stream("a-huge-retry", b"retry: " + b"9" * 5000 + b"\n", reconnection_time=LARGEST_RETRY),
    Stream(
        "the-longest-retry-taken-literally",
        b"retry: 123456789012345678\n",
        reconnection_time=123_456_789_012_345_678,
    ),
    Stream(
        "a-retry-of-nineteen-digits",
        b"retry: 1234567890123456789\n",
        reconnection_time=LARGEST_RETRY,
    ),
    Stream(
        "a-retry-of-many-leading-zeros",
        b"retry: " + b"0" * 5000 + b"25\n",
        reconnection_time=25,
    ),
    *(
        Stream(
            f"a-bogus-retry-{name}",
            b"retry: 5\n\nretry:" + value + b"\ndata\n\n",
            (Event(""),),
            reconnection_time=5,
        )
        for name, value in [
            ("empty", b""),
            ("blank", b" "),
            ("plus", b"+10"),
            ("minus", b"-10"),
            ("two-leading-spaces", b"  10"),
            ("trailing-space", b"10 "),
            ("inner-space", b"1 0"),
            ("tab", b"\t10"),
            ("fraction", b"1.5"),
            ("exponent", b"1e3"),
            ("hexadecimal", b"0x10"),
            ("underscore", b"1_000"),
            ("null", b"10\0"),
            ("arabic-indic-digits", "\u0661\u0662".encode()),
            ("fullwidth-digits", "\uff11\uff12".encode()),
            ("superscript", "1\u00b2".encode()),
            ("broken-utf-8", b"10\xff"),
        ]
    ),
]

_KTOR = [
    Stream(
        "comments-shown",
        b": a\n:\n: b\n\n:\n\n",
        (Event(comments="a\n\nb"), Event(comments="")),
        show_comment_events=True,
    ),
    Stream("comments-hidden-when-retry-is-shown", b": a\n\n", show_retry_events=True),
    Stream(
        "retry-shown",
        b"retry: 10\n\nretry: 0\n\n",
        (Event(retry=10), Event(retry=0)),
        reconnection_time=0,
        show_retry_events=True,
    ),
    Stream(
        "retry-hidden-when-comments-are-shown",
        b"retry: 10\n\n",
        reconnection_time=10,
        show_comment_events=True,
    ),
    *(
        Stream(
            f"comments-beside-a-retry-are-neither-{name}",
            b": a\nretry: 10\n\nretry: 11\n: b\n\n",
            reconnection_time=11,
            show_comment_events=comments,
            show_retry_events=retry,
        )
        for name, comments, retry in [
            ("of-both", True, True),
            ("of-comments", True, False),
            ("of-retry", False, True),
        ]
    ),
    Stream(
        "a-sticky-id-hides-no-extras",
        b"id: 1\ndata: x\n\n: a\n\nretry: 10\n\n",
        (Event("x", id="1"), Event(id="1", comments="a"), Event(id="1", retry=10)),
        last_event_id="1",
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "a-starting-id-hides-no-extras",
        b": a\n\nretry: 10\n\n",
        (Event(id="7", comments="a"), Event(id="7", retry=10)),
        starting_id="7",
        last_event_id="7",
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "an-id-of-their-own-hides-extras",
        b"id: 1\n: a\n\nid: 2\nretry: 10\n\n: b\nid\n\n",
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "an-event-type-hides-extras",
        b"event: e\n: a\n\nevent: e\nretry: 10\n\n: b\nevent\n\n",
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "unknown-fields-hide-no-extras",
        b"foo: 1\n: a\nbar\n\nfoo: 1\nretry: 10\nbar\n\n",
        (Event(comments="a"), Event(retry=10)),
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "ignored-fields-hide-no-extras",
        b"retry: x\n: a\n\nid: \0\nretry: 10\n\n",
        (Event(comments="a"), Event(retry=10)),
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "extras-cut-off",
        b": a\n\n: b\n",
        (Event(comments="a"),),
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "extras-are-not-made-of-nothing",
        b"\n\nfoo\n\nretry: x\n\nid: \0\n\nid: 1\n\nevent: e\n\n",
        last_event_id="1",
        show_comment_events=True,
        show_retry_events=True,
    ),
    Stream(
        "data-beside-everything",
        b"event: e\nid: 1\nretry: 10\n: a\ndata: x\n\n",
        (Event("x", "e", "1", 10, "a"),),
        last_event_id="1",
        reconnection_time=10,
        show_comment_events=True,
        show_retry_events=True,
    ),
]

_BOM = [
    Stream("bom-alone", BOM),
    Stream("bom-begun", BOM[:2]),
    Stream("bom-before-data", BOM + b"data: 1\n\n", (Event("1"),)),
    Stream("bom-before-a-comment", BOM + b": a\ndata\n\n", (Event("", comments="a"),)),
    Stream("bom-before-a-blank-line", BOM + b"\n\ndata: 1\n\n", (Event("1"),)),
    Stream("bom-before-a-cr", BOM + b"\r\ndata: 1\r\n\r\n", (Event("1"),)),
    Stream("bom-twice-before-the-only-data", BOM + BOM + b"data: 1\n\n"),
    Stream("bom-twice-before-a-comment-makes-a-name", BOM + BOM + b": a\ndata\n\n", (Event(""),)),
    Stream(
        "bom-in-the-middle",
        b"data: 1\n" + BOM + b"data: 2\n\n" + BOM + b"\ndata: 3\n\n",
        (Event("1"), Event("3")),
    ),
    Stream("bom-behind-a-line-end", b"\n" + BOM + b"data: 1\n\n"),
    Stream(
        "bom-in-values",
        b"data:" + BOM + b"x\nid: " + BOM + b"\nevent:" + BOM + b"\n\n",
        (Event("\ufeffx", "\ufeff", "\ufeff"),),
        last_event_id="\ufeff",
    ),
    Stream("bom-broken-off", BOM[:2] + b"data: 1\n\ndata: 2\n\n", (Event("2"),)),
    Stream("bom-broken-off-by-a-line-end", BOM[:1] + b"\ndata: 1\n\n", (Event("1"),)),
    Stream("bom-of-utf-16", b"\xff\xfedata: 1\n\ndata: 2\n\n", (Event("2"),)),
]

_UTF_8 = [
    Stream(
        "characters-of-every-length",
        "data: a\u00e9\u20ac\U0001f600\U0010ffff\uffff\n\n".encode(),
        (Event("a\u00e9\u20ac\U0001f600\U0010ffff\uffff"),),
    ),
    *(
        Stream(f"broken-utf-8-{name}", b"data: " + value + b"\n\n", (Event(text),))
        for name, value, text in [
            ("lone-continuation", b"\x80", "\ufffd"),
            ("two-continuations", b"a\xbf\x80b", "a\ufffd\ufffdb"),
            ("continuation-too-many", b"\xc3\xa9\xa9", "\u00e9\ufffd"),
            ("cut-sequence-of-two", b"\xc3(", "\ufffd("),
            ("cut-sequence-of-three", b"\xe2\x82x", "\ufffdx"),
            ("cut-sequence-of-three-after-one", b"\xe2x", "\ufffdx"),
            ("cut-sequence-of-four", b"\xf0\x9f\x98x", "\ufffdx"),
            ("cut-sequence-of-four-after-two", b"\xf0\x9fx", "\ufffdx"),
            ("cut-sequence-before-a-good-one", b"\xf0\x9f\x98\xe2\x82\xac", "\ufffd\u20ac"),
            ("cut-sequences-in-a-row", b"\xe2\x82\xe2\x82\xf0\x9f\xc3", "\ufffd" * 4),
            ("overlong-of-two", b"\xc0\xaf", "\ufffd" * 2),
            ("overlong-of-two-largest", b"\xc1\xbf", "\ufffd" * 2),
            ("overlong-of-three", b"\xe0\x80\xaf", "\ufffd" * 3),
            ("overlong-of-three-largest", b"\xe0\x9f\xbf", "\ufffd" * 3),
            ("overlong-of-four", b"\xf0\x80\x80\xaf", "\ufffd" * 4),
            ("overlong-of-four-largest", b"\xf0\x8f\xbf\xbf", "\ufffd" * 4),
            ("overlong-null", b"\xc0\x80", "\ufffd" * 2),
            ("overlong-line-feed", b"\xc0\x8a", "\ufffd" * 2),
            ("surrogate-high", b"\xed\xa0\x80", "\ufffd" * 3),
            ("surrogate-low", b"\xed\xbf\xbf", "\ufffd" * 3),
            ("surrogate-pair", b"\xed\xa0\xbd\xed\xb8\x80", "\ufffd" * 6),
            ("surrogate-begun", b"\xed\xa0x", "\ufffd\ufffdx"),
            ("beyond-the-last-character", b"\xf4\x90\x80\x80", "\ufffd" * 4),
            ("beyond-any-sequence", b"\xf5\x80\x80\x80", "\ufffd" * 4),
            ("sequence-of-five", b"\xf8\x88\x80\x80\x80", "\ufffd" * 5),
            ("sequence-of-six", b"\xfc\x84\x80\x80\x80\x80", "\ufffd" * 6),
            ("never-a-byte", b"\xfe\xff", "\ufffd" * 2),
            ("behind-the-colon", b"\x82x", "\ufffdx"),
        ]
    ),
    Stream(
        "broken-utf-8-cut-at-the-line-end",
        b"data: \xe2\x82\ndata: \xf0\x9f\x98\ndata: \xc3\ndata: x\n\n",
        (Event("\ufffd\n\ufffd\n\ufffd\nx"),),
    ),
    Stream(
        "broken-utf-8-not-mended-across-lines",
        b"data: \xe2\x82\ndata:\xac\n\xac\n\n",
        (Event("\ufffd\n\ufffd"),),
    ),
    Stream("broken-utf-8-at-the-stream-end", b"data: 1\n\ndata: \xe2\x82", (Event("1"),)),
    Stream("broken-utf-8-alone-on-a-line", b"data: 1\n\xff\n\n", (Event("1"),)),
    Stream(
        "broken-utf-8-in-every-field",
        b"id: \xff1\xe2\x82\nevent: \xc3\n: \xed\xa0\x80\ndata: \x80\n\n",
        (Event("\ufffd", "\ufffd", "\ufffd1\ufffd", comments="\ufffd" * 3),),
        last_event_id="\ufffd1\ufffd",
    ),
    Stream(
        "replacement-character-itself",
        "data: \ufffd\n\n".encode(),
        (Event("\ufffd"),),
    ),
]

FAMILIES = {
    "whatwg": _WHATWG,
    "wpt": _WPT,
    "line ends": _LINE_ENDS,
    "fields": _FIELDS,
    "comments": _COMMENTS,
    "ids": _IDS,
    "retry": _RETRY,
    "ktor": _KTOR,
    "bom": _BOM,
    "utf-8": _UTF_8,
}

STREAMS = tuple(stream for family in FAMILIES.values() for stream in family)
