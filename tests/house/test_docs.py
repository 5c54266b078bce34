"""Each code block of the documentation runs unchanged, except for the server's address.

The blocks of ``docs/howto/servers.md``, ``mcp.md``, ``http2.md``, ``gevent.md`` and ``forks.md``
are run in ``tests/interop``, because they need third-party servers, clients or libraries. Those of
``docs/testing.md`` are tests, which ``test_testing_page.py`` runs. Those of ``docs/relay.md`` are
run in ``tests/relay``, and those of ``docs/howto/observability.md`` by
``test_observability_page.py``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from commands import find_command, needs
from pages import ADDRESS, ROOT, Block, read_blocks
from processes import Process
from support import PATIENCE, Running
from systems import needs_posix

from sse_client import SSE, ErrorEventError, HttpClient, ReadyState, ServerSentEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from sse_client.testing import Exchange, SSEServer

DOCS = ROOT / "docs"

#: The pages whose blocks are run elsewhere.
ELSEWHERE = {
    *("howto/forks.md", "howto/gevent.md", "howto/http2.md", "howto/mcp.md", "howto/servers.md"),
    *("howto/observability.md", "relay.md", "relay-nats.md", "testing.md"),
}

#: The blocks that cannot be run, and why.
NOT_RUN = {
    "text": "what goes over the wire",
    "kotlin": "another client's code",
    "{toctree}": "Sphinx's own",
    "{eval-rst}": "Sphinx's own",
    "{include} ../CHANGELOG.md": "Sphinx's own",
    "{state-diagram}": "an extension of ours",
    "{stream-picture}": "an extension of ours",
    "{benchmark-charts} parsing": "an extension of ours",
    "{benchmark-charts} whole-way": "an extension of ours",
    "{benchmark-charts} live": "an extension of ours",
    "docker": "an image, which needs a package index",
    "json": "the configuration of a stream in JetStream, which the relay's tests read",
    "toml": "a configuration of the relay, which its own tests read",
    "ini": "a unit, which systemd checks below",
}

ONE = ServerSentEvent("one", id="1", retry=10)
TWO = ServerSentEvent("two", id="2", event="news")


def chunk(content: str | None = None, **fields: object) -> str:
    """Return a chunk of a model's response, as OpenAI sends it."""
    delta = {"role": "assistant", "content": ""} if content is None else {"content": content}
    return json.dumps({"error": None, "choices": [{"index": 0, "delta": delta}], **fields})


#: The events of a model's API: words, chunks without words (such as Azure's filters), a keep-alive.
TOKENS = [
    json.dumps({"choices": [], "prompt_filter_results": [{"error": {"code": "filter_error"}}]}),
    chunk(),
    chunk("Hel"),
    chunk("lo"),
    ServerSentEvent(""),
    json.dumps({"choices": [{"finish_reason": None, "content_filter_offsets": {}}]}),
    json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
    json.dumps({"choices": [], "usage": {"total_tokens": 7}}),
    json.dumps({"usage": {"total_tokens": 7}}),
]


def name_of(block: Block) -> str:
    return f"{block.page.relative_to(DOCS)}:{block.line}"


def documented(language: str) -> list[Block]:
    pages = sorted(DOCS.rglob("*.md"))
    return [
        block
        for page in pages
        if str(page.relative_to(DOCS)) not in ELSEWHERE
        for block in read_blocks(page)
        if block.language == language
    ]


def blocks_of(page: str) -> list[Block]:
    return [block for block in read_blocks(DOCS / page) if block.language == "python"]


# The behaviour of a server for a block, connection by connection.


def two_events(server: SSEServer) -> None:
    """Break off after the first event, and end after the second. Then there are no more."""
    server.serve([ONE], then="drop")
    server.serve([TWO], then="end")
    server.respond(204)


def two_events_at_once(server: SSEServer) -> None:
    both = b"id: 1\nretry: 10\ndata: one\n\nid: 2\nevent: news\ndata: two\n\n"
    server.serve([both], then="end")
    server.respond(204)


def one_event_and_silence(server: SSEServer) -> None:
    server.serve([ONE], then="stall")


def one_event_and_refusal(server: SSEServer) -> None:
    server.serve([ONE], then="drop")
    server.respond(403)


def one_event_and_overload(server: SSEServer) -> None:
    server.serve([ONE], then="drop")
    overload(server)


