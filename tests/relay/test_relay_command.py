"""``sse-client relay``: relays until it is told to stop, and shows how that goes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from numbered_server import Numbered, numbers_of, wait_for
from processes import Process
from support import PATIENCE, sse_client_for_tests

from sse_client.cli import main
from sse_client.relay import RedisRelay, connection, incoming_from_redis
from sse_client.relay.metrics import serve_metrics
from sse_client.relay.status import read_status


@pytest.fixture
def numbered():
    with Numbered() as server:
        yield server


@pytest.fixture
def quiet(monkeypatch):
    """Leave the logging of the tests alone."""
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)


def relay(redis, *words):
    return main(["relay", "--redis", redis.url, *words])


def test_a_stream_is_relayed_to_its_end(redis, numbered, quiet):
    numbered.last = 5
    assert relay(redis, "--stream", "orders", "--lease-time", "1", numbered.url) == 0
    assert numbers_of(redis, "orders") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("many", [False, True])
def test_sigterm_gives_the_leases_back(redis, numbered, tmp_path, many):
    numbered.ends = False
    numbered.offer(3)
    config = tmp_path / "relays.toml"
    config.write_text(f'[[streams]]\nurl = "{numbered.url}"\nstream = "orders"\n')
    words = ["--config", str(config)] if many else ["--stream", "orders", numbered.url]
    process = Process(
        [sys.executable, "-m", "sse_client", "relay", "--verbose", *words],
        env={**os.environ, "REDIS_URL": redis.url},
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(lambda: redis.client.xlen("orders") == 3)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    assert b"stopped" in said
    assert redis.client.get("sse-client:{orders}:lease") is None


def test_the_status_is_a_table(redis, numbered, capsys):
    numbered.ends = False
    numbered.offer(4)
    with (
        sse_client_for_tests() as client,
        RedisRelay(
            client, numbered.url, redis=redis.url, stream="orders", lease_time=0.3
        ) as started,
    ):
        wait_for(
            lambda: "relaying" in str(redis.client.hget("sse-client:{orders}:status", "state"))
        )
        wait_for(lambda: redis.client.xlen("orders") == 4)
        with incoming_from_redis(redis.url, "orders", group="g", count=1) as incoming:
            next(incoming)
            assert relay(redis, "--status", "--stream", "orders") == 0
        head, row = capsys.readouterr().out.splitlines()
        assert head.split()[:4] == ["STREAM", "OWNER", "STATE", "LAG"]
        lag = "3" if redis.has_lag else "-"
        assert re.match(rf"orders +{started.owner} +relaying +{lag} +0 +\d+\.\d +4 +4 +0", row)
    assert relay(redis, "--status", "--stream", "nothing") == 0
    assert re.search(r"nothing +- +nobody +- +0 +0.0 +0 +- +0$", capsys.readouterr().out.strip())


def test_an_id_that_a_terminal_would_obey_is_shown_harmless(redis, capsys):
    redis.client.hset("sse-client:{orders}:state", mapping={"id": "a\x1b[2J", "sequence": 1})
    assert relay(redis, "--status", "--stream", "orders") == 0
    assert "a?[2J" in capsys.readouterr().out


def test_a_lag_that_redis_does_not_know_is_left_out(redis, capsys):
    ids = [redis.client.xadd("orders", {"data": str(number)}) for number in range(4)]
    redis.client.xgroup_create("orders", "g", id=ids[0])
    redis.client.xdel("orders", ids[2])
    assert redis.client.xinfo_groups("orders")[0].get("lag") is None
    assert relay(redis, "--status", "--stream", "orders") == 0
    assert re.search(r"nobody +- +0", capsys.readouterr().out)


def test_the_lag_of_some_groups_is_not_that_of_the_slowest(redis, capsys):
    test_a_lag_that_redis_does_not_know_is_left_out(redis, capsys)
    redis.client.xgroup_create("orders", "known", id="0")
    redis.client.xgroup_create("orders", "all", id="$")
    assert relay(redis, "--status", "--stream", "orders") == 0
    assert re.search(r"nobody +- +0", capsys.readouterr().out)


def test_a_key_of_another_type_is_told_beside_the_other_streams(redis, capsys):
    redis.client.set("orders", "a string")
    redis.client.xadd("trades", {"data": "1"})
    redis.client.set("sse-client:{trades}:status", "a string")
    redis.client.xadd("others", {"data": "1"})
    server = connection.RedisServer(redis.url)
    orders, trades, others = read_status(server, ["orders", "trades", "others"])
    server.close()
    assert (orders.length, orders.last_error) == (0, "ResponseError (WRONGTYPE)")
    assert (trades.length, trades.last_error) == (1, "ResponseError (WRONGTYPE)")
    assert (others.length, others.last_error) == (1, "")
    assert relay(redis, "--status", "--stream", "orders") == 0
    assert "WRONGTYPE" in capsys.readouterr().out


def test_a_status_that_redis_refuses_is_told(redis, capsys):
    redis.client.acl_setuser("limited", enabled=True, passwords="+secret", keys="*")
    address = redis.url.replace("//", "//limited:secret@")
    assert main(["relay", "--redis", address, "--status", "--stream", "orders"]) == 1
    said = capsys.readouterr().err
    assert "NoPermissionError" in said
    assert "secret" not in said


def test_the_figures_of_an_owner_that_is_gone_are_not_shown_as_those_of_now(redis):
    report = {"owner": "gone", "state": "relaying", "waiting": 7, "rate": "5.0", "errors": 3}
    redis.client.hset("sse-client:{orders}:status", mapping={**report, "last_error": "E"})
    server = connection.RedisServer(redis.url)
    found = []
    for owner in (None, "new", "gone"):
        if owner:
            redis.client.set("sse-client:{orders}:lease", f"{owner} 2")
        (status,) = read_status(server, ["orders"])
        found.append((status.state, status.waiting, status.rate))
        assert (status.errors, status.last_error) == (3, "E")
    server.close()
    assert found == [("nobody", 0, 0.0), ("starting", 0, 0.0), ("relaying", 7, 5.0)]


def test_why_a_relay_has_failed_is_in_the_status(redis, server, capsys, quiet):
    server.respond(404)
    assert relay(redis, "--stream", "orders", server.url_for("/x?token=secret")) == 1
    assert "404" in capsys.readouterr().err
    assert relay(redis, "--status", "--stream", "orders") == 0
    shown = capsys.readouterr().out
    assert re.search(r"nobody .* 1 UnexpectedStatusError: .*404", shown)
    assert "secret" not in shown


def test_a_port_that_is_taken_is_named(redis, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["--metrics-port", str(port), "--stream", "s", "http://127.0.0.1:1"]
        assert relay(redis, *words) == 1
    assert f"the metrics cannot be served on 127.0.0.1:{port}: " in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lease_time = true\n{}", "lease_time"),
        ("lease_time = 0\n{}", "lease_time"),
        ("pool = 'a{{'\n{}", "pool"),
        ("{}{}", "'orders'"),
        ("{}[[streams]]\nurl = 'secret.org'\nstream = 's'", "stream 2: url must begin with http"),
        ("{}[[streams]]\nurl = 'http://secret@[x'\nstream = 's'", "url can't be parsed"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(redis, tmp_path, capsys, text, said):
    stream = '[[streams]]\nurl = "http://127.0.0.1:9"\nstream = "orders"\n'
    config = tmp_path / "relays.toml"
    config.write_text(text.format(stream, stream))
    assert relay(redis, "--config", str(config)) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown.splitlines()) == 1
    assert "secret" not in shown


def test_an_address_of_redis_with_an_unknown_option_is_refused(capsys):
    words = ["relay", "--status", "--stream", "s", "--redis", "redis://127.0.0.1/0?secret=5"]
    assert main(words) == 1
    shown = capsys.readouterr().err
    assert "redis must be an address" in shown
    assert "secret" not in shown


def test_the_figures_are_served_for_prometheus(redis, numbered, quiet):
    numbered.ends = False
    numbered.offer(6)
    server = connection.RedisServer(redis.url)
    with (
        sse_client_for_tests() as client,
        RedisRelay(client, numbered.url, redis=redis.url, stream="orders", lease_time=0.3),
        serve_metrics(server, ["orders", "unowned"], port=0) as port,
    ):
        wait_for(lambda: redis.client.xlen("orders") == 6)

        def scrape():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
                return response.read().decode()

        text = scrape()
        assert 'sse_relay_entries_total{stream="orders"} 6.0' in text
        assert 'sse_relay_owner{owner="' in text
        assert "sse_relay_redis_up 1.0" in text
        redis.kill()
        assert "sse_relay_redis_up 0.0" in scrape()
        assert "sse_relay_entries" not in scrape()
        redis.start()
    server.close()


def test_metrics_can_be_asked_for(redis, numbered, quiet):
    numbered.last = 2
    words = ["--metrics-port", "0", "--stream", "orders", "--max-length", "10", numbered.url]
    assert relay(redis, *words) == 0


@pytest.mark.parametrize(
    ("missing", "extra"), [("redis", "redis"), ("prometheus_client", "metrics")]
)
def test_a_missing_package_is_told_in_one_line(monkeypatch, capsys, quiet, missing, extra):
    monkeypatch.setitem(sys.modules, missing, None)
    words = ["--metrics-port", "0", "--stream", "s", "http://127.0.0.1:1"]
    assert main(["relay", "--redis", "redis://127.0.0.1:1", *words]) == 1
    assert f"[{extra}]" in capsys.readouterr().err


def test_a_redis_that_is_not_there_is_told_without_its_address(capsys):
    address = "redis://:secret@127.0.0.1:1/0"
    assert main(["relay", "--status", "--stream", "s", "--redis", address]) == 1
    said = capsys.readouterr().err
    assert "Redis does not tell: ConnectionError" in said
    assert "secret" not in said


def test_without_an_address_of_redis_it_says_where_to_put_it(capsys, monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert main(["relay", "--status", "--stream", "s"]) == 1
    assert "REDIS_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"), [("", "must not be empty"), ("{orders", "may hold braces only as a hash tag")]
)
def test_a_wrong_name_of_a_stream_is_refused_as_the_option(capsys, name, said):
    assert main(["relay", "--stream", name, "http://127.0.0.1:1"]) == 1
    assert f"sse-client: --stream {said}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "either --stream or --config"),
        (["--stream", "a", "--config", __file__], "either --stream or --config"),
        (["--config", __file__, "http://x"], "in the file"),
        (["--config", __file__, "--max-length", "5"], "in the file"),
        (["--stream", "a"], "address of the event stream"),
        (["--stream", "a", "--unknown", "http://secret"], "unknown option --unknown"),
        (["--stream", "a", "--max-length", "secret"], "must be a whole number"),
    ],
)
def test_wrong_usage_is_told_without_what_was_typed(capsys, words, said):
    with pytest.raises(SystemExit) as caught:
        main(["relay", *words])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "secret" not in shown
