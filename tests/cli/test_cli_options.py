"""Options of the sse-client command: selecting, formatting, running commands, several streams."""

from __future__ import annotations

import argparse
import base64
import contextlib
import datetime as dt
import json
import socket
import sys
import threading
from types import SimpleNamespace

import pytest
from command_line import PATIENCE, follow, started
from systems import needs_posix
from tables import each_of

from sse_client import ServerSentEvent
from sse_client.cli import json_text, opening, several, unix_socket, values
from sse_client.cli.delivery import Delivery
from sse_client.cli.formats import Look, Presenter
from sse_client.cli.names import names_of
from sse_client.cli.templates import template

# Addresses.


@each_of(
    ("typed", "url"),
    [
        ("localhost:8080/x", "http://localhost:8080/x"),
        ("localhost", "http://localhost"),
        (":8080/x", "http://localhost:8080/x"),
        (":80", "http://localhost:80"),
        ("app.localhost/x", "http://app.localhost/x"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080/x?y", "http://[::1]:8080/x?y"),
        ("db:8080/x", "http://db:8080/x"),
        ("example.org/x?y#z", "https://example.org/x?y#z"),
        ("stream.example.org:8443", "https://stream.example.org:8443"),
        ("HTTP://a/", "HTTP://a/"),
    ],
)
def test_an_address_may_lack_its_scheme(typed, url):
    assert values.address(typed) == url


def test_a_stream_is_followed_without_a_scheme(server, capsys):
    server.serve(["one"], then="stall")
    assert follow("--max-events", "1", server.url.removeprefix("http://")) == 0
    assert capsys.readouterr().out == "one\n"


# The request.


def test_a_user_logs_in_with_a_password(server):
    server.respond(204)
    assert follow("-u", "me:p:w", server.url) == 0
    expected = base64.b64encode(b"me:p:w").decode()
    assert server.requests[0].headers["Authorization"] == f"Basic {expected}"


def test_a_missing_password_is_asked_for(monkeypatch):
    monkeypatch.setattr(values.getpass, "getpass", lambda prompt: f"<{prompt}>")
    assert values.credentials("me") == ("me", "<Password: >")


def test_a_password_that_nobody_can_type_is_wrong_usage(monkeypatch, capsys):
    def fail(_prompt):
        raise EOFError

    monkeypatch.setattr(values.getpass, "getpass", fail)
    assert follow("-u", "me", "http://a/") == 2
    assert "-u/--user: must have the form USER:PASSWORD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-A", "me/1 ä"], "me/1 ä"),
        (["-A", "me", "-H", "user-agent: other"], "me"),
        (["-H", "user-agent: other"], "other"),
        ([], "sse-client/"),
    ],
)
def test_the_user_agent_can_be_chosen(server, words, expected):
    server.respond(204)
    assert follow(*words, server.url) == 0
    assert server.requests[0].headers["User-Agent"].startswith(expected)
    assert len(server.requests[0].headers.get_all("User-Agent")) == 1


def test_headers_may_be_in_a_file(server, tmp_path):
    file = tmp_path / "headers"
    file.write_text("X-One: 1\n# a comment\n\nX-Two:2\r\n", encoding="utf-8")
    server.respond(204)
    assert follow("-H", f"@{file}", "-H", "X-One: 3", server.url) == 0
    headers = server.requests[0].headers
    assert (headers["X-One"], headers["X-Two"]) == ("1, 3", "2")


def test_a_command_for_curl_can_be_used_as_it_is(server, capsys):
    server.serve(["one"], then="stall")
    words = ["-sSN", "-L", "-k", "-m", "60", "--max-events", "1", "--no-buffer", "--location"]
    words += ["--show-error", "-f", "--fail", "--fail-with-body", "--compressed"]
    assert follow(*words, server.url, "--silent") == 0
    assert capsys.readouterr().out == "one\n"
    assert follow("--no-bufer", server.url) == 2
    assert "did you mean" not in capsys.readouterr().err


