"""``sse-client check``: its conclusions from a stream and from its own requests."""

from __future__ import annotations

import json
import random
import re
import socket
import ssl
import sys
from http.client import IncompleteRead
from types import SimpleNamespace

import pytest
import requests
import trustme
from canaries import CANARY
from command_line import NASTY, follow
from support import Running
from systems import needs_posix
from tables import each_of
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from sse_client import ServerSentEvent
from sse_client.cli import check
from sse_client.cli.checking import observation as observation_module
from sse_client.cli.checking.findings import Finding, about_cors, findings_of
from sse_client.cli.checking.identifiers import describe_ids, describe_resumption
from sse_client.cli.checking.observation import Observation
from sse_client.cli.checking.report import as_text
from sse_client.cli.checking.stream import StreamSurvey
from sse_client.cli.checking.versions import about_versions
from sse_client.testing import SSEServer

STREAM = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """Break lines at the same places, whatever terminal the tests run in."""
    monkeypatch.setenv("COLUMNS", "100")


def surveyed(*arrivals: tuple[float, bytes]) -> StreamSurvey:
    survey = StreamSurvey()
    for at, data in arrivals:
        survey.feed(data, at)
    return survey


def observed(
    *arrivals: tuple[float, bytes], headers=STREAM, duration=10.0, end="", status=200
) -> Observation:
    response = SimpleNamespace(
        status_code=status, headers=headers, raw=SimpleNamespace(version=11), history=[]
    )
    return Observation(response, 0.25, surveyed(*arrivals).facts, duration, end)


def finding(about: str, *arrivals: tuple[float, bytes], **fields) -> Finding:
    (found,) = [each for each in findings_of(observed(*arrivals, **fields)) if each.about == about]
    return found


# The survey.


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_the_survey_does_not_depend_on_how_bytes_are_cut(end):
    stream = (b"\xef\xbb\xbf" + NASTY + b"Data: x\nfoo\n\xff\nretry: x\n\n").replace(b"\n", end)
    stream = stream.replace(b"\r\r", b"\r")
    whole = surveyed((0.0, stream)).facts
    seed = random.Random(7)
    ways = [[stream[at : at + 1] for at in range(len(stream))]]
    for _ in range(20):
        cuts = sorted(seed.sample(range(len(stream)), 5))
        ways.append([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
    for pieces in ways:
        facts = surveyed(*((0.0, piece) for piece in pieces)).facts
        assert facts == whole


def test_the_survey_counts_what_there_is():
    facts = surveyed(
        (0.0, b"\xef\xbb\xbfid: 1\ndata: one\n\n: c\n:\nretry: 5\n\ndata: t\n\n")
    ).facts
    assert [event.data for _, event in facts.events] == ["one", "t"]
    assert (facts.events_with_id, len(facts.comments), facts.retries) == (1, 2, [5])
    assert (facts.invalid_count, facts.largest) == (0, 3)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"Data: x", "the name of the field must be 'data'"),
        (b" data: x", "the name of the field must be 'data'"),
        (b'{"a": 1}', "it is not a field"),
        (b"data: \xff", "it is not UTF-8"),
        (b"id: a\0", "an ID with a null is ignored"),
        (b"retry: 1s", "retry must be a number of milliseconds"),
        (b"retry", "retry must be a number of milliseconds"),
    ],
)
def test_an_invalid_line_is_explained(line, reason):
    found = finding("lines", (0.0, b"data: x\n" + line + b"\n\n"))
    assert found.level == "problem"
    assert found.text.startswith("1 line is invalid. Line 2, ")
    assert reason in found.text


def test_lines_are_not_judged_if_none_arrived():
    assert [each for each in findings_of(observed()) if each.about == "lines"] == []


def test_only_the_first_invalid_lines_are_shown():
    text = finding("lines", (0.0, b"x\n" * 9)).text
    assert text.startswith("9 lines are invalid.")
    assert "Line 5" in text
    assert "Line 6" not in text


# Conclusions.


