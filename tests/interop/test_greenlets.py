"""Sessions under gevent and eventlet, in separate environments, and in workers of gunicorn."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
from environments import INSTALLING
from greenlet_streams import Streams
from pages import ROOT, read_blocks
from servers import HERE, Server
from support import PATIENCE, Running, deaf_listener, silent_listener, sse_client_for_tests

from sse_client import ServerSentEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long running all cases may take on a busy machine, in seconds.
RUNNING = 120

pytestmark = [
    pytest.mark.ci,
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.timeout(INSTALLING + 2 * RUNNING),
]

#: How the standard library is patched, and whether a channel then is a ``queue.Queue``.
WAYS = [
    ("gevent", "gevent", True),
    ("gevent", "gevent-late", False),
    ("gevent", "gevent-without-queue", True),
    ("gevent of 2024", "gevent", True),
    ("gevent of 2024", "gevent-late", True),
    ("eventlet", "eventlet", True),
    ("eventlet", "eventlet-late", False),
]

each_way = pytest.mark.parametrize(
    ("environment", "how", "is_queue"), WAYS, ids=[" ".join(way[:2]) for way in WAYS]
)

ENDINGS = re.findall(r"^@ending\ndef (\w+)", (HERE / "greenlet_cases.py").read_text(), re.MULTILINE)

#: The output at exit of `import requests` alone, with Python 3.10 and a gevent of 2024.
OF_LOGGING = re.compile(
    r"Exception ignored in: <function _removeHandlerRef(?s:.)*?"
    r"RuntimeError: greenlet is being finalized\n"
)

#: gevent prints when it occurs.
INTERRUPT = "by_an_interrupt"

PAGE = ROOT / "docs" / "howto" / "gevent.md"
PROGRAM, APPLICATION = [block for block in read_blocks(PAGE) if block.language == "python"]

#: The lines that the page puts at the top of gunicorn's configuration.
PATCHES = "from gevent import monkey; monkey.patch_all()"

#: An application that responds with its worker and its first event.
WORKER_AND_EVENT = """
import os
from sse_client import HttpClient, SSE

client = HttpClient().install(SSE)

def app(environ, start_response):
    with client.sse(URL) as session:
        body = f"{os.getpid()} {session.incoming.get().data}".encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
"""

WORKERS = 2

#: How many requests each worker serves at the same time.
CONNECTIONS = 4


@pytest.fixture
def variables(tls, tls_server, server, tmp_path) -> Iterator[dict[str, str]]:
    """The environment of a process that runs cases, with the addresses of its servers."""
    server.handler = tls_server.handler = Streams().handle
    with deaf_listener() as deaf, silent_listener() as (silent, _):
        addresses = {
            "http": server.url.rstrip("/"),
            "https": tls_server.url.rstrip("/"),
            "bundle": tls.ca_bundle,
            "deaf": f"http://127.0.0.1:{deaf}/",
            "silent https": f"https://127.0.0.1:{silent}/",
            "folder": str(tmp_path),
        }
        yield {**os.environ, "PYTHONPATH": str(ROOT), "ADDRESSES": json.dumps(addresses)}


def start(python, variables, *arguments):
    # eventlet leaves the socket of a failed handshake to the garbage collector.
    strict = [] if arguments[0].startswith("eventlet") else ["-W", "always::ResourceWarning"]
    return subprocess.Popen(
        [python, *strict, HERE / "run_greenlets.py", *arguments],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Wait for the end of a process. Return its status and its output."""
    with process:
        try:
            out, err = process.communicate(timeout=RUNNING)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"it hangs; its output:\n{out}\n{err}")
    return process.returncode, out, OF_LOGGING.sub("", err)


@each_way
def test_all_cases_pass_and_nothing_is_printed_at_exit(
    python_of, variables, environment, how, is_queue
):
    status, out, err = ended(start(python_of(environment), variables, how))
    assert (status, err) == (0, ""), out + err
    *passed, last = out.splitlines()
    assert last == f"a channel is a queue.Queue: {is_queue}"
    assert "streams_are_merged" in passed


@each_way
def test_whatever_is_open_at_exit_nothing_is_printed(
    python_of, variables, environment, how, is_queue
):
    python = python_of(environment)
    endings = [each for each in ENDINGS if each != INTERRUPT]
    assert len(endings) > 10
    with ThreadPoolExecutor(4) as threads:
        outcomes = threads.map(lambda each: ended(start(python, variables, how, each)), endings)
        assert dict(zip(endings, outcomes, strict=True)) == dict.fromkeys(
            endings, (0, "ending\n", "")
        )


@each_way
def test_ctrl_c_ends_the_wait_of_the_main_greenlet(
    python_of, variables, environment, how, is_queue
):
    status, out, err = ended(start(python_of(environment), variables, how, INTERRUPT))
    assert (status, out) == (0, "ending\n"), err
    assert "Traceback" not in err


