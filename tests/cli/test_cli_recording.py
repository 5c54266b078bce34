"""Recording a stream, continuing the recording, and serving it."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import signal
import socket
import threading
import types
from typing import TYPE_CHECKING

import pytest
import requests
from command_line import A_FILE, NASTY, PATIENCE, follow, parse, started, with_file
from support import sse_client_for_tests
from systems import needs_posix
from tables import each_of

from sse_client import CursorError, ServerSentEvent
from sse_client.cli import replay as replay_module
from sse_client.cli import serve
from sse_client.cli.cors import headers_for, options_for
from sse_client.cli.recording import Recording, read_blocks
from sse_client.cli.signals import ended_by_sigterm
from sse_client.testing import RecordedRequest
from sse_client.testing.request import RequestHeaders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sse_client.testing import Exchange


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recording.txt"


@contextlib.contextmanager
def serving(file: Path, *words: str) -> Iterator[str]:
    """Serve a recording in another process, which is ended by SIGTERM. Yield its address."""
    with started("serve", "--replay", str(file), *words) as process:
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == (
            0 if os.name == "posix" else 1
        )  # Windows ends it without a signal


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A file that is served, and its address. Each client gets the current content of the file."""
    file = tmp_path_factory.mktemp("served") / "recording.txt"
    file.touch()
    with serving(file) as url:
        yield file, url


def received(url: str, **options) -> list[ServerSentEvent]:
    with (
        sse_client_for_tests(reconnect="on_error", **options) as client,
        client.sse(url, timeout=PATIENCE) as session,
    ):
        return list(session.incoming)


def numbered(*numbers: int) -> list[ServerSentEvent]:
    return [ServerSentEvent(f"event {n}", id=str(n)) for n in numbers]


#: A recording.
FIVE = "".join(map(str, numbered(*range(1, 6))))


# Recording.


def test_what_was_recorded_and_served_is_the_same_as_the_original(server, file):
    server.serve([NASTY])
    server.respond(204)
    assert follow("record", server.url, str(file)) == 0
    original = parse(NASTY)
    assert parse(file.read_bytes()) == original
    with serving(file) as url:
        assert received(url) == original


def test_a_recording_that_was_cut_off_anywhere_goes_on_behind_its_last_whole_event(file):
    events = parse(NASTY)
    with Recording(str(file)) as recording:
        for event in events:
            recording.append(event)
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        kept = parse(content[:length])
        assert kept == events[: len(kept)]
        with Recording(str(file)) as recording:
            assert recording.is_empty is not bool(kept)
            assert recording.last_event_id == (kept[-1].id if kept else "")
            for event in events[len(kept) :]:
                recording.append(event)
        assert file.read_bytes() == content


def test_a_recording_goes_on_behind_its_last_event(server, file):
    server.serve(numbered(1, 2, 3), then="stall")
    server.serve(numbered(3, 4), then="stall")
    for _ in range(2):
        words = ["--last-event-id", "0", "--max-events", "2"]
        assert follow("record", server.url, str(file), *words) == 0
    asked_for = [request.headers.get("Last-Event-ID") for request in server.requests]
    assert asked_for == ["0", "2"]
    assert parse(file.read_bytes()) == numbered(1, 2, 3, 4)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_new_recording_may_begin_anywhere(server, file):
    server.respond(204)
    assert follow("record", server.url, str(file), "--last-event-id", "7") == 0
    assert server.requests[0].headers["Last-Event-ID"] == "7"
    assert file.read_bytes() == b""


def test_going_on_without_an_id_is_warned_of(server, file, capsys):
    file.write_text("data: one\n\n")
    server.respond(204)
    assert follow("record", server.url, str(file)) == 0
    assert "ends without an ID to continue after" in capsys.readouterr().err
    assert "Last-Event-ID" not in server.requests[0].headers


