"""``sse-client relay --nats``: relaying, the status, the check, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from canaries import CANARY
from nats_process import LEASE
from numbered_server import wait_for
from processes import Process
from support import PATIENCE

from sse_client.cli import main
from sse_client.relay.jetstream.bucket import BUCKET, Bucket
from sse_client.relay.jetstream.connection import NatsServer
from sse_client.relay.jetstream.failures import NatsError
from sse_client.relay.jetstream.status import read_status
from sse_client.relay.metrics import Sources, serve_metrics


@pytest.fixture
def quiet(monkeypatch):
    """Leave the logging of the tests alone."""
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)


def relay(nats, *words):
    return main(["relay", "--nats", nats.url, "--lease-time", str(LEASE), *words])


def test_a_stream_is_relayed_to_its_end(nats, stream, numbered, quiet, capsys):
    numbered.ends = True
    numbered.last = 5
    url = f"{numbered.url}?token={CANARY}"
    assert relay(nats, "--stream", stream, url) == 0
    assert nats.ids(stream) == ["1", "2", "3", "4", "5"]
    shown = capsys.readouterr().err
    where = f"into the stream {stream!r}, 127.0.0.1:{nats.port}, as "
    assert shown.startswith(f"relaying {numbered.url} {where}")


def test_sigterm_releases_the_lease(nats, stream, numbered):
    numbered.offer(3)
    words = [
        "--verbose",
        "--log-json",
        "--stream",
        stream,
        "--lease-time",
        str(LEASE),
        numbered.url,
    ]
    environment = {name: os.environ[name] for name in os.environ if name != "REDIS_URL"}
    process = Process(
        [sys.executable, "-m", "sse_client", "relay", *words],
        env={**environment, "NATS_URL": nats.url},
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(lambda: nats.length(stream) == 3)
        process.send_signal(signal.SIGTERM)
        _, shown = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    messages = [json.loads(line)["message"] for line in shown.splitlines()]
    assert f"{stream!r}: no longer relaying: it was stopped" in messages
    assert Bucket(nats.nats, BUCKET).get(stream).value is None


def test_the_status_is_a_table(nats, stream, numbered, relay_to, capsys):
    assert relay(nats, "--status", "--stream", stream) == 3
    assert re.search(rf"{stream} +- +nobody +- +0 +0.0 +0 +- +0$", capsys.readouterr().out.strip())
    numbered.offer(4)
    with relay_to(nats, stream, numbered.url) as started:
        wait_for(lambda: read_status(nats.nats, stream).state == "relaying")
        wait_for(lambda: nats.length(stream) == 4)
        assert relay(nats, "--status", "--stream", stream) == 0
        _, row = capsys.readouterr().out.splitlines()
        assert re.match(rf"{stream} +{started.owner} +relaying +- +0 +\d+\.\d +4 +4 +0", row)
        consumer = {"durable_name": "c", "ack_policy": "explicit", "deliver_policy": "last"}
        nats.nats.ask(f"CONSUMER.DURABLE.CREATE.{stream}.c", stream_name=stream, config=consumer)
        assert relay(nats, "--status", "--json", "--stream", stream) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["stream"], found["lag"], found["length"]) == (stream, 1, 4)


def test_the_slowest_consumer_counts_whatever_page_it_is_on(nats, stream, numbered, relay_to):
    numbered.offer(3)
    with relay_to(nats, stream, numbered.url):
        wait_for(lambda: nats.length(stream) == 3)

    class Paged:
        def ask(self, what, **question):
            if not what.startswith("CONSUMER.LIST."):
                return nats.nats.ask(what, **question)
            pages = {0: [{"num_pending": 1}], 1: [{"num_pending": 5}], 2: None}
            return {"total": 3, "consumers": pages[question["offset"]]}

    assert read_status(Paged(), stream).lag == 5


def test_a_status_that_nats_refuses_is_shown(capsys):
    address = f"nats://u:{CANARY}@127.0.0.1:1"
    assert main(["relay", "--nats", address, "--status", "--stream", "s"]) == 1
    assert "reading from NATS failed: NatsError: " in capsys.readouterr().err


def test_the_check_finds_what_would_prevent_relaying(nats, stream, numbered, server, capsys):
    words = ("--check", "--stream", stream)
    numbered.offer(1)
    assert relay(nats, *words, numbered.url) == 0
    assert capsys.readouterr().out == f"ok     {stream}\n"
    assert nats.nats.ask("STREAM.NAMES", subject=stream)["streams"] is None, "nothing is written"
    Bucket(nats.nats, BUCKET).prepare(LEASE, 1)
    nats.nats.ask(f"STREAM.CREATE.{stream}", name=stream, subjects=[stream])
    assert relay(nats, *words, numbered.url) == 0
    server.respond(404)
    assert relay(nats, *words, "--lease-time", "7", server.url) == 1
    shown = capsys.readouterr().out
    assert "the values of the bucket 'sse-client-leases' live for 0.6 s" in shown
    assert "UnexpectedStatusError" in shown
    nats.nats.publish(stream, [(b"x", {})])
    assert relay(nats, *words, numbered.url) == 1
    assert "its last message is not one of a relay" in capsys.readouterr().out
    assert main(["relay", "--nats", "127.0.0.1:1", *words, numbered.url]) == 1
    assert "       NATS: NatsError: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--redis", "redis://h"], "--redis is not available with NATS"),
        (["--max-length", "5"], "--max-length is not available with NATS"),
        (["--wait-replicas", "1"], "--wait-replicas is not available with NATS"),
        (["--dead-letters"], "--dead-letters is not available with NATS"),
        (["--requeue", "all"], "--requeue is not available with NATS"),
    ],
)
def test_options_that_only_concern_redis_are_refused(words, text, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["relay", "--nats", "nats://h", "--stream", "s", *words, "http://h"])
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"NATS_URL": "127.0.0.1:1"}, "reading from NATS failed"),
        ({"NATS_URL": "127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1"}, "reading from Redis"),
        ({}, "give --redis or --nats, or set REDIS_URL or NATS_URL"),
    ],
)
def test_the_environment_chooses_if_no_option_does(environment, text, capsys, monkeypatch):
    for name in ("NATS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["relay", "--status", "--stream", "s"]) == 1
    assert text in capsys.readouterr().err


def test_the_address_can_be_in_a_file(nats, stream, tmp_path, capsys):
    path = tmp_path / "address"
    path.write_text(f"{nats.url}\n")
    assert main(["relay", "--nats", f"@{path}", "--status", "--stream", stream]) == 3
    assert stream in capsys.readouterr().out
    path.write_bytes(b"\xff")
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(SystemExit):
            main(["relay", "--nats", f"@{wrong}", "--status", "--stream", stream])
        assert "--nats" in capsys.readouterr().err


def test_a_wrong_name_or_address_is_refused(capsys):
    assert main(["relay", "--nats", "h", "--status", "--stream", "a.b"]) == 1
    assert "--stream must consist of letters, digits" in capsys.readouterr().err
    assert main(["relay", "--nats", f"http://{CANARY}@h", "--status", "--stream", "a"]) == 1
    assert "the address of NATS must be like" in capsys.readouterr().err


def test_without_its_package_the_error_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    assert main(["relay", "--nats", "h", "--status", "--stream", "a"]) == 1
    assert "pip install 'sse-client[nats]'" in capsys.readouterr().err


def test_the_metrics_are_those_of_nats(nats, stream, numbered, relay_to):
    pytest.importorskip("prometheus_client")
    numbered.offer(2)
    with relay_to(nats, stream, numbered.url) as started:
        wait_for(lambda: read_status(nats.nats, stream).written == 2)
        sources = Sources(
            nats.nats,
            lambda: [read_status(nats.nats, stream)],
            figures=started.figures,
            trouble=lambda: started.trouble,
            is_alive=lambda: started.is_running,
        )
        with serve_metrics(sources, port=0) as port:
            page = get(f"http://127.0.0.1:{port}/metrics")
    assert "sse_relay_nats_up 1.0" in page
    assert f'sse_relay_entries_total{{stream="{stream}"}} 2.0' in page
    assert f'sse_relay_state{{state="relaying",stream="{stream}"}} 1.0' in page
    assert f'sse_relay_state{{state="waiting for nats",stream="{stream}"}} 0.0' in page
    assert "redis" not in page.lower()


def test_the_metrics_show_that_nats_fails():
    pytest.importorskip("prometheus_client")
    server = NatsServer("127.0.0.1:1")

    def fail():
        raise NatsError("no reply", passes=True)

    with serve_metrics(Sources(server, fail), port=0) as port:
        assert "sse_relay_nats_up 0.0" in get(f"http://127.0.0.1:{port}/metrics")


def test_the_metrics_of_a_stream_that_cannot_be_used_are_those_of_the_process(
    nats, stream, numbered, relay_to
):
    pytest.importorskip("prometheus_client")
    numbered.offer(2)
    with relay_to(nats, stream, numbered.url) as started:
        wait_for(lambda: started.statistics.written == 2)
        config = nats.nats.ask(f"STREAM.INFO.{stream}")["config"]
        nats.nats.ask(f"STREAM.UPDATE.{stream}", **{**config, "max_age": 10**12})
        statuses = lambda: [read_status(nats.nats, stream)]  # noqa: E731  # for a single use
        with serve_metrics(Sources(nats.nats, statuses, figures=started.figures), port=0) as port:
            page = get(f"http://127.0.0.1:{port}/metrics")
    assert "sse_relay_nats_up 0.0" in page
    assert f'sse_relay_waiting{{stream="{stream}"}} 0.0' in page


def get(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return response.read().decode()
