"""The documented client of the Model Context Protocol, with servers of its official SDKs."""

from __future__ import annotations

import json
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import requests
from commands import MISSING
from pages import ROOT, read_blocks
from servers import EVERYTHING, NODE, PATIENCE, Everything, Mcp

from sse_client import SSE, HttpClient, Plugin, UnexpectedStatusError
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sse_client import SSESession

pytestmark = pytest.mark.interop

#: The modes in which the program of the page is run, and whether a request has notifications.
MODES = {
    "": True,
    "/json": False,
    "/stateless": True,
    "/stateless-json": False,
    "/resumable": True,
    "/without-stream": True,
}


def page() -> Any:
    (block,) = [
        block for block in read_blocks(ROOT / "docs/howto/mcp.md") if block.language == "python"
    ]
    return block


class Sent(NamedTuple):
    method: str
    last_event_id: str | None
    status: int


class Ledger(Plugin):
    """Records each request that got a response."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def on_response(self, response: requests.Response) -> None:
        request = response.request
        last_event_id = request.headers.get("Last-Event-ID")
        if isinstance(last_event_id, bytes):
            last_event_id = last_event_id.decode()
        self.sent.append(Sent(request.method, last_event_id, response.status_code))


class Program:
    """The page's class ``Mcp`` with a client that reconnects soon, and a record of its actions."""

    def __init__(self, names: dict[str, Any], url: str, **options: Any) -> None:
        self.error: type[Exception] = names["McpError"]
        self.streams: queue.Queue[SSESession] = queue.Queue()
        self.posts: queue.Queue[SSESession] = queue.Queue()
        self.received: queue.Queue[str | None] = queue.Queue()
        self.client = HttpClient().install(Ledger)
        self.client.install(
            SSE,
            reconnection_time=0.01,
            reconnection_jitter=0.0,
            on_open=self._opened,
            on_disconnect=self._lost,
            **options,
        )
        self.ends_session_on_loss = False
        self.breaks_stream = False
        program = self

        class Noting(names["Mcp"]):
            def received(self, message: dict[str, Any], headers: dict[str, str]) -> None:
                super().received(message, headers)
                program.received.put(message.get("method"))
                if program.breaks_stream:
                    program.breaks_stream = False
                    program.posts.queue[-1].reconnect()

        self.mcp = Noting(self.client, url)

    def _opened(self, session: SSESession) -> None:
        is_get = session.response.request.method == "GET"
        (self.streams if is_get else self.posts).put(session)

    def _lost(self, *_: object) -> None:
        if self.ends_session_on_loss:
            self.ends_session_on_loss = False
            self.end_session()

    def call(self, tool: str, **arguments: object) -> str:
        result = self.mcp.request("tools/call", {"name": tool, "arguments": arguments})
        return result["content"][0]["text"]

    def end_session(self) -> None:
        """End the session on the server, as the server does by itself after a while."""
        requests.delete(
            self.mcp._url, headers=self.mcp._headers, timeout=PATIENCE
        ).raise_for_status()

    @property
    def sent(self) -> list[Sent]:
        return self.client.plugin(Ledger).sent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mcp]:
    """A server of the Python SDK in all of its modes, shared by all tests."""
    with Mcp(tmp_path_factory.mktemp("mcp")) as started:
        yield started


@pytest.fixture(scope="module")
def names(server: Mcp) -> dict[str, Any]:
    """The names that the program of the page defines."""
    names = page().run(server.url)
    names["client"].close()
    return names


@pytest.fixture
def open_program(names: dict[str, Any], server: Mcp) -> Iterator[Any]:
    """Return a function that begins a session with the server of a mode."""
    programs = []

    def open_for(mode: str = "") -> Program:
        programs.append(Program(names, f"{server.url}{mode}/mcp"))
        programs[-1].mcp.initialize()
        return programs[-1]

    yield open_for
    for program in programs:
        program.client.close()


@pytest.mark.parametrize("mode", MODES)
def test_the_documented_program_works_in_each_mode(mode, server, capsys):
    page().run(server.url + mode)["client"].close()
    tools, *rest = capsys.readouterr().out.splitlines()
    assert tools.startswith("tools: ['add', ")
    assert rest == ["notified: notifications/message"] * MODES[mode] + ["2 + 3 = 5"]


def test_a_json_response_is_complete(open_program):
    program = open_program("/json")
    assert program.call("repeat", text="word ", times=100_000) == "word " * 100_000