def overload(server: SSEServer) -> None:
    for _ in range(4):
        server.respond(503)


def changes(server: SSEServer) -> None:
    canary = json.dumps({"meta": {"domain": "canary"}})
    change = json.dumps({"meta": {"domain": "x.org"}, "wiki": "enwiki", "title": "Event"})
    server.serve([ServerSentEvent(canary, id="[1]"), ServerSentEvent(change, id="[2]", retry=10)])
    server.respond(410)
    server.serve([ServerSentEvent(change, id="[9]")], then="end")
    server.respond(204)


def tokens_of_a_model(server: SSEServer) -> None:
    server.serve([*TOKENS, "[DONE]"], then="stall")


def a_busy_model(server: SSEServer) -> None:
    server.respond(429, {"Retry-After": "0"})
    server.serve([*TOKENS, "[DONE]"], then="stall")


def a_model_that_writes_of_errors(server: SSEServer) -> None:
    server.serve([chunk("error"), chunk(' "error":'), "[DONE]"], then="stall")


#: How servers report an error during generation.
REPORTS = {
    "OpenAI": '{"error": {"message": "overloaded"}}',
    "OpenRouter": chunk("", error={"code": 502, "message": "disconnected"}),
    "vLLM": '{"object": "error", "message": "too long"}',
    "named": ServerSentEvent('{"type": "overloaded_error"}', event="error"),
    "not JSON": ServerSentEvent("Internal error", event="error"),
}


def a_model_behind_a_gateway_that_fails(server: SSEServer) -> None:
    server.serve(TOKENS, then="end")


def a_model_that_is_cut_off(server: SSEServer) -> None:
    server.serve(TOKENS, then="drop")


def a_model_that_refuses(server: SSEServer) -> None:
    server.respond(400, {"Content-Type": "application/json"}, '{"error": "no such model"}')


def a_gateway_that_refuses_with_200(server: SSEServer) -> None:
    server.respond(200, {"Content-Type": "application/json"}, '{"error": "no such model"}')


def one_price(server: SSEServer) -> None:
    server.serve([ServerSentEvent('{"symbol": "ABC", "price": 12.5}', id="7")], then="stall")


def prices(server: SSEServer) -> None:
    price = ServerSentEvent('{"symbol": "ABC", "price": 12.5}', event="price", retry=10)
    server.serve([price, "hello"], then="end")
    server.respond(204)


def lists(server: SSEServer) -> None:
    server.serve(["[1, 2]", "no list", ServerSentEvent("[3]", retry=10)], then="end")
    server.respond(204)


def two_streams(server: SSEServer) -> None:
    """Send one event in each, named by its path. Then "prices" breaks off, and the other ends."""

    def answer(exchange: Exchange) -> None:
        if exchange.request.headers.get("Last-Event-ID"):
            exchange.respond(204)
            return
        name = exchange.request.path.strip("/")
        exchange.send_event(ServerSentEvent(f"from {name}", id="1", retry=10))
        if name == "prices":
            exchange.drop()
        else:
            exchange.end()

    server.handler = answer


def two_events_through_a_proxy(server: SSEServer) -> None:
    """Send two events in response to a request for another host, as a proxy receives it."""

    def respond(exchange: Exchange) -> None:
        assert exchange.request.target == "http://events.example/stream"
        if exchange.request.headers.get("Last-Event-ID"):
            exchange.respond(204)
        else:
            exchange.send_event(ONE)
            exchange.send_event(TWO)
            exchange.end()

    server.handler = respond


def expired_token(server: SSEServer) -> None:
    server.respond(200, body='{"access_token": "T1"}')
    server.serve([ONE], then="end")
    server.respond(401)
    server.respond(200, body='{"access_token": "T2"}')
    server.serve([TWO], then="end")
    server.respond(204)


def one_event_and_no_stream(server: SSEServer) -> None:
    server.serve([ONE], then="drop")
    server.respond(200, headers={"Content-Type": "text/plain"}, body=b"data: no stream\n\n")


@dataclass(frozen=True)
class Case:
    """The behaviour of the server for a block, and the output of the block."""

    page: str
    number: int  # of the page's Python blocks, from 0
    script: Callable[[SSEServer], None]
    output: str
    files: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    needs: str | None = None  # a third-party distribution that not all tests need

    def __str__(self) -> str:
        return f"{self.page}#{self.number}"