def test_the_program_on_the_page_follows_a_stream(python_of, server):
    server.serve([ServerSentEvent("one", retry=10)], then="drop")
    server.serve(["two"], then="end")
    server.respond(204)
    program = PROGRAM.code_for(server.url)
    done = subprocess.run(
        [python_of("gevent"), "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\n", "")


class Gunicorn(Server):
    """gunicorn with two gevent workers, which open a stream for each request."""

    def __init__(self, folder, python, options):
        super().__init__(folder)
        self._python = python
        self._options = options

    def command(self):
        options = ["-k", "gevent", "-w", str(WORKERS), "-b", f"127.0.0.1:{self.port}"]
        options += ["--worker-connections", str(CONNECTIONS), "--graceful-timeout", "2"]
        options += ["--chdir", str(self.folder), *self._options]
        program = [str(self._python), "-m", "gunicorn", "app:app"]
        return ["env", f"PYTHONPATH={ROOT}", *program, *options]

    def output(self):
        return (self.folder / "output.log").read_text("utf-8")


class Upstream:
    """Sends one event to each of a number of streams once all are open, and paces the others."""

    def __init__(self, count):
        self._barrier = threading.Barrier(count)
        self.opened = threading.Event()
        self.exchange = None

    def handle(self, exchange):
        exchange.open()
        if exchange.request.target == "/together":
            self._barrier.wait(PATIENCE)
            exchange.send("first")
        else:
            self.exchange = exchange
            self.opened.set()
        exchange.stall()


@contextlib.contextmanager
def gunicorn(folder, python, server, options, code):
    upstream = Upstream(WORKERS * CONNECTIONS)
    server.handler = upstream.handle
    (folder / "app.py").write_text(code)
    with Gunicorn(folder, python, options) as started:
        yield started, upstream


# With --preload the application is imported before gevent patches anything.
@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["usual", "preloaded"])
class TestGunicorn:
    def test_serves_requests_at_the_same_time_in_each_of_two_workers(
        self, python_of, server, tmp_path, options
    ):
        count = WORKERS * CONNECTIONS
        code = WORKER_AND_EVENT.replace("URL", repr(server.url_for("/together")))
        with gunicorn(tmp_path, python_of("gevent"), server, options, code) as (started, _):
            with ThreadPoolExecutor(count) as threads:
                asked = [
                    threads.submit(requests.get, started.url, timeout=PATIENCE)
                    for _ in range(count)
                ]
                texts = [each.result().text for each in asked]
            assert {text.split()[1] for text in texts} == {"first"}
            assert len({text.split()[0] for text in texts}) == WORKERS
        assert "Traceback" not in started.output()

    def test_passes_a_stream_on_until_the_client_goes(self, python_of, server, tmp_path, options):
        code = APPLICATION.code_for(server.url)
        with gunicorn(tmp_path, python_of("gevent"), server, options, code) as (started, upstream):
            with sse_client_for_tests() as client:
                opening = Running(lambda: client.sse(started.url))
                assert upstream.opened.wait(PATIENCE)
                upstream.exchange.send("one")
                session = opening.outcome()
                upstream.exchange.send("two")
                assert [session.incoming.get().data for _ in range(2)] == ["one", "two"]
            # The worker detects it when it sends.
            while not upstream.exchange.wait_closed(0.01):
                with contextlib.suppress(ConnectionError):
                    upstream.exchange.send("three")
        assert "Traceback" not in started.output()

    def test_ends_with_streams_that_are_open(self, python_of, server, tmp_path, options):
        code = APPLICATION.code_for(server.url)
        with (
            gunicorn(tmp_path, python_of("gevent"), server, options, code) as (started, upstream),
            sse_client_for_tests() as client,
        ):
            opening = Running(lambda: client.sse(started.url))
            assert upstream.opened.wait(PATIENCE)
            upstream.exchange.send("one")
            assert opening.outcome().incoming.get().data == "one"
            started.stop()
        assert "Traceback" not in started.output()
        assert "Exception ignored" not in started.output()

    def test_opens_streams_over_tls(self, python_of, tls, tls_server, tmp_path, options):
        if options:  # as the page says
            assert PATCHES in PAGE.read_text("utf-8")
            configuration = tmp_path / "gunicorn.conf.py"
            configuration.write_text(PATCHES)
            options = [*options, "--config", str(configuration)]
        url = repr(tls_server.url_for("/alone"))
        code = WORKER_AND_EVENT.replace("URL", f"{url}, verify={tls.ca_bundle!r}")
        with gunicorn(tmp_path, python_of("gevent"), tls_server, options, code) as (started, up):
            asking = Running(lambda: requests.get(started.url, timeout=PATIENCE))
            assert up.opened.wait(PATIENCE)
            up.exchange.send("one")
            assert asking.outcome().text.split()[1] == "one"
        assert "Traceback" not in started.output()
