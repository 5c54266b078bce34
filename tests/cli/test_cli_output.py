"""What the sse-client command prints of an event, and where."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from command_line import COMMAND, NASTY, PATIENCE, follow, parse, started
from commands import needs
from systems import needs_posix

from sse_client import ServerSentEvent
from sse_client.cli.commands import COMMANDS


def without_comments(events: list[ServerSentEvent]) -> list[ServerSentEvent]:
    return [event.__replace__(comments=None) for event in events]


@pytest.fixture
def nasty(server):
    server.serve([NASTY])
    server.respond(204)
    return server.url


def test_raw_is_the_wire_format_of_the_same_events(nasty, capsysbinary):
    assert follow("--raw", nasty) == 0
    events = parse(NASTY)
    assert len(events) == 11
    assert parse(capsysbinary.readouterr().out) == events


def test_raw_can_leave_the_comments_out(nasty, capsysbinary):
    assert follow("--raw", "--filter-comments", "on", nasty) == 0
    output = capsysbinary.readouterr().out
    assert b"\n:" not in output
    assert parse(output) == without_comments(parse(NASTY))


def test_raw_can_show_blocks_of_comments_alone(nasty, capsysbinary):
    assert follow("--raw", "--filter-comments", "off", nasty) == 0
    output = capsysbinary.readouterr().out
    assert output.startswith(b": hello\n\n")
    expected = parse(NASTY, show_comment_events=True)
    assert parse(output, show_comment_events=True) == expected


def test_raw_resets_the_id_before_a_comment(server, capsysbinary):
    server.serve([b"id: 1\ndata: one\n\nid\n\n: alone\n\n"])
    assert follow("--raw", "--filter-comments", "off", "--reconnect=never", server.url) == 0
    output = capsysbinary.readouterr().out
    assert parse(output, show_comment_events=True) == [
        ServerSentEvent("one", id="1"),
        ServerSentEvent("", comments="alone"),
    ]


def test_data_only_leaves_the_data_as_it_is(server, capsys):
    server.serve([ServerSentEvent("two\nlines\\n", event="x", id="1", comments="c"), ""])
    assert follow("--data-only", "--reconnect=never", server.url) == 0
    assert capsys.readouterr().out == "two\nlines\\n\n\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "one\ntwo\n"),
        (["--filter-comments", "on"], "one\ntwo\n"),
        (["--filter-comments", "off"], ": alone\n: \n: a\none\ntwo\n"),
        (
            ["--filter-comments", "off", "--json"],
            (
                '{"id":"","comments":"alone\\n"}\n'
                '{"id":"","event":"message","data":"one","comments":"a"}\n'
                '{"id":"","event":"message","data":"two"}\n'
            ),
        ),
    ],
    ids=str,
)
def test_comments_are_shown_if_asked_for(server, capsys, words, expected):
    server.serve([b": alone\n:\n\n", b": a\ndata: one\n\n", b"data: two\n\n"], then="stall")
    assert follow(*words, "--max-events", "2", server.url) == 0
    assert capsys.readouterr().out == expected


def test_only_the_events_asked_for_are_shown_and_counted(server, capsys):
    names = ["a", "b", "", "c", "a", "a"]
    server.serve(
        [ServerSentEvent(f"{n} {name}", name) for n, name in enumerate(names)], then="stall"
    )
    assert follow("--event", "a", "--event", "message", "--max-events", "3", server.url) == 0
    assert capsys.readouterr().out == "0 a\n2 \n4 a\n"


def test_comments_are_shown_beside_the_events_asked_for(server, capsys):
    server.serve([b": hello\n\n", b"data: no\n\n", b"event: yes\ndata: 1\n\n"], then="stall")
    words = ["--event", "yes", "--filter-comments", "off", "--max-events", "1"]
    assert follow(*words, server.url) == 0
    assert capsys.readouterr().out == ": hello\n1\n"


# In a pipe.


def in_shell(script: str, url: str) -> subprocess.CompletedProcess[str]:
    command = " ".join(COMMAND)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script.replace("sse-client", command).replace("URL", url)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@needs_posix
def test_head_takes_what_it_wants_quietly(server):
    server.handler = lambda exchange: [exchange.send(str(number)) for number in range(100_000)]
    done = in_shell("sse-client URL | head -n 3", server.url)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n1\n2\n", "", 0)


@needs_posix
@needs("jq")
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("sse-client --reconnect=never --json URL | jq -c '.data | fromjson | .n'", "1\n2\n"),
        ("sse-client --reconnect=never --data-only URL | jq -c .n", "1\n2\n"),
        ("sse-client --reconnect=never --json URL | jq --unbuffered -r .id", "a\nb\n"),
    ],
)
def test_jq_takes_it(server, script, expected):
    server.serve([ServerSentEvent('{"n":\n1}', id="a"), ServerSentEvent('{"n": 2}', id="b")])
    done = in_shell(script, server.url)
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


def test_a_reader_that_goes_is_noticed_on_a_silent_stream(server):
    with started(server.url) as process:
        exchange = server.accept(PATIENCE)
        exchange.send("one")
        assert process.stdout.readline() == "one\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
        assert exchange.wait_closed(PATIENCE)


def test_a_slow_reader_loses_nothing(server):
    count = 1000
    line = "x" * 10_000

    def tell(exchange) -> None:
        for number in range(count):
            exchange.send(f"{number} {line}")

    server.handler = tell
    with started("--max-events", str(count), server.url) as process:
        # More than the pipe, the channel and the sockets' buffers hold together.
        server.wait_for_requests(1, PATIENCE)
        numbers = [int(text.split(" ")[0]) for text in process.stdout]
        assert numbers == list(range(count))
        assert process.wait(PATIENCE) == 0


# At the start.

SCRIPT = """
import sys
from sse_client.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*(name for name in sys.modules if name.startswith(("rich", "sse_client."))))
"""


def test_a_command_imports_its_own_modules_alone():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "--version"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    imported = set(done.stdout.splitlines()[-1].split())
    assert "sse_client.cli.follow" in imported
    others = {f"sse_client.cli.{name}" for name in COMMANDS}
    assert imported & {"rich", "sse_client.testing", "sse_client.relay", *others} == set()


def test_json_is_one_object_a_line_whatever_it_holds(nasty, capsys):
    assert follow("--json", nasty) == 0
    lines = capsys.readouterr().out.split("\n")[:-1]
    shown = [tuple(json.loads(line).values()) for line in lines]
    assert shown == [(event.id, event.event, event.data) for event in parse(NASTY)]


# With a closed descriptor.


def with_closed(monkeypatch, name: str, *words: str) -> int:
    """Run the command as in a process that was started without this stream."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, name, None)
        return follow(*words)