CASES = [
    Case("index.md", 0, two_events, "1 message one\n2 news two\n"),
    Case("tutorial.md", 0, two_events, "message one\nnews two\n"),
    Case("tutorial.md", 1, lambda _: None, ""),
    Case("tutorial.md", 2, two_events, "one\ntwo\n"),
    Case(
        "tutorial.md",
        3,
        two_events,
        "one\nlost: StreamInterruptedError\ntwo\nlost: the stream ended\n",
    ),
    Case("tutorial.md", 4, one_event_and_refusal, "one\nthe server refuses with 403\n"),
    Case("tutorial.md", 5, one_event_and_refusal, "one\nrefused with 403 b''\n"),
    Case("tutorial.md", 6, one_event_and_silence, "one\n"),
    Case("connection.md", 0, two_events, "one\ntwo\n"),
    Case(
        "connection.md",
        1,
        one_event_and_overload,
        "one\ngave up after 3 attempts: UnexpectedStatusError\n",
    ),
    Case("connection.md", 2, two_events, "one\ntwo\n"),
    Case("guarantees.md", 0, two_events, "processed 1\nprocessed 2\n"),
    Case(
        "howto/wikimedia.md",
        0,
        changes,
        "enwiki Event\nenwiki Event\n",
        replaced={"https://stream.wikimedia.org": ADDRESS},
    ),
    Case("howto/llm.md", 0, tokens_of_a_model, "Hello"),
    Case("howto/tokens.md", 0, expired_token, "one\ntwo\n"),
    Case("howto/tokens.md", 1, two_events, "one\ntwo\n", files={"api-key": "a key\n"}),
    Case("howto/proxies.md", 0, two_events_through_a_proxy, "one\ntwo\n"),
    Case("howto/stop.md", 0, one_event_and_silence, "one\nstopped\n"),
    Case("howto/typed.md", 0, prices, "ABC 12.5\nmessage hello\n"),
    Case("howto/typed.md", 1, lists, "3\nskipped: no list\n3\n"),
    Case("howto/many.md", 0, two_streams, "news from news\nprices from prices\n"),
    Case(
        "howto/many.md",
        1,
        two_streams,
        "news from news\nprices from prices\nprices failed: StreamInterruptedError\n",
    ),
    Case("howto/many.md", 2, lambda _: None, ""),
    Case("howto/asyncio.md", 0, two_events, "message one\nnews two\n"),
    Case("howto/asyncio.md", 1, lambda _: None, "", needs="fastapi"),
    Case("howto/asyncio.md", 2, lambda _: None, "", needs="fastapi"),
    Case("howto/batches.md", 0, two_events, "1 written\n1 written\n"),
    Case("howto/notebooks.md", 0, two_events_at_once, "1 one\n2 two\n"),
    Case("howto/batches.md", 1, one_price, "id symbol  price\n 7    ABC   12.5\n", needs="pandas"),
    Case("howto/threads.md", 0, two_events, "processed 1\nprocessed 2\n"),
    Case("howto/threads.md", 1, two_events, "processed 1\nprocessed 2\n"),
    Case("migration.md", 0, two_events_at_once, "one\ntwo\n"),
    Case("migration.md", 1, two_events, "one\ntwo\n"),
    Case("migration.md", 2, two_events_at_once, "message one\nnews two\n", needs="sseclient-py"),
    Case("migration.md", 3, two_events_at_once, "message one\nnews two\n"),
    Case("migration.md", 4, two_events, "message one\nnews two\n"),
    Case("migration.md", 6, two_events, "message 1 one\nnews 2 two\n"),
    Case(
        "migration.md",
        7,
        two_events,
        "message 1 one\nnews 2 two\nended: InvalidStatusCodeError\n",
        replaced={"seconds=1": "seconds=0.01"},
        needs="requests-sse",
    ),
    Case("migration.md", 8, two_events, "message 1 one\nnews 2 two\n"),
    Case("migration.md", 9, two_events_at_once, "message 1 one\nnews 2 two\n", needs="httpx-sse"),
    Case("migration.md", 10, two_events_at_once, "message 1 one\nnews 2 two\n", needs="httpx2"),
    Case("migration.md", 11, two_events_at_once, "message 1 one\nnews 2 two\n"),
    *(
        Case(
            "migration.md",
            number,
            script,
            f"{printed}gave up: {error}\n",
            replaced={wait: f"{wait.partition('=')[0]}=0.01"},
            needs=needs,
        )
        for number, wait, error, needs in (
            (12, "initial_retry_delay=1", "HTTPStatusError", "launchdarkly-eventsource"),
            (13, "reconnection_time=1.0", "ReconnectionExhaustedError", None),
        )
        for script, printed in ((one_event_and_overload, "message 1 one\n"), (overload, ""))
    ),
    Case("migration.md", 14, two_events, "1 message one\n2 news two\n"),
]