def test_a_stream_as_it_should_be_has_no_warning():
    arrivals = [(float(n), b": beat\nretry: 2000\nid: %d\ndata: %d\n\n" % (n, n)) for n in range(5)]
    levels = {each.about: each.level for each in findings_of(observed(*arrivals))}
    assert set(levels.values()) == {"ok"}
    assert set(levels) == {
        *("stream", "compression", "buffering", "heartbeats", "events", "ids", "lines", "retry"),
    }


ONE = b"data: x\n\n"
BLOCK = b"data: " + b"x" * 4090


@pytest.mark.parametrize(
    ("arrivals", "level", "words"),
    [
        ([], "warning", "No byte arrived"),
        ([(0.0, ONE), (1.0, ONE)], "ok", "2 events arrived in 2 bursts, on average 1 per burst."),
        ([(0.0, ONE), (0.01, ONE)], "note", "There was a single burst"),
        ([(3.0, ONE * 5), (4.0, ONE)], "warning", "then 5 events arrived at once"),
        ([(0.0, BLOCK), (1.0, BLOCK)], "problem", "2 of 2 bursts end inside an event"),
        ([(0.0, BLOCK), (0.2, b"\n\n" + ONE)], "ok", "2 events arrived in 2 bursts"),
        ([(0.0, b":" * 4095 + b"\n"), (1.0, b":" * 4095 + b"\n")], "problem", "size of a buffer"),
        ([(0.0, b"data: x"), (1.0, b"\n\n")], "ok", "1 event arrived in 2 bursts"),
    ],
    ids=["nothing", "live", "single", "late", "cut", "large", "blocks", "slow"],
)
def test_buffering_is_noticed(arrivals, level, words):
    found = finding("buffering", *arrivals)
    assert found.level == level
    assert words in found.text


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({}, "each event."),
        ({"Content-Encoding": "gzip"}, "it must be flushed after each event."),
        ({"Server": "nginx/1.27"}, "with the header X-Accel-Buffering: no."),
        ({"Server": "x", "Via": "1.1 y"}, "The response names x 1.1 y."),
    ],
)
def test_what_buffers_may_be_known(headers, hint):
    found = finding("buffering", (0.0, BLOCK), headers={**STREAM, **headers})
    assert found.text.endswith(hint)


def test_a_length_shows_that_the_stream_is_not_live():
    found = finding("buffering", (0.0, ONE), headers={**STREAM, "Content-Length": "9"})
    assert found.level == "problem"


@pytest.mark.parametrize(
    ("arrivals", "level", "words"),
    [
        (
            [(n * 1.0, b":\n") for n in range(3)],
            "ok",
            "(comments) arrive about every 1 s",
        ),
        (
            [(n * 2.0, b"event: ping\ndata\n\n") for n in range(3)],
            "ok",
            "Heartbeats (events) arrive about every 2 s",
        ),
        ([(n * 70.0, b":\n") for n in range(3)], "warning", "is silent for 60 s"),
        ([(0.0, b":\n")], "note", "1 comment arrived that may be heartbeats"),
        ([(0.0, b":\n:\n:\n")], "note", "3 comments arrived that may be heartbeats"),
        ([(0.0, ONE)], "note", "The longest silence was 10 s. A longer --duration"),
        ([(n * 4.0, ONE) for n in range(3)], "note", "The longest silence was 4 s."),
    ],
)
def test_heartbeats_are_measured(arrivals, level, words):
    found = finding("heartbeats", *arrivals)
    assert (found.level, words in found.text) == (level, True), found


def test_a_long_silence_is_a_warning():
    found = finding("heartbeats", (0.0, ONE), duration=20.0)
    assert (found.level, "arrived in 20 s." in found.text) == ("warning", True)


@pytest.mark.parametrize(
    ("headers", "about", "words"),
    [
        ({"Cache-Control": ""}, "caching", "neither no-store nor no-cache"),
        ({"Content-Type": 'text/event-stream; charset="latin-1"'}, "charset", "is latin-1"),
        ({"Content-Encoding": "gzip"}, "compression", "compressed (gzip)"),
    ],
)
def test_headers_are_judged(headers, about, words):
    found = finding(about, (0.0, ONE), headers={**STREAM, **headers})
    assert found.level != "ok"
    assert words in found.text


