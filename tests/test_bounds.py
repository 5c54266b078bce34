"""The memory that a hostile or broken server can make a client use.

A client in its own interpreter follows a server that sends endless or very large data. It reports
its peak memory beyond the memory after a first stream (VmHWM minus VmRSS, which unlike ru_maxrss
exclude the process from which it was forked).
"""

from __future__ import annotations

import gzip
import itertools
import json
import subprocess
import sys
import zlib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support import Signal, sse_client_for_tests

from sse_client.http.own_session import MAX_COOKIE_SIZE, MAX_COOKIES
from sse_client.session.reconnection import MAX_SERVER_DELAY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sse_client.testing import Exchange

MIB = 1024 * 1024

CHILD = """
import json, sys, threading
from pathlib import Path
from sse_client import SSE, BufferPolicy, HttpClient, SSEClientError

def mebibytes(name):
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))

url, options = sys.argv[1], json.loads(sys.argv[2])
takes_late = options.pop("takes_late", False)
if options.pop("keeps_all", False):
    options["buffer_policy"] = BufferPolicy.all()
ended = threading.Event()
told = {"events": 0, "last": None, "error": "", "body": 0}
with HttpClient().install(SSE, reconnect="never", on_close=lambda _: ended.set()) as client:
    with client.sse(url + "first") as session:
        list(session.incoming)
    ended.clear()
    before = mebibytes("VmRSS")
    try:
        with client.sse(url, **options) as session:
            if takes_late:
                ended.wait()
            for event in session.incoming:
                told["events"] += 1
                told["last"] = event.data[:80]
    except SSEClientError as error:
        told["error"] = f"{type(error).__name__}: {error}"
        told["body"] = len(getattr(error, "body", b""))
    told["peak"] = mebibytes("VmHWM") - before
print(json.dumps(told))
"""