@pytest.mark.parametrize(
    "content",
    ["# Notes\n\nof mine\n\n", "hello", "data: one\n\nhello\n", "data: one\n\nhello", "\n\n\n"],
)
def test_another_file_is_left_as_it_is(file, capsys, content):
    file.write_text(content)
    assert follow("record", "http://127.0.0.1:1/", str(file)) == 1
    errors = capsys.readouterr().err
    assert errors == f"sse-client: {file} is not a recording of an event stream\n"
    assert file.read_text() == content


@needs_posix
def test_a_pipe_is_no_recording(file, capsys):
    os.mkfifo(file)
    assert follow("record", "http://127.0.0.1:1/", str(file)) == 1
    assert capsys.readouterr().err == f"sse-client: {file} is not a regular file\n"


def test_a_recording_has_one_writer(file, capsys):
    with Recording(str(file)):
        assert follow("record", "http://127.0.0.1:1/", str(file)) == 1
    assert "is in use by" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_a_failure(tmp_path, capsys):
    assert follow("record", "http://127.0.0.1:1/", str(tmp_path / "no" / "file")) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_killed_recorder_neither_loses_nor_doubles_an_event(server, file):
    total, each = 1600, 360

    def count(exchange: Exchange) -> None:
        begin = int(exchange.request.headers.get("Last-Event-ID", "0"))
        if begin == total:
            reached.set()  # the recorder ended before it was killed
            exchange.respond(204)
            return
        for number in range(begin + 1, total + 1):
            exchange.send(f"event {number}\n{'x' * (number % 3000)}", id=str(number))
            if number == min(begin + each, total):
                reached.set()

    server.handler = count
    for _ in range(3):
        reached = threading.Event()
        with started("record", server.url, str(file)) as process:
            assert reached.wait(PATIENCE)
            process.kill()
            process.wait(PATIENCE)
    assert follow("record", server.url, str(file)) == 0
    recorded = [event.id for event in parse(file.read_bytes())]
    assert recorded == [str(number) for number in range(1, total + 1)]


def test_the_lock_of_a_recording_follows_no_link(file, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / "recording.txt.lock").symlink_to(target)
    with pytest.raises(CursorError, match=r"recording.txt.lock is a symbolic link"):
        Recording(str(file))
    assert target.read_bytes() == b"precious"
    assert not file.exists()


# Blocks.


@pytest.mark.parametrize("content", ["# Notes\n\nof mine\n\n", "a,b\n1,2\n", "\n\n"])
def test_a_file_that_is_not_a_recording_is_not_served(file, capsys, content):
    file.write_text(content)
    assert follow("serve", "--replay", str(file)) == 1
    errors = capsys.readouterr().err
    assert errors == f"sse-client: {file} is not a recording of an event stream\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_blocks_end_at_a_blank_line_of_any_kind(end):
    blocks = [b"data: 1||", b"|", b": c|data|id: 2||"]
    blocks = [block.replace(b"|", end) for block in blocks]
    assert list(read_blocks(io.BytesIO(b"".join(blocks) + b"data: cut off" + end))) == blocks


# Serving.


@pytest.fixture
def recorded(file: Path) -> Path:
    file.write_text(FIVE)
    return file


def test_a_client_goes_on_behind_its_last_event(served):
    file, url = served
    file.write_text(FIVE)
    for last_event_id, expected in [("", [1, 2, 3, 4, 5]), ("2", [3, 4, 5]), ("4", [5])]:
        assert received(url, last_event_id=last_event_id) == numbered(*expected)


def test_a_client_that_has_it_all_is_told_to_stop(served, capsys):
    file, url = served
    file.write_text(FIVE)
    assert follow(url, "--last-event-id", "5") == 0
    response = requests.get(url, headers={"Last-Event-ID": "5"}, timeout=PATIENCE)
    assert response.status_code == 204
    assert capsys.readouterr() == ("", "")


def test_an_unknown_id_is_refused(served, capsys):
    file, url = served
    file.write_text(FIVE)
    assert follow(url, "--last-event-id", "9") == 4
    assert "responded with 410 Gone" in capsys.readouterr().err


def test_of_several_events_with_an_id_none_is_lost(served):
    file, url = served
    file.write_text("id: 1\ndata: one\n\ndata: two\n\nid\ndata: three\n\nid: 2\ndata: four\n\n")
    events = received(url, last_event_id="1")
    assert [event.data for event in events] == ["two", "three", "four"]