def test_a_server_without_sessions_is_asked_without_one(open_program):
    program = open_program("/stateless")
    assert "Mcp-Session-Id" not in program.mcp._headers
    assert program.call("add", a=1, b=1) == "2"
    program.mcp.close()
    assert {sent.method for sent in program.sent} == {"POST"}


@pytest.mark.parametrize("times", [1, 3])
def test_a_stream_that_the_server_closes_early_is_resumed_with_a_get(times, open_program):
    program = open_program("/resumable")
    begun = len(program.sent)
    assert program.call("close_early", times=times) == f"closed {times} times"
    post, *gets = program.sent[begun:]
    assert post == ("POST", None, 200)
    assert len(gets) >= times
    assert all(get.method == "GET" and get.last_event_id and get.status == 200 for get in gets)


def test_a_post_whose_stream_ends_without_an_event_id_is_not_repeated(open_program):
    program = open_program()
    begun = len(program.sent)
    with ThreadPoolExecutor(1) as pool, program.client:  # so that the call ends if the test fails
        call = pool.submit(program.call, "wait_for_end")
        assert program.received.get(timeout=PATIENCE) == "notifications/message"
        program.end_session()
        with pytest.raises(program.error, match="cannot be resumed"):
            call.result(PATIENCE)
    assert program.sent[begun:] == [("POST", None, 200)]


def test_a_request_that_was_accepted_is_not_repeated_in_another_session(open_program):
    program = open_program("/resumable")
    program.ends_session_on_loss = True
    begun = len(program.sent)
    with pytest.raises(UnexpectedStatusError, match="404"):
        program.call("close_early", times=1)
    assert [(sent.method, sent.status) for sent in program.sent[begun:]] == [
        ("POST", 200),
        ("GET", 404),
    ]


def test_a_notification_without_a_request_comes_on_the_stream_of_the_get(open_program):
    program = open_program()
    assert program.mcp.listen()
    assert program.call("announce") == "announced"
    assert program.received.get(timeout=PATIENCE) == "notifications/tools/list_changed"


def test_a_server_without_a_stream_of_its_own_is_not_asked_again(open_program):
    program = open_program("/without-stream")
    assert not program.mcp.listen()
    assert program.sent[-1] == ("GET", None, 405)
    assert program.call("add", a=2, b=2) == "4"


def test_a_stream_is_opened_again_once_the_server_has_noticed_the_loss(open_program):
    program = open_program("/held")
    assert program.mcp.listen()
    program.streams.get(timeout=PATIENCE)
    program.call("announce")  # the connection is cut after it
    assert program.received.get(timeout=PATIENCE) == "notifications/tools/list_changed"
    program.streams.get(timeout=PATIENCE)
    assert [sent.status for sent in program.sent if sent.method == "GET"] == [200, 409, 200]
    program.call("announce")
    assert program.received.get(timeout=PATIENCE) == "notifications/tools/list_changed"


def test_a_request_to_an_expired_session_begins_another(open_program):
    program = open_program()
    first = program.mcp._headers["Mcp-Session-Id"]
    program.end_session()
    assert program.call("add", a=3, b=4) == "7"
    assert program.mcp._headers["Mcp-Session-Id"] != first
    assert [sent.status for sent in program.sent].count(404) == 1


def test_the_stream_of_an_expired_session_is_opened_in_another(open_program):
    program = open_program()
    assert program.mcp.listen()
    program.streams.get(timeout=PATIENCE)
    program.end_session()
    program.streams.get(timeout=PATIENCE)
    program.call("announce")
    assert program.received.get(timeout=PATIENCE) == "notifications/tools/list_changed"


def test_a_request_of_the_server_has_a_response(open_program):
    program = open_program()
    assert program.mcp.listen()
    assert program.call("ask_back") == "the client responded"
    assert program.received.get(timeout=PATIENCE) == "ping"


def test_a_request_of_the_server_is_no_response_even_if_it_has_the_same_id(names):
    with SSEServer() as server:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        response = {"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-06-18"}}
        server.serve([json.dumps(ping), json.dumps(response)], then="stall")
        for _ in range(2):
            server.respond(202)
        program = Program(names, server.url)
        with program.client:
            assert program.mcp.initialize() == response["result"]
        assert [json.loads(request.body) for request in server.requests[1:]] == [
            {"jsonrpc": "2.0", "id": 1, "result": {}},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
        ]