@each_of(
    ("words", "message"),
    [
        (["-H", "@/not/there"], "-H/--header: cannot read this file: No such file"),
        (["-A", "a\nb"], "-A/--user-agent: must be a single line"),
        (["-u", "a:b", "--bearer-env", "PATH"], "not allowed with argument -u/--user"),
        (["--unix-socket", "/not/there"], "--unix-socket: there is no such socket"),
        (["--unix-socket", __file__], "--unix-socket: there is no such socket"),
        (["--max-event-size", "0"], "must be a number of bytes, such as"),
        (["--max-event-size", "1X"], "must be a number of bytes, such as"),
        (["--exec", "'"], "--exec: a quotation mark is missing"),
        (["--exec", "/not/there x"], "--exec: there is no such command"),
        (["--exec", ""], "--exec: there is no such command"),
        (["--format", "{data"], "--format: has an unmatched brace"),
        (["--format", "{nothing}"], "--format: may have these fields: data, event, id"),
        (["--select", "a..b"], "--select: must be a path such as"),
        (["--select", ""], "--select: must be a path such as"),
        (["--select", "."], "--select: must be a path such as"),
        (["--raw", "--select", "a"], "--raw shows only the wire format: it excludes --select"),
        (["--raw", "--timestamps"], "it excludes --timestamps"),
        (["--raw", "--color", "always"], "it excludes --color"),
        (["--exec", "true", "--timestamps"], "--exec prints nothing: it excludes --timestamps"),
        (["http://b/", "--state", "x"], "--state is for a single stream"),
        (["http://b/", "--last-event-id", "x"], "--last-event-id is for a single stream"),
        (["http://b/", "--raw"], "--raw is for a single stream"),
        (["http://b/", "--stats"], "--stats is for a single stream"),
    ],
)
def test_wrong_options_are_explained(capsys, words, message):
    assert follow(*words, "http://a/") == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("typed", "size"), [("7", 7), ("64K", 65536), ("2m", 2**21), ("1G", 2**30)]
)
def test_a_size_may_have_a_unit(typed, size):
    assert values.size(typed) == size


def test_an_event_may_be_too_large(server, capsys):
    server.serve(["x" * 2000])
    assert follow("--max-event-size", "1K", server.url) == 1
    assert "1024" in capsys.readouterr().err


def test_the_first_connection_can_be_tried_again(server, monkeypatch, capsys):
    usual = opening.session_options
    at_once = {"reconnection_time": 0.0}
    monkeypatch.setattr(opening, "session_options", lambda words: {**usual(words), **at_once})
    server.respond(503, {"Retry-After": "0"})
    server.serve(["one"], then="stall")
    assert follow("--retry-first", "--max-events", "1", server.url) == 0
    assert capsys.readouterr().out == "one\n"


def test_a_connection_without_an_event_can_be_lost(server, capsys):
    server.serve([b": beat\n" * 3], then="stall")
    assert follow("--event-timeout", "0.3", "--reconnect", "never", server.url) == 5
    assert "0.3" in capsys.readouterr().err


@needs_posix
@pytest.mark.parametrize("environment", [{}, {"http_proxy": "http://127.0.0.1:9"}])
def test_a_stream_may_come_from_a_unix_socket(tmp_path, monkeypatch, capsys, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    received = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                connection.sendall(head + b"data: one\n\n")

        thread = threading.Thread(target=serve)
        thread.start()
        words = ["--unix-socket", "s", "--reconnect", "never"]
        assert follow(*words, "http://service/events?a=b") == 0
        thread.join()
    assert capsys.readouterr().out == "one\n"
    assert received[0].startswith(b"GET /events?a=b HTTP/1.1\r\nHost: service\r\n")
    assert follow(*words, "http://service/") == 3
    assert follow(*words, "https://service/") == 3
    assert "Connection refused" in capsys.readouterr().err


def test_a_system_without_unix_sockets_says_so(monkeypatch):
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    with (
        unix_socket.session_through("s") as session,
        pytest.raises(OSError, match="no Unix domain"),
    ):
        session.get("http://a/")


# Selecting and formatting.


@each_of(
    ("path", "text", "value"),
    [
        ("a", '{"a": 1}', 1),
        (".a", '{"a": "x"}', "x"),
        ("$.a[1].b", '{"a": [0, {"b": []}]}', []),
        ("a.1", '{"a": [0, 7]}', 7),
        ("[0]", "[false]", False),
        ('a["b.c"]', '{"a": {"b.c": 2}}', 2),
        (r'["\""]', r'{"\"": 3}', 3),
        ("a.b", '{"a": {"0": 1}}', json_text.MISSING),
        ("a[0]", '{"a": {"0": 1}}', 1),
        ("a[2]", '{"a": [1]}', json_text.MISSING),
        ("a.x", '{"a": [1]}', json_text.MISSING),
        ("a.x", '{"a": 1}', json_text.MISSING),
        ("a", '{"a": null}', json_text.MISSING),
        ("a", "[DONE]", json_text.MISSING),
        ("a", "", json_text.MISSING),
    ],
)
def test_a_path_selects_a_value_of_json(path, text, value):
    assert json_text.selector(path)(text) == value


def test_only_events_with_the_value_are_shown_and_counted(server, capsys):
    server.serve(
        ['{"a":"b"}', "[DONE]", '{"a":{"c":[1, "ä"]}}', "{}", '{"a":"last"}'], then="stall"
    )
    assert follow("--select", "a", "--max-events", "3", server.url) == 0
    assert capsys.readouterr().out == 'b\n{"c":[1,"ä"]}\nlast\n'


def test_a_selected_value_is_a_value_of_json(server, capsys):
    server.serve([ServerSentEvent('{"a":[1]}', id="1")], then="stall")
    assert follow("--json", "--select", "a", "--max-events", "1", server.url) == 0
    assert json.loads(capsys.readouterr().out) == {"id": "1", "event": "message", "data": [1]}


FIELDS = dict.fromkeys(("data", "event", "id", "retry", "comments", "time", "name"), "?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{id}: {data}", "7: d\n"),
        ("{{{id}}}", "{7}\n"),
        (r"{id}\t{data}\n\\\0\e\r", "7\td\n\\\0\x1b\r\n"),
        (r"{data}\c", "d"),
        (r"\q", "\\q\n"),
        ("", "\n"),
    ],
)
def test_a_template_is_filled_in(text, expected):
    assert template(text)({**FIELDS, "id": "7", "data": "d"}) == expected