def test_a_client_that_has_it_all_stops_although_others_have_the_last_id(served, capsys):
    file, url = served
    contents = [
        "id: 1\ndata: a\n\ndata: b\n\ndata: c\n\n",
        "id: 0\ndata: a\n\nid: 1\ndata: b\n\nid: 1\ndata: c\n\n",
        "data: a\n\ndata: b\n\nid: 1\n\ndata: c\n\n",
        "data: a\n\ndata: b\n\nid: 1\ndata: c\n\n: over\n\n",
    ]
    for content in contents:
        file.write_text(f"retry: 1\n\n{content}")
        assert follow(url, "--max-events", "9") == 0, content
        assert capsys.readouterr() == ("a\nb\nc\n", ""), content


def test_several_clients_are_served_at_once_and_on_any_path(recorded):
    with (
        serving(recorded, "--loop") as url,
        sse_client_for_tests() as client,
        client.sse(url) as one,
        client.sse(f"{url}b?c", method="POST", data="x") as other,
    ):
        for session in (one, other):
            events = itertools.islice(session.incoming, 12)
            assert list(events) == numbered(*range(1, 6), *range(1, 6), 1, 2)


def test_a_loop_goes_on_for_who_has_it_all(recorded):
    with (
        serving(recorded, "--loop") as url,
        sse_client_for_tests() as client,
        client.sse(url, last_event_id="5") as session,
    ):
        assert list(itertools.islice(session.incoming, 2)) == numbered(1, 2)


def test_a_loop_over_nothing_ends():
    assert list(replay_module._repeated(io.BytesIO(b"data: cut off"))) == []


def test_an_empty_recording_is_one_that_everybody_has(served):
    file, url = served
    file.write_bytes(b"")
    assert received(url) == []


def test_a_rate_spaces_the_events(recorded, monkeypatch):
    waits = []
    clock = itertools.count(0.0, 0.01)
    monkeypatch.setattr(replay_module.time, "monotonic", lambda: next(clock))

    class Client:
        """The side of a client that never disconnects."""

        def wait_closed(self, timeout: float) -> None:
            waits.append(round(timeout, 2))

        def write(self, block: bytes) -> None:
            waits.append(len(block))

    replay = replay_module.Replay(str(recorded), 4.0, is_endless=False)
    with recorded.open("rb") as blocks:
        replay._send(
            itertools.chain([b": c\n\n"], read_blocks(blocks)), Client(), replay_module.new_parser()
        )
    size = len(str(numbered(1)[0]))
    assert waits == [5, 0.0, size, 0.23, size, 0.47, size, 0.71, size, 0.95, size]


def test_once_ends_when_a_client_has_had_it_all(recorded):
    with started("serve", "--replay", str(recorded), "--once", "--rate", "1000") as process:
        url = process.stdout.readline().strip()
        assert received(url) == numbered(1, 2, 3, 4, 5)
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0


def test_it_listens_where_it_is_told(recorded):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    with serving(recorded, "--host", "localhost", "--port", port) as url:
        assert url == f"http://localhost:{port}/"
        assert received(url) == numbered(1, 2, 3, 4, 5)