@pytest.mark.parametrize("mode", ["", "/json"])
def test_an_error_of_the_protocol_is_raised(mode, open_program):
    program = open_program(mode)
    with pytest.raises(program.error, match="32601"):
        program.mcp.request("no/such/method")


def modern(method: str, **params: object) -> dict[str, Any]:
    """Return the arguments of a request of the revision 2026-07-28, which has no sessions."""
    prefix = "io.modelcontextprotocol/"
    meta = {f"{prefix}protocolVersion": "2026-07-28", f"{prefix}clientCapabilities": {}}
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": method,
        **({"Mcp-Name": str(params["name"])} if "name" in params else {}),
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    return {"headers": headers, "json": message}


def test_what_the_page_says_of_revision_2026_07_28(open_program, server):
    """No session, JSON or a stream in response to a POST, no GET, and both revisions at once."""
    program = open_program()
    url = f"{server.url}/mcp"
    assert program.mcp._headers["MCP-Protocol-Version"] == "2025-11-25"
    discovered = program.client.post(url, **modern("server/discover"))
    assert discovered.headers["Content-Type"] == "application/json"
    assert "2026-07-28" in discovered.json()["result"]["supportedVersions"]
    assert "Mcp-Session-Id" not in discovered.headers
    with pytest.raises(UnexpectedStatusError, match="405"):
        program.client.sse(url, headers=modern("tools/list")["headers"])
    call = modern("subscriptions/listen", notifications={"toolsListChanged": True})
    with program.client.sse(url, method="POST", **call) as session:
        first = session.incoming.get(timeout=PATIENCE)
        assert first.json()["method"] == "notifications/subscriptions/acknowledged"
        assert first.id == ""
    refused = program.client.post(url, **modern("initialize"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, -32601)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """A server of the TypeScript SDK, shared by all tests."""
    if NODE is None or not EVERYTHING.exists():
        pytest.skip(MISSING["server-everything"])
    with Everything(tmp_path_factory.mktemp("everything")) as started:
        yield started


@pytest.fixture
def with_everything(names: dict[str, Any], everything: Everything) -> Iterator[Program]:
    """A session with the server of the TypeScript SDK."""
    # Its store replays sent events, but does not continue the stream with later ones.
    program = Program(names, f"{everything.url}/mcp", event_timeout=0.5)
    program.mcp.initialize()
    yield program
    program.client.close()


def test_requests_to_the_typescript_sdk_have_their_results(with_everything):
    program = with_everything
    assert program.mcp.listen()
    tools = {tool["name"] for tool in program.mcp.request("tools/list")["tools"]}
    assert {"echo", "get-sum"} <= tools
    assert program.call("echo", message="hello") == "Echo: hello"
    assert "5" in program.call("get-sum", a=2, b=3)
    program.mcp.close()
    assert program.sent[-1] == ("DELETE", None, 200)


def operate(program: Program, duration: float = 0.0) -> str:
    """Run an operation that reports its progress twice."""
    result = program.mcp.request(
        "tools/call",
        {
            "name": "trigger-long-running-operation",
            "arguments": {"duration": duration, "steps": 2},
            "_meta": {"progressToken": "steps"},
        },
    )
    return result["content"][0]["text"]


def progress(program: Program) -> int:
    """Return the number of progress messages since the last call."""
    methods = [program.received.get_nowait() for _ in range(program.received.qsize())]
    return methods.count("notifications/progress")


def test_the_progress_of_a_request_to_the_typescript_sdk_comes_before_its_result(with_everything):
    assert "completed" in operate(with_everything)
    assert progress(with_everything) == 2


def test_a_stream_of_the_typescript_sdk_that_breaks_is_resumed_with_a_get(with_everything):
    program = with_everything
    program.breaks_stream = True  # after its first event, which has only an ID
    begun = len(program.sent)
    assert "completed" in operate(program, duration=1.0)
    post, *gets = program.sent[begun:]
    assert post == ("POST", None, 200)
    assert gets
    assert all(get.method == "GET" and get.last_event_id and get.status == 200 for get in gets)


def test_an_expired_session_of_server_everything_is_refused_with_400(with_everything):
    program = with_everything
    program.end_session()
    with pytest.raises(UnexpectedStatusError, match="400"):
        program.mcp.request("tools/list")