def test_a_template_has_all_fields(server, capsys):
    event = ServerSentEvent("two\nlines", "e", id="1", retry=5, comments="c")
    server.serve([event, "x"], then="stall")
    words = ["--format", "<{data}|{event}|{id}|{retry}|{comments}|{name}>", "--max-events", "2"]
    assert follow(*words, server.url) == 0
    assert capsys.readouterr().out == "<two\nlines|e|1|5|c|>\n<x|message|1|||>\n"


def test_a_time_is_in_utc_with_milliseconds(server, capsys):
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 6000, dt.timezone.utc)
    event = ServerSentEvent("x", comments="c")

    def shown(**look) -> str | None:
        return Presenter(Look(has_time=True, **look), "n", lambda: moment).text(event)

    assert shown() == "2026-01-02T03:04:05.006Z [n] x\n"
    assert shown(form="data_only") == "2026-01-02T03:04:05.006Z [n] x\n"
    assert shown(form="json") == (
        '{"time":"2026-01-02T03:04:05.006Z","name":"n","id":"","event":"message","data":"x"}\n'
    )
    assert shown(form="template", template=template("{time}")) == "2026-01-02T03:04:05.006Z\n"
    server.serve(["x"], then="stall")
    assert follow("--timestamps", "--max-events", "1", server.url) == 0
    assert capsys.readouterr().out.endswith("Z x\n")


# A file.


def test_the_output_may_be_a_file(server, tmp_path, capsys):
    file, state = tmp_path / "out", tmp_path / "state"
    for words, expected in (
        ([], "ä\n"),
        ([], "ä\n"),
        (["--state", str(state)], "ä\nä\n"),
    ):
        server.serve([ServerSentEvent("ä", id="1")], then="stall")
        assert follow("-o", str(file), "--max-events", "1", *words, server.url) == 0
        assert file.read_text(encoding="utf-8") == expected
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_written_is_a_failure(tmp_path, capsys):
    assert follow("-o", str(tmp_path), "http://a/") == 1
    assert "Is a directory" in capsys.readouterr().err


# A command for each event.

SCRIPT = """
import os, sys
print(os.environ["SSE_EVENT"], os.environ["SSE_ID"], sys.stdin.read(), flush=True)
sys.exit(int(os.environ["SSE_ID"]) - 1)
"""


@needs_posix
def test_a_command_is_run_for_each_event_and_a_failure_holds_the_position(server, tmp_path, capfd):
    script, state = tmp_path / "script.py", tmp_path / "state"
    script.write_text(SCRIPT)
    events = [ServerSentEvent("ä\n$(x)", "n\0", id="1"), ServerSentEvent("no", id="2")]
    server.serve([b": aside\n\n", *events], then="stall")
    words = ["--exec", f"{sys.executable} -S {script}", "--state", str(state)]
    assert follow(*words, "--filter-comments", "off", server.url) == 1
    output, errors = capfd.readouterr()
    assert output == "n\ufffd 1 ä\n$(x)\nmessage 2 no\n"
    assert errors == "sse-client: the command of --exec ended with status 1 at event 2\n"
    assert json.loads(state.read_text())["last_event_id"] == "1"