def test_utf8_is_the_charset_of_streams():
    headers = {**STREAM, "Content-Type": "text/event-stream;charset=UTF-8"}
    assert "charset" not in {each.about for each in findings_of(observed(headers=headers))}


def test_many_types_are_abbreviated():
    text = finding("events", (0.0, b"".join(b"event: %d\ndata\n\n" % n for n in range(9)))).text
    assert text.startswith("9 events arrived, of these types: 0, 1, 2, 3, 4, ....")
    assert finding("events").text == "No event arrived."


@pytest.mark.parametrize(
    ("end", "level", "words"),
    [("end", "note", "ended the stream after 10 s"), ("it\nbroke", "problem", "10 s: it broke.")],
)
def test_the_end_is_judged(end, level, words):
    found = finding("end", (0.0, ONE), end=end)
    assert (found.level, words in found.text) == (level, True)


# IDs.


@each_of(
    ("ids", "count", "level", "words"),
    [
        (["", ""], 0, "warning", "no IDs"),
        (["1", "1"], 1, "warning", "Only 1 of 2 events has an ID, so"),
        (["1", "1", "2"], 2, "warning", "Only 2 of 3 events have an ID, so"),
        (["1", "1"], 2, "problem", "the same one"),
        (["1"], 1, "ok", "Each event has an ID."),
        (["9", "10"], 2, "ok", "they increase"),
        (["10", "9"], 2, "note", "do not increase"),
        (["5-9", "5-10"], 2, "ok", "they increase"),
        (["01HZZZZZZA", "01HZZZZZZB"], 2, "ok", "they increase"),
        (["a", "b"], 2, "ok", "cannot be judged"),
        (["[1]", "[2]"], 2, "ok", "cannot be judged"),
    ],
)
def test_ids_are_compared(ids, count, level, words):
    found, text = describe_ids(ids, count)
    assert (found, words in text) == (level, True), text


def with_ids(*ids: str, **fields) -> Observation:
    stream = "".join(str(ServerSentEvent("x", id=each)) for each in ids)
    return observed((0.0, stream.encode()), **fields)


@pytest.mark.parametrize(
    ("second", "last", "level", "words"),
    [
        (with_ids("3"), "2", "ok", "is respected"),
        (with_ids("2"), "2", "problem", "repeats the event"),
        (with_ids("1"), "2", "problem", "starts again at the beginning"),
        (with_ids("2"), "3", "problem", "starts again at another event"),
        (with_ids("9"), "2", "problem", "the newest events"),
        (with_ids("9"), "3", "ok", "continues with a new event"),
        (with_ids(), "2", "note", "No event arrived within 10 s"),
        (with_ids(status=204), "2", "note", "with 204"),
        (with_ids(status=400), "2", "problem", "with status 400"),
    ],
)
def test_resumption_is_judged(second, last, level, words):
    found, text = describe_resumption(with_ids("1", "2", "3"), second, last)
    assert (found, words in text) == (level, True), text


# CORS and versions.


@pytest.mark.parametrize(
    ("headers", "level", "words"),
    [
        ({}, "note", "there is no CORS header"),
        ({"Access-Control-Allow-Origin": "*"}, "ok", "Any page"),
        ({"Access-Control-Allow-Origin": "https://B"}, "note", "Only pages of https://B"),
        ({"Access-Control-Allow-Origin": "https://a"}, "ok", "without cookies"),
        (
            {
                "Access-Control-Allow-Origin": "https://a",
                "Access-Control-Allow-Credentials": "true",
            },
            "ok",
            "with cookies",
        ),
    ],
)
def test_cors_is_judged(headers, level, words):
    found = about_cors(headers, "https://a/")
    assert (found.level, words in found.text) == (level, True)


