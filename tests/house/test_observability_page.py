"""The programs in docs/howto/observability.md. They change global state, so each has a process."""

from __future__ import annotations

import json
import subprocess
import sys

from pages import ROOT, read_blocks
from support import PATIENCE

from sse_client import ServerSentEvent

PAGE = ROOT / "docs" / "howto" / "observability.md"
LOG, FIGURES, TELEMETRY, OUTAGES = [
    block for block in read_blocks(PAGE) if block.language == "python"
]


def run(block, server):
    """Run a block while the server sends an event, breaks off, sends another one, and ends."""
    server.serve([ServerSentEvent("one", id="1", retry=10)], then="drop")
    server.serve([ServerSentEvent("two", id="2")], then="end")
    server.respond(204)
    return subprocess.run(
        [sys.executable, "-c", block.code_for(server.url)],
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_log_is_lines_of_json(server):
    done = run(LOG, server)
    assert done.stdout == "one\ntwo\n"
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["sse_attempt"] for line in lines] == [1, 1]
    assert {line["sse_name"] for line in lines} == {"127.0.0.1"}
    assert {line["sse_state"] for line in lines} == {"CONNECTING"}
    assert all("reconnecting in" in line["text"] for line in lines)


def test_the_figures_show_health_and_reconnections(server):
    # A wait may have begun before an event is printed.
    first, second = run(FIGURES, server).stdout.splitlines()
    assert first in {"one True 0", "one False 0", "one True 1"}
    assert second in {"two True 1", "two False 1"}


def test_the_spans_show_the_reconnection(server):
    shown = run(TELEMETRY, server).stdout
    span, caller = shown.index('"name": "SSE GET"'), shown.index('"name": "follow the news"')
    assert span < shown.index('"name": "sse.reconnection"') < caller


def test_the_plugin_shows_how_long_a_stream_was_away(server):
    away = "127.0.0.1 was away for 0 s"
    # An event may be printed after the next connection was opened.
    assert sorted(run(OUTAGES, server).stdout.splitlines()) == [away, away, "one", "two"]
