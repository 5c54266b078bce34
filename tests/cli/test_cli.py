"""The sse-client command: its output, its end, and the secrets that it does not show."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import requests
from canaries import CANARY
from command_line import COMMAND, PATIENCE, follow, started
from systems import needs_posix
from tables import each_of

import sse_client
from sse_client import ServerSentEvent, cli
from sse_client.cli import demo, demo_server
from sse_client.cli.commands import COMMANDS

if TYPE_CHECKING:
    from sse_client.testing import Exchange

SECRET = CANARY

# Its output.


def test_each_event_takes_one_line(server, capsys):
    server.serve(["one", "two\nlines\n", ServerSentEvent("", id="3"), "a\\nb", "ä € 🎉"])
    server.respond(204)
    assert follow(server.url, "--max-events", "5") == 0
    assert capsys.readouterr().out == "one\ntwo\\nlines\\n\n\na\\nb\nä € 🎉\n".replace(
        "\n\n\n", "\n\n"
    )


def test_json_gives_an_object_a_line(server, capsys):
    server.serve(["two\nlines \u2028 €", ServerSentEvent("", event="news", id="7")], then="stall")
    assert follow("--json", "--max-events", "2", server.url) == 0
    first, second = capsys.readouterr().out.split("\n")[:-1]
    assert first == '{"id":"","event":"message","data":"two\\nlines \u2028 €"}'
    assert json.loads(second) == {"id": "7", "event": "news", "data": ""}


def test_an_event_is_seen_before_the_next_one_comes(server):
    with started(server.url) as process:
        exchange = server.accept(PATIENCE)
        for data in ("one", "two"):
            exchange.send(data)
            assert process.stdout.readline() == f"{data}\n"


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=["C", "latin-1"],
)
def test_output_and_headers_are_utf8_in_any_locale(server, environment):
    server.serve(["ä €"])
    server.respond(204)
    with started("-H", "X-Name: ä €", "--max-events", "1", server.url, **environment) as process:
        assert process.communicate(timeout=PATIENCE) == ("ä €\n", "")
    assert server.requests[0].headers["X-Name"] == "ä €"


def test_an_output_that_is_no_file_is_written_to_as_it_is(server):
    server.serve(["ä"], then="stall")
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert follow("--max-events", "1", server.url) == 0
    assert output.getvalue() == "ä\n"


# Its requests.


def test_it_goes_on_behind_the_event_after_which_the_connection_broke(server, capsys):
    server.serve([ServerSentEvent("one", id="1", retry=1)], then="drop")
    server.serve([ServerSentEvent("two", id="2")])
    server.respond(204)
    assert follow(server.url) == 0
    assert capsys.readouterr() == ("one\ntwo\n", "")
    asked_for = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert asked_for == [None, "1", "2"]


def test_headers_are_sent(server):
    server.respond(204)
    given = ["X-One:1", "X-Two: \t2: two ", "X-Empty:", "x-one: 3", "Accept: text/*"]
    assert follow(server.url, *(word for field in given for word in ("-H", field))) == 0
    (request,) = server.requests
    sent = {name: request.headers.get_all(name) for name in ("X-One", "X-Two", "X-Empty", "Accept")}
    assert sent == {"X-One": ["1, 3"], "X-Two": ["2: two"], "X-Empty": [""], "Accept": ["text/*"]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--last-event-id", "7"], "7"),
        (["--header", "Last-Event-ID: 7"], "7"),
        (["--header", "Last-Event-ID: 8", "--last-event-id=7"], "7"),
        (["--last-event-id", ""], None),
    ],
)
def test_the_stream_begins_behind_an_id(server, words, expected):
    server.respond(204)
    assert follow(server.url, *words) == 0
    assert server.requests[0].headers.get("Last-Event-ID") == expected


# Its end.


def test_it_ends_with_the_stream(server, capsys):
    server.respond(204)
    assert follow(server.url) == 0
    assert capsys.readouterr() == ("", "")


def test_it_ends_after_so_many_events(server, capsys):
    server.serve(["one", "two", "three"], then="stall")
    assert follow("--max-events=2", server.url) == 0
    assert capsys.readouterr() == ("one\ntwo\n", "")


def test_a_stream_that_is_given_up_is_a_failure(server, capsys):
    server.serve([ServerSentEvent("one", retry=1)], then="drop")
    server.respond(503)
    server.respond(503)
    assert follow("--max-reconnection-attempts", "2", server.url) == 4
    output, errors = capsys.readouterr()
    assert output == "one\n"
    assert errors.startswith("sse-client: gave up after 2 failed")
    assert len(server.requests) == 3


def test_no_reconnection_attempt_is_made_if_none_is_wanted(server, capsys):
    server.serve(["one"], then="drop")
    assert follow("--max-reconnection-attempts", "0", server.url) == 5
    assert len(server.requests) == 1
    assert capsys.readouterr().out == "one\n"


def test_a_refusal_is_a_failure(server, capsys):
    server.respond(404)
    assert follow(server.url_for("/there")) == 4
    assert capsys.readouterr() == (
        "",
        f"sse-client: {server.url}there responded with 404 Not Found\n",
    )


def test_a_message_is_one_line_without_control_characters(server, capsys):
    server.respond(200, {"Content-Type": "text/\x1b[31mplain\x85"})
    assert follow(server.url) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "text/\\x1b[31mplain" in line


@needs_posix
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "moment", ["before the response", "on an idle stream", "before an attempt"]
)
def test_ctrl_c_ends_it_quietly(server, moment):
    with started(server.url) as process:
        exchange = server.accept(PATIENCE)
        if moment != "before the response":
            exchange.send("one", retry=60_000)
            assert process.stdout.readline() == "one\n"
        if moment == "before an attempt":
            exchange.drop()
            assert exchange.wait_closed(PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 130
        assert exchange.wait_closed(PATIENCE)


def test_a_reader_that_goes_ends_it_quietly(server):
    with started(server.url) as process:
        exchange = server.accept(PATIENCE)
        exchange.send("one")
        assert process.stdout.readline() == "one\n"
        process.stdout.close()
        with contextlib.suppress(ConnectionError):  # it may have detected that already
            exchange.send("two")
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_a_closed_pipe_takes_nothing_more_in_this_process(server, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    server.serve(["one"], then="stall")
    with os.fdopen(writing, "w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert follow(server.url) == 0
        # The rest in its buffer can be discarded, because nothing reads it.
    monkeypatch.undo()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("platform", "status"), [("win32", 0), ("linux", 1)])
def test_what_windows_calls_a_closed_pipe_is_one_there(
    server, monkeypatch, tmp_path, platform, status
):
    server.serve(["one"], then="stall")
    with (tmp_path / "output").open("w", encoding="ascii") as output:

        class Gone:
            fileno = output.fileno

            def write(self, text: str) -> None:
                raise OSError(errno.EINVAL, "Invalid argument")

        monkeypatch.setattr(sys, "stdout", Gone())
        monkeypatch.setattr(sys, "platform", platform)
        assert follow(server.url) == status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_a_failure(server, monkeypatch, capsys):
    server.serve(["one"], then="stall")
    with Path("/dev/full").open("w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert follow(server.url) == 1
    monkeypatch.undo()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"sse-client: .*No space left on device", line)


# Its usage.


@each_of(
    ("words", "message"),
    [
        ([], "the following arguments are required: URL"),
        (["example"], "argument URL: must begin with http:// or https:// (or be a command"),
        (["serv", "http://a/"], "http:// or https:// (did you mean the command serve?)"),
        (["ftp://example.org/"], "argument URL: must begin with http:// or https://"),
        (["http:///path"], "argument URL: must begin with http:// or https://"),
        (["http://a/", "--jsno"], "unknown option --jsno; did you mean --json?"),
        (["--retry-frist", "5", "http://a/"], "--retry-frist; did you mean --retry-first?"),
        (["--nothing-like-it", "x"], "unknown option --nothing-like-it"),
        (["--max-events", "1", "--data", "-x", "--jsno=1"], "unknown option --jsno; did you"),
        (["-H", "--Name", "--x1"], "there is an unknown option"),
        (["http://a/", "--", "--jsno"], "argument URL: must begin with http:// or https://"),
        (["http://a/", "-q"], "unknown option -q"),
        (["http://a/", "--max", "3"], "unknown option --max"),
        (["http://a/", "--max-events", "0"], "--max-events: must be a whole number of at least 1"),
        (["http://a/", "--max-events", "-1"], "--max-events: must be a whole number of at least 1"),
        (["http://a/", "--max-events", "9" * 5000], "--max-events: must be a whole number"),
        (["http://a/", "--max-events", "\u0663"], "--max-events: must be a whole number"),
        (["http://a/", "--max-reconnection-attempts", "x"], "must be a whole number of at least 0"),
        (["http://a/", "-H"], "-H/--header: expected one argument"),
        (["http://a/", "-H", "Name"], "-H/--header: must have the form Name: value"),
        (["http://a/", "-H", ": value"], "-H/--header: must have the form Name: value"),
        (["http://a/", "-H", "Na me: value"], "-H/--header: must have the form Name: value"),
        (["http://a/", "-H", "Näme: value"], "-H/--header: must have the form Name: value"),
        (["http://a/", "-H", "Name: va\r\nlue"], "-H/--header: must have the form Name: value"),
        (["http://a/", "--last-event-id", "1\n2"], "--last-event-id: must be a single line"),
        (["demo", "http://a/"], "too many arguments"),
        (["demo", "--json"], "unknown option --json"),
        (["demo", "--port", "1"], "--port requires --serve"),
        (["demo", "--serve", "--port", "65536"], "--port: must be a whole number from 0 to 65535"),
    ],
)
def test_wrong_usage_is_explained(capsys, words, message):
    assert follow(*words) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    usage, last = errors.splitlines()[0], errors.splitlines()[-1]
    assert usage.startswith("usage: sse-client")
    assert re.match("sse-client( demo)?: error: ", last)
    assert message in last


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], *([name, "--help"] for name in COMMANDS)], ids=str
)
def test_the_help_fits_a_screen(monkeypatch, capsys, words):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHON_COLORS", "0")
    assert follow(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: sse-client")
    assert len(lines) <= 24 or "relay" in words
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", [["--help", "all"], ["record", "--help", "all"]], ids=str)
@pytest.mark.parametrize("columns", [40, 200])
def test_the_whole_help_is_wrapped_at_the_width_of_the_terminal(
    monkeypatch, capsys, words, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("PYTHON_COLORS", "0")
    assert follow(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= min(columns, 100)
    assert any("--max-event-size BYTES" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "usage"),
    [(["help"], "sse-client [option"), (["help", "serve"], "sse-client serve --replay")],
)
def test_help_is_shown_by_a_word_too(capsys, words, usage):
    assert follow(*words) == 0
    assert capsys.readouterr().out.startswith(f"usage: {usage}")


def test_the_version_is_the_packages(capsys):
    assert follow("--version") == 0
    assert capsys.readouterr().out == f"sse-client {sse_client.__version__}\n"


def test_it_runs_as_a_module():
    done = subprocess.run(
        [*COMMAND, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == f"sse-client {sse_client.__version__}\n"


def test_importing_the_module_that_is_run_does_nothing(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "sse_client.__main__", raising=False)
    importlib.import_module("sse_client.__main__")
    assert capsys.readouterr() == ("", "")


def test_it_is_installed_under_its_name():
    (script,) = entry_points(group="console_scripts", name="sse-client")
    assert script.load() is cli.main


def test_it_takes_the_words_of_the_process_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sse-client", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out.startswith("sse-client ")


# Secrets that it does not show.


@each_of(
    "words",
    [
        ["http://a/", "-H", SECRET],
        ["http://a/", "-H", f"Authorization {SECRET}"],
        ["http://a/", "-H", f"X: {SECRET}\n"],
        ["-H", "Authorization:", "Bearer", SECRET, "http://a/"],
        ["http://a/", "-H", "Authorization:", "Bearer", SECRET],
        ["http://a/", "--hedaer", f"Authorization: {SECRET}"],
        ["http://a/", f"--hedaer=Authorization: {SECRET}"],
        ["http://a/", f"-qAuthorization: {SECRET}"],
        ["http://a/", f"-xAuthorization: {SECRET}"],
        ["http://a/", f"-hAuthorization: {SECRET}"],
        ["http://a/", f"--json={SECRET}"],
        ["http://a/", f"--json={SECRET} 'quoted' \"twice\""],
        ["http://a/", f"--max-events={SECRET}"],
        ["http://a/", "--last-event-id", f"{SECRET}\n"],
        [SECRET],
        [f"ftp://user:{SECRET}@a/"],
    ],
)
def test_wrong_usage_repeats_no_secret(capsys, words):
    assert follow(*words) in {0, 2}  # some versions take -hAnything for --help
    output, errors = capsys.readouterr()
    assert SECRET not in output + errors


@pytest.mark.parametrize("response", ["refused", "no stream", "broken", "none"])
def test_a_failure_tells_no_secret(server, capsys, response):
    if response == "refused":
        server.respond(401, {"WWW-Authenticate": "Basic"})
    elif response == "no stream":
        server.respond(200, {"Content-Type": "text/html"})
    elif response == "broken":
        server.serve(["one"], then="drop")
    else:
        server.stop()
    address = f"http://user:{SECRET}@127.0.0.1:{server.port}/?token={SECRET}#{SECRET}"
    field = f"X-Token: {SECRET}"
    status = {"refused": 4, "no stream": 4, "broken": 5, "none": 3}[response]
    assert follow("--max-reconnection-attempts", "0", "-H", field, address) == status
    output, errors = capsys.readouterr()
    assert errors.startswith("sse-client: ")
    assert SECRET not in output + errors


@pytest.mark.parametrize("host", ["[::1", "127.0.0.1:99999", ":80", "a..b", "a b", "a:b"])
def test_an_address_that_does_not_work_tells_no_secret(capsys, host):
    assert follow(f"http://user:{SECRET}@{host}/?token={SECRET}") in {1, 3}
    output, errors = capsys.readouterr()
    assert errors.count("\n") == 1
    assert SECRET not in output + errors


# The demo.


@pytest.fixture
def quick(monkeypatch):
    """Let the demo run at full speed."""
    monkeypatch.setattr(demo, "_PACE", 0.0)
    monkeypatch.setattr(demo, "_RECONNECTION_TIME", 0.0)


STORY = r"""The server at http://127\.0\.0\.1:\d+/ counts to 12\.
It breaks the connection twice, in the middle of an event\.