def has_ipv6() -> bool:
    """Return whether this system has an IPv6 loopback address."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this system")
def test_it_listens_on_an_address_of_ipv6(recorded):
    with serving(recorded, "--host", "::1") as url:
        assert re.fullmatch(r"http://\[::1\]:\d+/", url)
        assert received(url) == numbered(1, 2, 3, 4, 5)


def test_a_port_that_is_taken_is_a_failure(recorded, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert follow("serve", "--replay", str(recorded), "--port", port) == 1
    assert "Address already in use" in capsys.readouterr().err


# To browsers.


def asked(method="GET", **headers: str) -> RecordedRequest:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return RecordedRequest(method, "/", "/", {}, RequestHeaders(fields), b"", 1, "HTTP/1.1")


@pytest.mark.parametrize(
    ("origins", "origin", "expected"),
    [
        ([], "https://a", {}),
        (["*"], "https://a", {"Access-Control-Allow-Origin": "*"}),
        (
            ["https://a", "https://b"],
            "https://b",
            {"Vary": "Origin", "Access-Control-Allow-Origin": "https://b"},
        ),
        (["https://a"], "https://b", {"Vary": "Origin"}),
    ],
)
def test_pages_of_some_origins_may_read_it(origins, origin, expected):
    assert headers_for(asked(Origin=origin), origins) == expected


def test_a_preflight_request_is_responded_to():
    preflight = asked("OPTIONS", Origin="https://a", Access_Control_Request_Headers="last-event-id")
    methods = "GET, HEAD, POST, OPTIONS"
    assert options_for(preflight, []) == {"Allow": methods}
    assert options_for(preflight, ["*"]) == {
        "Allow": methods,
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Max-Age": "600",
        "Access-Control-Allow-Headers": "last-event-id",
    }
    assert "Access-Control-Allow-Headers" not in options_for(asked("OPTIONS"), ["*"])


def test_each_response_has_the_headers_of_cors(recorded):
    with serving(recorded, "--cors", "https://a", "--cors", "https://b") as url:
        for method, last_event_id, status in [
            ("GET", "4", 200),
            ("GET", "5", 204),
            ("GET", "x", 410),
            ("OPTIONS", "", 204),
        ]:
            headers = {"Last-Event-ID": last_event_id, "Origin": "https://b"}
            response = requests.request(method, url, headers=headers, timeout=PATIENCE)
            assert response.status_code == status
            assert response.headers["Access-Control-Allow-Origin"] == "https://b"


@needs_posix
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_serving_with_clients_connected(recorded):
    with started("serve", "--replay", str(recorded), "--loop") as process:
        url = process.stdout.readline().strip()
        with requests.get(url, stream=True, timeout=PATIENCE) as response:
            assert response.status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 130


@pytest.mark.parametrize("words", [[], ["--once"]])
def test_each_wait_of_the_main_thread_ends_by_itself(recorded, monkeypatch, capsys, words):
    """On Windows, Ctrl-C is handled after a wait, and does not interrupt it."""
    waits = []

    class Event(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            if len(waits) > 1:
                raise KeyboardInterrupt
            return False

    for module in (serve, replay_module):
        monkeypatch.setattr(module, "threading", types.SimpleNamespace(Event=Event))
    assert follow("serve", "--replay", str(recorded), *words) == 130
    assert len(waits) == 2
    assert None not in waits
    assert capsys.readouterr().err == ""


def test_in_this_process_it_leaves_the_signals_as_they_were(recorded, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def end(_self) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(serve.threading.Event, "wait", end)
    replay = replay_module.Replay(str(recorded), None, is_endless=False)
    with pytest.raises(SystemExit) as exit_, ended_by_sigterm(0):
        replay.is_over.wait()
    assert exit_.value.code == 0
    assert signal.getsignal(signal.SIGTERM) is before


@each_of(
    ("words", "message"),
    [
        ([], "the following arguments are required: --replay"),
        (["--replay", "/s3cr3t"], "--replay: there is no such file"),
        (
            ["--replay", A_FILE, "--port", "65536"],
            "--port: must be a whole number from 0 to 65535",
        ),
        (
            ["--replay", A_FILE, "--cors", "a.b"],
            "--cors: must be an origin such as https://example.org, or *",
        ),
        (["--replay", A_FILE, "--cors", "https://a/"], "--cors: must be"),
        (["--replay", A_FILE, "--rate", "0"], "--rate: must be a number above 0"),
        (["--replay", A_FILE, "--loop", "--once"], "--once: not allowed with argument --loop"),
        (["--replay", A_FILE, "s3cr3t"], "too many arguments"),
    ],
)
def test_wrong_usage_of_serve_is_explained(capsys, words, message):
    assert follow("serve", *with_file(words)) == 2
    errors = capsys.readouterr().err
    assert message in errors.splitlines()[-1]
    assert "s3cr3t" not in errors