@pytest.mark.parametrize(
    ("protocols", "words"), [(["h2"], "also offers"), (None, "not offer HTTP/2")]
)
def test_http2_is_noticed_over_tls(protocols, words):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    with SSEServer(ssl_context=context) as server:
        (found,) = about_versions(server.url)
    assert words in found.text


def test_a_server_that_has_gone_offers_nothing(tls_server):
    tls_server.stop()
    assert "does not offer HTTP/2" in next(about_versions(tls_server.url)).text


# The command.


def numbered(exchange) -> None:
    begin = int(exchange.request.headers.get("Last-Event-ID", "0"))
    exchange.open(headers={"Access-Control-Allow-Origin": "*"})
    for number in range(begin + 1, 5):
        exchange.send("x", id=str(number), retry=1)


def test_a_check_makes_three_requests_and_gives_a_verdict(server, capsys):
    server.handler = numbered
    assert follow("check", server.url_for(f"/x?{CANARY}")) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert output.startswith(f"{server.url}x\n\nok       It is an event stream: 200, text/event-")
    assert "Last-Event-ID is respected" in output
    assert output.endswith("Verdict: it is a correct event stream.\n")
    first, second, third = server.requests
    assert first.headers["Accept"] == "text/event-stream"
    assert (second.last_event_id, third.last_event_id) == ("2", None)
    assert third.headers["Origin"] == "https://example.org"


def test_the_result_may_be_json(server, capsys):
    server.handler = lambda exchange: exchange.send()
    assert follow("check", "--json", server.url) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "warnings"
    server.handler = lambda exchange: exchange.write(b"oops\n\n")
    assert follow("check", "--json", server.url) == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["url"], result["verdict"]) == (server.url, "problems")
    assert result["figures"]["invalid_lines"] == 1
    assert result["figures"]["http_version"] == "HTTP/1.1"
    assert {"about": "events", "level": "warning", "text": "No event arrived."} in result[
        "findings"
    ]


@needs_posix
def test_a_stream_of_a_unix_socket_is_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
                    connection.sendall(head + b"data: one\n\n")

        serving = Running(serve)
        assert follow("check", "--unix-socket", "s", "http://service/") == 0
        serving.outcome()
    assert "text/event-stream, HTTP/1.0" in capsys.readouterr().out


def test_a_redirect_is_named(server, capsys):
    server.redirect(f"/y?{CANARY}")
    server.handler = numbered
    assert follow("check", server.url_for("/x")) == 0
    assert f"The request was redirected to {server.url}y." in capsys.readouterr().out


def test_a_204_is_explained(server, capsys):
    server.respond(204)
    assert follow("check", server.url) == 4
    text = "It is not an event stream: 204, which tells clients not to reconnect."
    assert text in capsys.readouterr().out


def test_redirects_in_a_loop_are_named(server, capsys):
    server.handler = lambda exchange: exchange.redirect("/")
    assert follow("check", server.url) == 3
    message = f"sse-client: no response from {server.url}: too many redirects\n"
    assert capsys.readouterr() == ("", message)