#: Has effects other than its output.
LEDGER = "guarantees.md#1"

#: Needs a server on a Unix socket.
UNIX_SOCKET = "howto/proxies.md#1"

#: Needs a package in place of another one, and is run in ``tests/interop``.
SSECLIENT = "migration.md#5"

#: Run until they are stopped.
SERVICES = ["howto/stop.md#1", "howto/systemd.md#0"]


def test_each_python_block_is_run():
    pages = {str(block.page.relative_to(DOCS)) for block in documented("python")}
    found = {f"{page}#{number}" for page in pages for number in range(len(blocks_of(page)))}
    assert found == {*map(str, CASES), *SERVICES, LEDGER, UNIX_SOCKET, SSECLIENT}


def test_each_other_block_has_its_reason():
    languages = {block.language for page in DOCS.rglob("*.md") for block in read_blocks(page)}
    assert languages - {"python", "sh"} == set(NOT_RUN)


@pytest.mark.parametrize("case", [case for case in CASES if case.needs], ids=str)
def test_a_block_of_another_client_prints_what_it_should(case, server):
    try:
        importlib.metadata.distribution(case.needs)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{case.needs} is not installed")
    case.script(server)
    code = blocks_of(case.page)[case.number].code_for(server.url, case.replaced)
    # In its own process, because it leaves sockets open.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stdout == case.output, done.stderr


@pytest.mark.parametrize("case", [case for case in CASES if not case.needs], ids=str)
def test_a_block_prints_what_it_should(case, server, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", "a-key")
    for name, text in case.files.items():
        (tmp_path / name).write_text(text)
    case.script(server)
    names = blocks_of(case.page)[case.number].run(server.url, case.replaced)
    for value in list(names.values()):
        if isinstance(value, HttpClient | sqlite3.Connection):
            value.close()  # as at the end of a script; else databases warn from Python 3.13 on
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(case.output.splitlines())


def print_response(server: SSEServer, monkeypatch: pytest.MonkeyPatch, **replaced: str) -> None:
    """Run the program that prints a model's response."""
    monkeypatch.setenv("API_KEY", "a-key")
    blocks_of("howto/llm.md")[0].run(server.url, replaced)["client"].close()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (a_busy_model, "Hello"),
        (a_model_that_writes_of_errors, 'error "error":'),
        (a_model_behind_a_gateway_that_fails, "Hello\n(the response is incomplete)\n"),
        (a_model_that_is_cut_off, "Hello\n(the response is incomplete)\n"),
        (a_model_that_refuses, '\nrefused: 400 {"error": "no such model"}\n'),
        (a_gateway_that_refuses_with_200, '\nrefused: 200 {"error": "no such model"}\n'),
    ],
)
def test_the_program_for_models_shows_how_a_response_ends(
    script, expected, server, capsys, monkeypatch
):
    script(server)
    print_response(server, monkeypatch)
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_the_program_for_models_prints_what_came_before_an_error(
    report, server, capsys, monkeypatch
):
    server.serve([*TOKENS, report], then="end")
    print_response(server, monkeypatch)
    shown = report.data if isinstance(report, ServerSentEvent) else report
    assert capsys.readouterr().out == f"Hello\nthe server reports: {shown}\n"


def test_the_program_for_models_gives_up_on_a_service_that_stays_busy(server, capsys, monkeypatch):
    for _ in range(2):
        server.respond(429, {"Retry-After": "0"})
    limit = "max_reconnection_attempts=1, reconnection_time=0.01"
    print_response(server, monkeypatch, **{"max_reconnection_attempts=3": limit})
    shown = capsys.readouterr().out
    assert shown.startswith("\nno response: gave up after 1 failed")
    assert "429" in shown