def follow(server, handler, **options) -> dict[str, Any]:
    """The report of a new client about a stream of this handler."""

    def handle(exchange):
        if exchange.request.path == "/first":
            exchange.send("one")
            exchange.end()
        else:
            handler(exchange)

    server.handler = handle
    done = subprocess.run(
        [sys.executable, "-c", CHILD, server.url, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def endless(piece, *, begin=b"", **options):
    """A handler that opens a stream and then repeats the same data forever."""
    again = piece * (1 + 65536 // len(piece))

    def handle(exchange):
        exchange.open(**options)
        exchange.write(begin)
        while True:
            exchange.write(again)

    return handle


def endless_raw(begin, piece):
    """The same without framing: for a header, or the data between chunks."""
    again = piece * (1 + 65536 // len(piece))

    def handle(exchange):
        exchange.write_raw(begin)
        while True:
            exchange.write_raw(again)

    return handle


def sent(*pieces, times=1, **options):
    """A handler that sends the pieces of a body, the first one ``times`` times."""

    def handle(exchange):
        exchange.open(**options)
        first, *rest = pieces
        for _ in range(times):
            exchange.write(first)
        for piece in rest:
            exchange.write(piece)
        exchange.end()

    return handle


def numbered(count, size):
    """A handler that sends this many events, each with an ID of this size."""

    def handle(exchange):
        for number in range(count):
            exchange.send(f"{number}", id=f"{number:0{size}}")
        exchange.end()

    return handle


def deflated(data):
    """The data as deflate blocks that do not depend on other blocks."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def bomb(unit, count, end=b""):
    """This many MiB of the same data, and an end, compressed."""
    start = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # of a gzip file (RFC 1952)
    return start + deflated(unit * (MIB // len(unit))) * count + deflated(end)


def header(*lines, status=b"HTTP/1.1 200 OK"):
    """A handler that sends only this header."""
    whole = b"\r\n".join([status, b"Content-Type: text/event-stream", *lines, b"", b""])
    return lambda exchange: exchange.write_raw(whole)


OK = b"HTTP/1.1 200 OK\r\n"
MOVED = b"HTTP/1.1 302 Found"
CHUNKED = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
GZIP = {"headers": {"Content-Encoding": "gzip"}}
TWICE = {"headers": {"Content-Encoding": "gzip, gzip"}}
GZIP_CHUNK = b"%x\r\n%b\r\n" % (len(gzip.compress(b"")), gzip.compress(b""))
GZIPPED = CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + GZIP_CHUNK
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
TOO_LARGE = "EventTooLargeError"
FAILED = "ConnectionFailedError"
BROKE = "StreamInterruptedError"


class Case(NamedTuple):
    """A handler, its outcome, and the maximum peak memory in MiB."""

    peak: float
    handler: Callable[[Exchange], object]
    #: The data of the last event, or the beginning of the error.
    outcome: str
    options: Mapping[str, Any] = MappingProxyType({})


#: The limits are about twice the measured values, which docs/limits.md states.
CASES = {
    # The content of a stream.
    "1,000,000 comment lines": Case(
        8, sent(b": beat\n" * 10_000, b"data: end\n\n", times=100), "end"
    ),
    "1,000,000 comments": Case(8, sent(b":\n\n" * 10_000, b"data: end\n\n", times=100), "end"),
    "a line without end": Case(32, endless(b"x", begin=b"data: "), TOO_LARGE),
    "a comment without end": Case(32, endless(b"x", begin=b":"), TOO_LARGE),
    "a field name without end": Case(48, endless(b"x"), TOO_LARGE),
    "data lines without end": Case(24, endless(b"data: ab\n"), TOO_LARGE),
    "data lines of two kinds without end": Case(310, endless(b"data: ab\ndata:cd\n"), TOO_LARGE),
    "an event of 16 MB with an emoji": Case(
        210, sent(b"data: \xf0\x9f\x98\x80" + b"x" * 16_000_000 + b"end\n\n"), "\U0001f600xxx"
    ),
    "unknown fields without end": Case(8, endless(b"ab: c\n"), TOO_LARGE),
    "1,000,000 retry fields": Case(
        8, sent(b"retry: 99999999999999999999\n\n" * 10_000, b"data: end\n\n", times=100), "end"
    ),
    "IDs of 1 MB": Case(24, numbered(100, 1_000_000), "99"),
    # The data kept of it.
    "200 MB that nobody takes": Case(
        112,
        sent(b"data: " + b"x" * 100_000 + b"\n\n", b"data: end\n\n", times=2000),
        "end",
        {"overflow": "drop_oldest", "takes_late": True},
    ),
    **{
        f"{times * 10_000:,} events that nobody takes": Case(
            8,
            sent(b"data: x\n\n" * 10_000, b"data: end\n\n", times=times),
            "end",
            {"overflow": "drop_oldest", "takes_late": True},
        )
        for times in (20, 100)
    },
    "a diagnostic buffer of everything": Case(
        144, endless(b"x", begin=b"data: "), TOO_LARGE, {"keeps_all": True}
    ),
    # Compressed bodies.
    "a gzip bomb of 1 GB": Case(32, sent(bomb(b"x", 1000), **GZIP), TOO_LARGE),
    "a gzip bomb of comments": Case(
        8, sent(bomb(b": beat\n", 20, b"data: end\n\n"), **GZIP), "end"
    ),
    "a gzip bomb in gzip": Case(40, sent(gzip.compress(bomb(b"x", 1000)), **TWICE), TOO_LARGE),
    "gzip six times": Case(
        8,
        endless(b"x", headers={"Content-Encoding": ", ".join(["gzip"] * 6)}),
        BROKE,
    ),
    # Headers.
    "a header without end": Case(8, endless_raw(OK, b"A: b\r\n"), FAILED),
    "a header line without end": Case(8, endless_raw(OK + b"A: ", b"b"), FAILED),
    "a status line without end": Case(8, endless_raw(b"HTTP/1.1 200 ", b"O"), FAILED),
    "a response that is no HTTP": Case(8, endless_raw(b"", b"x"), FAILED),
    "interim responses without end": Case(8, endless_raw(b"", EARLY_HINTS), FAILED),
    "a Location of 1 MB": Case(8, header(b"Location: /" + b"x" * 1_000_000, status=MOVED), FAILED),
    "a Set-Cookie of 1 MB": Case(8, header(b"Set-Cookie: a=" + b"x" * 1_000_000), FAILED),
    # The framing.
    "a chunk size without end": Case(8, endless_raw(CHUNKED + b"\r\n", b"0"), BROKE),
    "an extension without end": Case(8, endless_raw(CHUNKED + b"\r\n5;", b"x"), BROKE),
    "trailers without end": Case(8, endless_raw(CHUNKED + b"\r\n0\r\n", b"A: b\r\n"), BROKE),
    "a trailer without end": Case(8, endless_raw(CHUNKED + b"\r\n0\r\nA: ", b"b"), BROKE),
    "an extension without end, with gzip": Case(8, endless_raw(GZIPPED + b"5;", b"x"), BROKE),
    "trailers without end, with gzip": Case(8, endless_raw(GZIPPED + b"0\r\n", b"A: b\r\n"), BROKE),
    # Other responses.
    "a 401 without end": Case(8, endless(b"x", status=401), "UnexpectedStatusError"),
    "a 503 without end": Case(8, endless(b"x", status=503), "UnexpectedStatusError"),
    "a 503 that is a bomb": Case(
        8, sent(bomb(b"x", 1000), status=503, **GZIP), "UnexpectedStatusError"
    ),
    "a page without end": Case(
        8, endless(b"x", headers={"Content-Type": "text/html"}), "UnexpectedContentTypeError"
    ),
    "redirects without end": Case(8, lambda exchange: exchange.redirect("/"), FAILED),
    "redirects, each without end": Case(
        8, endless(b"x", status=302, headers={"Location": "/"}), FAILED
    ),
}


#: One attack for each limit. The others are variations that only CI runs, because each needs a
#: process.
ONE_FOR_EACH_LIMIT = {
    "a line without end",
    "a comment without end",
    "data lines without end",
    "IDs of 1 MB",
    "200 MB that nobody takes",
    "200,000 events that nobody takes",
    "a diagnostic buffer of everything",
    "a gzip bomb of 1 GB",
    "a header without end",
    "interim responses without end",
    "a chunk size without end",
    "trailers without end",
    "a 503 without end",
    "redirects without end",
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system reports no peak")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ONE_FOR_EACH_LIMIT else pytest.mark.ci)
        for name in CASES
    ],
)
def test_the_memory_is_bounded_for(server, name):
    case = CASES[name]
    told = follow(server, case.handler, **case.options)
    print(f"{name}: {told}")  # a failure shows it
    assert (told["error"] or told["last"]).startswith(case.outcome)
    assert told["peak"] <= case.peak
    if case.outcome.startswith("Unexpected"):
        assert told["body"] == 65536


@pytest.mark.parametrize("again", ["retry", "Retry-After"])
def test_a_server_delays_an_attempt_by_an_hour_at_most(server, again):
    lost = Signal()
    endless_time = "9" * 20
    if again == "retry":
        server.serve([f"retry: {endless_time}\n\n".encode()])
    else:
        server.serve(["one"])
        server.respond(503, {"Retry-After": endless_time})
    with sse_client_for_tests(on_disconnect=lost) as client:
        session = client.sse(server.url)
        while not lost.calls or lost.calls[-1][2] == 0.0:
            lost.clear()
            lost.await_()
        session.close()
    assert lost.calls[-1][2] == MAX_SERVER_DELAY == 3600.0


class TestCookies:
    """The cookies of the client's own session, to which each response may add for months."""

    def test_are_bounded_in_number(self, server):
        number = itertools.count()
        server.handler = lambda exchange: exchange.respond(
            200, [("Set-Cookie", f"c{next(number)}=v") for _ in range(90)]
        )
        with sse_client_for_tests() as client:
            for _ in range(4):
                client.get(server.url)
        cookies = [request.headers.get("Cookie", "").split("; ") for request in server.requests]
        assert [len(each) for each in cookies] == [1, 90, MAX_COOKIES, 90]
        assert "c269=v" in cookies[3]

    def test_that_are_renewed_take_none_away(self, server):
        old = [("Set-Cookie", f"c{number}=old") for number in range(MAX_COOKIES)]
        for answer in (old[:90], old[90:], [("Set-Cookie", "c0=new")], []):
            server.respond(200, answer)
        with sse_client_for_tests() as client:
            for _ in range(4):
                client.get(server.url)
        cookies = server.requests[3].headers["Cookie"].split("; ")
        assert len(cookies) == MAX_COOKIES
        assert "c0=new" in cookies
        assert "c0=old" not in cookies

    @pytest.mark.parametrize(("size", "is_kept"), [(MAX_COOKIE_SIZE - 1, True), (60_000, False)])
    def test_are_bounded_in_size(self, server, size, is_kept):
        server.respond(200, {"Set-Cookie": f"n={'v' * (size - 1)}"})
        server.respond(200)
        with sse_client_for_tests() as client:
            client.get(server.url)
            client.get(server.url)
        assert ("Cookie" in server.requests[1].headers) == is_kept