@needs_posix
def test_a_command_may_end_by_a_signal(server, capsys):
    server.serve(["{}", '{"a": 1}'], then="stall")
    assert follow("--select", "a", "--exec", "sh -c 'kill -9 $$'", server.url) == 1
    assert "ended with signal 9\n" in capsys.readouterr().err


# Several streams.


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["http://a/x", "http://u:p@b:1/x"], ["a", "b:1"]),
        (["http://a/x?k", "http://a/y/z"], ["x", "y/z"]),
        (["http://a/x", "http://b/x", "http://b/y"], ["a/x", "b/x", "b/y"]),
        (["http://a/", "http://a/?1"], ["1", "2"]),
    ],
)
def test_streams_have_short_names_without_secrets(urls, names):
    assert names_of(urls) == names


def test_events_of_several_streams_have_a_prefix(server, capsys):
    server.handler = lambda exchange: (exchange.send(exchange.request.path), exchange.end())
    words = ["--reconnect", "never", server.url_for("/a"), server.url_for("/b")]
    assert follow(*words) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["[a] /a", "[b] /b"]
    assert follow("--json", *words) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {each["name"]: each["data"] for each in shown} == {"a": "/a", "b": "/b"}


def test_the_limit_of_events_is_that_of_all_streams(server, capsys):
    server.handler = lambda exchange: [exchange.send("x") for _ in range(9)] and exchange.stall()
    assert follow("--max-events", "3", server.url_for("/a"), server.url_for("/b")) == 0
    output, errors = capsys.readouterr()
    assert (len(output.splitlines()), errors) == (3, "")


def test_a_stream_that_fails_does_not_end_the_others(server, capsys):
    def respond(exchange) -> None:
        if exchange.request.path == "/a":
            exchange.respond(404, body="no")
        else:
            exchange.send("x")

    server.handler = respond
    words = ["--reconnect", "never", server.url_for("/a"), server.url_for("/b")]
    assert follow(*words) == 4
    output, errors = capsys.readouterr()
    assert output == "[b] x\n"
    assert errors.splitlines() == [
        f"sse-client: a: {server.url}a responded with 404 Not Found",
        "  no",
    ]


def test_nothing_is_shown_after_the_limit(capsys):
    arguments = argparse.Namespace(event=[], filter_comments=None, max_events=1, exec=None)
    delivery = Delivery(arguments, Look(), contextlib.nullcontext, list)
    one, other = delivery.stream("a"), delivery.stream("b")
    assert one(ServerSentEvent("1"))
    assert other(ServerSentEvent("2"))
    assert capsys.readouterr().out == "[a] 1\n"


def test_what_fails_because_all_were_closed_is_not_reported():
    def fail(_url, _name) -> None:
        raise ValueError

    closed = SimpleNamespace(is_closed=True)
    assert several.run_each(fail, [("http://a/", "a")], closed, lambda *_: 1) == 0


def test_no_response_of_several_streams_within_the_time_is_a_failure(server, capsys):
    assert follow("--max-time", "0.05", server.url_for("/a"), server.url_for("/b")) == 3
    errors = capsys.readouterr().err.splitlines()
    expected = "no stream could be opened within --max-time"
    assert sorted(errors) == [f"sse-client: a: {expected}", f"sse-client: b: {expected}"]


def test_a_reader_that_goes_ends_several_streams(server):
    with started(server.url_for("/a"), server.url_for("/b")) as process:
        exchanges = [server.accept(PATIENCE), server.accept(PATIENCE)]
        exchanges[0].send("one")
        assert "one" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


@needs_posix
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_several_streams(server):
    import signal

    with started(server.url_for("/a"), server.url_for("/b")) as process:
        for _ in range(2):
            server.accept(PATIENCE).send("one")
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 130


@needs_posix
def test_sigterm_ends_a_run_with_a_last_line_of_figures(server):
    with started("--stats", server.url) as process:
        server.accept(PATIENCE).send("one")
        assert process.stdout.readline() == "one\n"
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 143
    assert "1 event" in errors.splitlines()[-1]
    assert "done" in errors.splitlines()[-1]