#: The APIs in the table of the page: a response, and events that end it with these options.
OTHER_MODELS = {
    "OpenAI Responses": [
        ServerSentEvent('{"response": {"error": null}}', event="response.created"),
        ServerSentEvent('{"delta": "Hello"}', event="response.output_text.delta"),
        ServerSentEvent('{"response": {}}', event="response.completed"),
        ServerSentEvent('{"response": {}}', event="response.incomplete"),
    ],
    "Anthropic Messages": [
        ServerSentEvent('{"type": "ping"}', event="ping"),
        ServerSentEvent('{"delta": {"text": "Hello"}}', event="content_block_delta"),
        ServerSentEvent('{"type": "message_stop"}', event="message_stop"),
        ServerSentEvent('{"type": "error", "error": {}}', event="error"),
    ],
}


def table_of_models() -> dict[str, list[str]]:
    """Return the cells of the page's table without backticks, by the name of the API."""
    lines = (DOCS / "howto/llm.md").read_text("utf-8").splitlines()
    rows = [[cell.strip(" `") for cell in line.split(" | ")] for line in lines if line[:1] == "|"]
    return {row[0].strip("| "): row[1:] for row in rows}


@pytest.mark.parametrize("api", OTHER_MODELS)
def test_the_table_of_models_gives_options_that_work(api, server):
    end, error, _ = table_of_models()[api]
    options = {"end_of_stream": eval(end), "error_event": eval(error)}
    *events, last, failed = OTHER_MODELS[api]
    server.serve([*events, last], then="stall")
    server.serve([*events, failed], then="stall")
    with HttpClient().install(SSE, **options) as client:
        with client.sse(server.url, method="POST") as session:
            assert list(session.incoming) == events
        with client.sse(server.url, method="POST") as session, pytest.raises(ErrorEventError):
            list(session.incoming)


def test_the_ledger_holds_the_work_and_the_position(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two_events(server)
    names = blocks_of("guarantees.md")[1].run(server.url)
    names["database"].close()
    names["client"].close()
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        assert database.execute("SELECT entry FROM ledger").fetchall() == [("one",), ("two",)]
        assert database.execute("SELECT id FROM position").fetchall() == [("2",)]
    database.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_a_stream_comes_through_a_unix_socket(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    requests: list[bytes] = []
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    responses = [stream + str(event).encode() for event in (ONE, TWO)]
    responses.append(b"HTTP/1.1 204 No Content\r\n\r\n")

    def serve() -> None:
        for response in responses:
            connection, _ = listener.accept()
            with connection:
                requests.append(connection.recv(65536))
                connection.sendall(response)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("app.sock")
        listener.listen()
        listener.settimeout(PATIENCE)
        serving = Running(serve)
        blocks_of("howto/proxies.md")[1].run("")
        assert serving.outcome() is None
    assert capsys.readouterr().out == "one\ntwo\n"
    assert [b"Last-Event-ID: 1" in request for request in requests] == [False, True, False]


def test_an_error_shows_what_was_read_last(server, capsys):
    one_event_and_no_stream(server)
    blocks_of("tutorial.md")[5].run(server.url)["client"].close()
    told = capsys.readouterr().out
    assert told.startswith("one\nlost: ")
    assert " after b'" in told


@needs_posix
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_ends_cleanly_on_sigterm(name, server, tmp_path):
    page, _, number = name.partition("#")
    one_event_and_silence(server)
    script = tmp_path / "follower.py"
    script.write_text(blocks_of(page)[int(number)].code_for(server.url))
    with Process(
        [sys.executable, "-u", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert rest in {"", "stopped cleanly\n"}


def test_the_diagram_draws_the_moves_that_the_code_allows(monkeypatch):
    pytest.importorskip("sphinx", reason="the documentation is built with requirements/docs.txt")
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    import state_diagram

    assert all(f">{state.name}<" in state_diagram.draw() for state in ReadyState)
    monkeypatch.setitem(state_diagram.MOVES, ReadyState.CLOSED, {ReadyState.OPEN})
    with pytest.raises(ValueError, match="not those that are drawn"):
        state_diagram.draw()


@needs("systemd-analyze")
def test_the_unit_is_one_that_systemd_takes(tmp_path):
    (block,) = documented("ini")
    unit = tmp_path / "follower.service"
    unit.write_text(block.code)
    command = [find_command("systemd-analyze"), "verify", "--man=no", unit]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "follower.service" in line]
    assert complaints == [], os.linesep.join(complaints)