def test_a_terminal_shows_how_long_the_stream_is_observed(server, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    server.respond(404)
    assert follow("check", "--duration", "90", server.url) == 4
    assert capsys.readouterr().err == "sse-client: observing the stream for 90 s\n"


def test_a_post_is_sent_once(server, capsys, monkeypatch):
    monkeypatch.setenv("TOKEN", CANARY)
    server.serve(["x"])
    assert follow("check", "-d", "x", "--bearer-env", "TOKEN", "--insecure", server.url) == 0
    (request,) = server.requests
    assert request.headers["Authorization"] == f"Bearer {CANARY}"
    output, errors = capsys.readouterr()
    assert "A POST is not repeated" in output
    assert "Verdict: it is an event stream, but with 1 warning." in output
    assert errors.startswith("sse-client: warning: certificates are not checked")


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_what_is_not_a_stream_is_shown(server, capsys, words):
    server.respond(404, {"Content-Type": "text/plain"}, body="no such page")
    assert follow("check", *words, server.url) == 4
    output, errors = capsys.readouterr()
    assert "It is not an event stream: 404, text/plain." in output
    assert errors == "  no such page\n"


def test_a_body_that_cannot_be_read_is_not_shown(server, capsys):
    server.respond(200, {"Content-Encoding": "gzip"}, body="not gzip")
    assert follow("check", server.url) == 4
    output, errors = capsys.readouterr()
    assert "200, no content type." in output
    assert errors == ""


@pytest.mark.parametrize("host", ["127.0.0.1", f"user:{CANARY}@127.0.0.1"])
def test_no_response_is_a_failure(server, capsys, host):
    server.stop()
    assert follow("check", f"http://{host}:{server.port}/?{CANARY}") == 3
    errors = capsys.readouterr().err
    assert errors.startswith(f"sse-client: no response from {server.url}: ")
    assert "Connection refused" in errors


def test_an_unknown_authority_has_a_hint(tls_server, capsys):
    assert follow("check", tls_server.url) == 3
    assert "--cacert" in capsys.readouterr().err


def test_an_address_that_does_not_work_is_not_repeated(capsys):
    assert follow("check", f"http://user:{CANARY}@a b/") in {1, 3}
    assert CANARY not in capsys.readouterr().err


def test_a_proxy_is_named(server, monkeypatch, capsys):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    server.handler = numbered
    assert follow("check", "http://nowhere.invalid/") == 0
    assert f"The requests went through {server.url.rstrip('/')}" in capsys.readouterr().out


def test_a_live_stream_is_observed_for_a_while(server, capsys):
    running = Running(lambda: follow("check", "--duration", "0.1", server.url))
    for number in range(3):
        server.accept().send("x", id=str(number))
    assert running.outcome() == 0
    assert "Verdict" in capsys.readouterr().out


def test_a_stream_that_is_cut_off_is_a_problem(server, capsys):
    server.serve(["x"], then="drop")
    server.handler = lambda exchange: exchange.respond(204)
    assert follow("check", server.url) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"was cut off after [0-9]+(\.[0-9]{1,2})? s: the connection was closed before the resp",
        output,
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReadTimeoutError(None, "/", "x"), "nothing arrived for too long"),
        (ProtocolError("x", IncompleteRead(b"")), "the connection was closed before"),
        (ProtocolError("x", ConnectionResetError(104, "reset by peer")), "reset by peer"),
        (ValueError(), "ValueError"),
    ],
)
def test_why_a_stream_was_cut_off_is_said_in_words(error, reason):
    assert reason in observation_module._reason_of(error)


def test_ctrl_c_ends_an_observation(server, monkeypatch):
    class Event(observation_module.threading.Event):
        def wait(self, timeout=None):
            raise KeyboardInterrupt

    monkeypatch.setattr(
        observation_module,
        "threading",
        SimpleNamespace(Event=Event, Thread=observation_module.threading.Thread),
    )
    server.serve(["x"], then="stall")
    assert follow("check", server.url) == 130


@pytest.mark.parametrize(("columns", "width"), [(200, 78), (40, 39), (10, 30)])
def test_the_text_is_as_wide_as_the_terminal(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = as_text("x", [Finding("a", "problem", "word " * 50)], None, has_colours=False)
    longest = max(map(len, shown.splitlines()))
    assert width - len("word ") < longest <= width


def test_the_levels_may_be_coloured():
    shown = as_text("x", [Finding("a", "ok", "Fine.")], None, has_colours=True)
    assert shown == "x\n\n\x1b[32mok       \x1b[0mFine.\n"


def test_an_error_without_a_message_has_its_name():
    cause = ConnectionResetError()
    assert check._cause_of(requests.ConnectionError(cause)) is cause


def test_an_error_of_requests_is_not_quoted(monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise requests.exceptions.InvalidURL(CANARY)

    monkeypatch.setattr(check, "observe", fail)
    assert follow("check", "http://a/") == 3
    assert capsys.readouterr().err == "sse-client: no response from http://a/: InvalidURL\n"