connected
  event 1
  event 2
  event 3
  event 4
connection lost after event 4; reconnecting in 0\.4 s
reconnected with Last-Event-ID: 4
  event 5
  event 6
  event 7
  event 8
connection lost after event 8; reconnecting in 0\.4 s
reconnected with Last-Event-ID: 8
  event 9
  event 10
  event 11
  event 12
the stream has ended

All 12 events arrived, each once: nothing lost, nothing repeated\.
"""


def test_the_demo_tells_how_the_stream_went_on():
    with started("demo") as process:
        output, errors = process.communicate(timeout=PATIENCE)
        assert errors == ""
        assert re.fullmatch(STORY, output)
        assert process.returncode == 0


@pytest.mark.usefixtures("quick")
def test_the_demo_needs_no_proxy(monkeypatch, capsys):
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert follow("demo") == 0
    assert "All 12 events arrived" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ([1, 2, 3, 3, *range(4, 13)], r"Lost: \[\]\. Repeated: \[3\]\."),
        (range(2, 12), r"Lost: \[1, 12\]\. Repeated: \[\]\."),
        ([2, 1, *range(3, 13)], r"Lost: \[\]\. Repeated: \[\]\. Arrived: \[2, 1, 3, "),
        ([], r"Lost: \[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12\]\."),
    ],
    ids=["doubled", "lost", "out of order", "none"],
)
def test_the_demo_notices_what_went_wrong(monkeypatch, capsys, numbers, verdict):
    def miscount(exchange: Exchange) -> None:
        exchange.open()
        for number in numbers:
            exchange.send(str(number))

    monkeypatch.setattr(demo, "_count", miscount)
    assert follow("demo") == 1
    assert re.search(f"Something went wrong. {verdict}", capsys.readouterr().out)


@pytest.mark.usefixtures("quick")
def test_a_demo_that_cannot_go_on_is_a_failure(monkeypatch, capsys):
    def refuse_to_go_on(exchange: Exchange) -> None:
        if "Last-Event-ID" in exchange.request.headers:
            exchange.respond(404)
        else:
            exchange.send("1", id="1")
            exchange.drop()

    monkeypatch.setattr(demo, "_count", refuse_to_go_on)
    assert follow("demo") == 4
    output, errors = capsys.readouterr()
    assert output.endswith("connection lost after event 1; giving up\n")
    assert re.fullmatch("sse-client: http://.* responded with 404 Not Found\n", errors)


# Its server.


@pytest.fixture
def paceless(monkeypatch):
    monkeypatch.setattr(demo_server, "_PACE", 0.0)
    monkeypatch.setattr(demo_server, "_WORD_PACE", 0.0)


@pytest.mark.usefixtures("paceless")
@pytest.mark.parametrize(("last_event_id", "first"), [("", 1), ("7", 8), ("x", 1)])
def test_the_server_of_the_demo_counts_on_and_breaks_off(server, capsys, last_event_id, first):
    server.handler = demo_server.respond
    words = ["--select", "number", "--reconnect", "never", "--last-event-id", last_event_id]
    assert follow(*words, server.url) == 5
    numbers = [int(line) for line in capsys.readouterr().out.splitlines()]
    assert numbers == list(range(first, first + 10))


@pytest.mark.usefixtures("paceless")
def test_the_server_of_the_demo_says_a_sentence_word_by_word(server, capsys):
    server.handler = demo_server.respond
    words = ["--json-body", "{}", "--end-of-stream", "[DONE]", "--select", "text"]
    assert follow(*words, "--format", r"{data}\c", server.url) == 0
    assert capsys.readouterr().out == "Server-Sent Events are text that a server keeps sending."


def test_any_page_may_read_the_server_of_the_demo(server):
    server.handler = demo_server.respond
    response = requests.options(server.url, timeout=PATIENCE)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_the_server_of_the_demo_runs_until_sigterm():
    with started("demo", "--serve", "--port", "0") as process:
        url = re.search(r"http://\S+/events", process.stdout.readline())[0]
        assert process.stdout.readline() == f"  sse-client {url}\n"
        with requests.get(url, stream=True, timeout=PATIENCE) as response:
            assert next(response.iter_lines()) == b"id: 1"
            process.terminate()
            assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == (0 if os.name == "posix" else 1)


def test_a_port_in_use_has_a_hint(server, capsys):
    assert follow("demo", "--serve", "--port", str(server.port)) == 1
    expected = f"port {server.port} is in use; choose another one with --port"
    assert capsys.readouterr().err == f"sse-client: {expected}\n"


def test_another_failure_to_listen_is_reported(monkeypatch, capsys):
    def fail(_self) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(demo_server.SSEServer, "start", fail)
    assert follow("demo", "--serve") == 1
    assert "Permission denied" in capsys.readouterr().err


def test_in_this_process_the_server_of_the_demo_stops(monkeypatch, capsys):
    class Event(threading.Event):
        waits = 0

        def wait(self, timeout=None):
            Event.waits += 1
            return Event.waits > 1

    monkeypatch.setattr(demo_server, "threading", SimpleNamespace(Event=Event))
    assert follow("demo", "--serve", "--port", "0") == 0
    assert capsys.readouterr().out.startswith("Serving numbered events at http://127.0.0.1:")


@needs_posix
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_demo_quietly():
    with started("demo") as process:
        assert "  event 1\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE)[1] == ""
        assert process.returncode == 130


def test_a_reader_that_goes_ends_the_demo_quietly():
    with started("demo") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""