def test_a_closed_standard_output_is_written_to_all_the_same(server, monkeypatch, capsys):
    server.serve([ServerSentEvent("one", id="1")])
    server.respond(204)
    assert with_closed(monkeypatch, "stdout", server.url) == 0
    assert server.requests[-1].headers["Last-Event-ID"] == "1"
    assert with_closed(monkeypatch, "stdout", "--help") == 0
    assert capsys.readouterr() == ("", "")


def test_a_closed_standard_error_does_not_send_failures_to_the_output(server, monkeypatch, capsys):
    server.respond(404)
    assert with_closed(monkeypatch, "stderr", server.url) == 4
    assert with_closed(monkeypatch, "stderr", "--nonsense") == 2
    assert capsys.readouterr() == ("", "")


def test_figures_for_a_closed_standard_error_do_not_end_the_stream(server, monkeypatch, capsys):
    server.serve(["one"], then="stall")
    assert with_closed(monkeypatch, "stderr", "--stats", "--max-events", "1", server.url) == 0
    assert capsys.readouterr() == ("one\n", "")


@needs_posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_process_is_started_without_a_stream(server, closed):
    server.serve([ServerSentEvent("one", retry=1)])
    server.respond(404)
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *COMMAND, "--stats", server.url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 4
    assert done.stdout == ("" if closed.startswith(">") else "one\n")
    assert "Traceback" not in done.stderr
    assert ("404 Not Found" in done.stderr) is (closed == ">&-")
