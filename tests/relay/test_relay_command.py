"""``sse-client relay``: relays until it is stopped, and shows its status."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from unittest import mock

import pytest
from numbered_server import Numbered, numbers_of, wait_for
from processes import Process
from support import PATIENCE, sse_client_for_tests
from tables import each_of

from sse_client.cli import main, relay_running
from sse_client.cli.relay_log import JSONFormatter
from sse_client.relay import (
    RedisRelay,
    RelayedStream,
    RelayState,
    RelayWorker,
    connection,
    incoming_from_redis,
    load_config,
)
from sse_client.relay.metrics import Sources, serve_metrics
from sse_client.relay.scripts import NOW
from sse_client.relay.status import read_status


@pytest.fixture
def numbered():
    """A server of numbered events whose stream ends."""
    with Numbered() as server:
        yield server


@pytest.fixture
def quiet(monkeypatch):
    """Keep the logging of the tests unchanged."""
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)


def relay(redis, *words):
    return main(["relay", "--redis", redis.url, *words])


def test_a_stream_is_relayed_to_its_end(redis, numbered, quiet, capsys):
    numbered.last = 5
    url = f"{numbered.url}?token=secret"
    assert relay(redis, "--stream", "orders", "--lease-time", "1", url) == 0
    assert numbers_of(redis, "orders") == [1, 2, 3, 4, 5]
    said = capsys.readouterr().err
    where = f"into the Redis Stream 'orders', 127.0.0.1:{redis.port}, as "
    assert said.startswith(f"relaying {numbered.url} {where}")
    assert "secret" not in said


@pytest.mark.parametrize("many", [False, True])
def test_sigterm_gives_the_leases_back(redis, numbered, tmp_path, many):
    numbered.ends = False
    numbered.offer(3)
    config = tmp_path / "relays.toml"
    config.write_text(f'[[streams]]\nurl = "{numbered.url}"\nstream = "orders"\n')
    words = ["--config", str(config)] if many else ["--stream", "orders", numbered.url]
    process = Process(
        [sys.executable, "-m", "sse_client", "relay", "--verbose", "--log-json", *words],
        env={**os.environ, "REDIS_URL": redis.url},
        stderr=subprocess.PIPE,
    )
    try:
        wait_for(lambda: redis.client.xlen("orders") == 3)
        if many:
            reload(redis, numbered, config, process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 0
    lines = [json.loads(line) for line in said.splitlines()]
    messages = [line["message"] for line in lines if line["logger"] == "sse_client"]
    assert any(each.startswith("'orders': relaying under the lease of ") for each in messages)
    assert any(each.endswith("stopped") for each in messages)
    for name in ("orders", "trades"):
        assert redis.client.get(f"sse-client:{{{name}}}:lease") is None
    if many:
        assert any(each.startswith("the configuration was not reloaded: ") for each in messages)
        assert any("changes to these options need a restart: pool" in each for each in messages)


def reload(redis, numbered, config, process):
    """Let a process read a file with another stream, and then an invalid file."""
    requests = len(numbered.positions)
    before = config.read_text()
    stream = f'[[streams]]\nurl = "{numbered.url}"\nstream = "trades"\n'
    config.write_text('pool = "other"\n' + before + stream)
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: redis.client.xlen("trades") == 3)
    assert len(numbered.positions) == requests + 1, "the first stream stays open"
    config.write_text("wrong")
    process.send_signal(signal.SIGHUP)
    numbered.offer(5)
    wait_for(lambda: redis.client.xlen("trades") == 5)
    # The file is read before the next check for a signal.
    threading.Event().wait(2 * relay_running._LOOK)


def test_a_file_that_has_changed_in_its_streams_alone_needs_no_restart(tmp_path, caplog):
    config = tmp_path / "relays.toml"
    config.write_text('[[streams]]\nurl = "http://127.0.0.1:9"\nstream = "s"\n')
    options = argparse.Namespace(config=str(config))
    before = load_config(config)
    relay_running._reload(mock.Mock(), options, before)
    assert [each.getMessage() for each in caplog.records] == [
        "the configuration was reloaded; number of streams: 1"
    ]


def test_a_terminal_that_is_closed_ends_a_relay_without_a_file():
    signals = relay_running.Signals(None)
    with signals.handled():
        assert not signals.is_terminated()
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(signals.is_terminated)


def test_a_system_without_sighup_has_sigterm(monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP")
    signals = relay_running.Signals(None)
    with signals.handled():
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(signals.is_terminated)


def test_a_traceback_is_a_part_of_its_line():
    try:
        int("no")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "%s", ("x",), sys.exc_info())
    line = json.loads(JSONFormatter().format(record))
    assert (line["level"], line["message"]) == ("ERROR", "x")
    assert "ValueError" in line["traceback"]


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
    assert relay(redis, "--status", "--stream", "nothing") == 3
    assert re.search(r"nothing +- +nobody +- +0 +0.0 +0 +- +0$", capsys.readouterr().out.strip())


def test_an_id_that_a_terminal_would_obey_is_shown_harmless(redis, capsys):
    redis.client.hset("sse-client:{orders}:state", mapping={"id": "a\x1b[2J", "sequence": 1})
    assert relay(redis, "--status", "--stream", "orders") == 3
    assert "a?[2J" in capsys.readouterr().out


def test_a_lag_that_redis_does_not_know_is_left_out(redis, capsys):
    ids = [redis.client.xadd("orders", {"data": str(number)}) for number in range(4)]
    redis.client.xgroup_create("orders", "g", id=ids[0])
    redis.client.xdel("orders", ids[2])
    assert redis.client.xinfo_groups("orders")[0].get("lag") is None
    assert relay(redis, "--status", "--stream", "orders") == 3
    assert re.search(r"nobody +- +0", capsys.readouterr().out)


def test_the_lag_of_some_groups_is_not_that_of_the_slowest(redis, capsys):
    test_a_lag_that_redis_does_not_know_is_left_out(redis, capsys)
    redis.client.xgroup_create("orders", "known", id="0")
    redis.client.xgroup_create("orders", "all", id="$")
    assert relay(redis, "--status", "--stream", "orders") == 3
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
    assert relay(redis, "--status", "--stream", "orders") == 3
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
        serve_metrics(
            Sources(server, lambda: read_status(server, ["orders", "unowned"])), port=0
        ) as port,
    ):
        wait_for(lambda: redis.client.xlen("orders") == 6)

        def scrape():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
                return response.read().decode()

        text = scrape()
        assert 'sse_relay_entries_total{stream="orders"} 6.0' in text
        assert 'sse_relay_owner{owner="' in text
        assert "sse_relay_redis_up 1.0" in text
        assert 'sse_relay_unheld{stream="unowned"} 1.0' in text
        assert 'sse_relay_state{state="nobody",stream="unowned"} 1.0' in text
        assert 'sse_relay_unheld{stream="orders"} 0.0' in text
        redis.kill()
        assert "sse_relay_redis_up 0.0" in scrape()
        assert "sse_relay_entries" not in scrape()
        redis.start()
    server.close()


def get(port, path):
    """Return the status and the text of a response."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_while_redis_fails_nobody_says_that_it_goes_well(redis, numbered, capsys, quiet, tmp_path):
    numbered.ends = False
    numbered.offer(6)
    server = connection.RedisServer(redis.url)
    streams = [RelayedStream(numbered.url, "orders")]
    with (
        sse_client_for_tests() as client,
        RelayWorker(client, streams, redis=redis.url, lease_time=0.3) as worker,
        serve_metrics(
            Sources(
                server,
                lambda: read_status(server, ["orders"]),
                figures=worker.figures,
                trouble=lambda: worker.trouble,
                is_alive=lambda: worker.is_running,
            ),
            port=0,
        ) as port,
    ):
        wait_for(lambda: read_status(server, ["orders"])[0].state == "relaying")
        assert read_status(server, ["orders"])[0].reported < 5
        assert get(port, "/readyz") == (200, "ok\n")
        assert get(port, "/")[0] == 404
        redis.config(maxmemory=1, maxmemory_policy="noeviction")
        numbered.offer(12)
        wait_for(lambda: read_status(server, ["orders"])[0].stale)
        assert relay(redis, "--status", "--stream", "orders") == 3
        assert re.search(r"relaying \(stale: \d+ s ago\)", capsys.readouterr().out)
        assert relay(redis, "--status", "--json", "--stream", "orders") == 3
        (shown,) = json.loads(capsys.readouterr().out)
        assert (shown["stream"], shown["stale"], shown["owner"]) == ("orders", True, worker.name)
        wait_for(lambda: get(port, "/readyz")[0] == 503)
        assert "waiting for redis: " in get(port, "/readyz")[1]
        assert get(port, "/healthz") == (200, "ok\n")
        text = get(port, "/metrics")[1]
        assert 'sse_relay_state{state="waiting for redis",stream="orders"} 1.0' in text
        assert 'sse_relay_state{state="relaying",stream="orders"} 0.0' in text
        assert 'sse_relay_stale{stream="orders"} 1.0' in text
        redis.kill()
        text = get(port, "/metrics")[1]
        assert 'sse_relay_state{state="waiting for redis",stream="orders"} 1.0' in text
        assert "sse_relay_redis_up 0.0" in text
        redis.start()
        redis.config(maxmemory=0)
        worker.close()
        assert get(port, "/healthz") == (503, "not running\n")
        assert get(port, "/readyz") == (503, "not running\n")
    server.close()


def test_a_relay_that_waits_for_redis_is_not_ready(redis, numbered):
    with (
        sse_client_for_tests() as client,
        RedisRelay(client, numbered.url, redis=redis.url, stream="orders") as started,
    ):
        numbered.ends = False
        wait_for(lambda: started.state is RelayState.RELAYING)
        assert started.trouble == ""
        assert started.figures()["orders"].state == "relaying"
        redis.kill()
        numbered.offer(3)
        wait_for(lambda: "waiting for redis: " in started.trouble)
    assert started.trouble == "not running"
    assert started.figures() == {}


def test_metrics_may_be_served_on_an_address_of_version_6(redis):
    server = connection.RedisServer(redis.url)
    try:
        with serve_metrics(Sources(server, list), port=0, host="::1") as port:
            url = f"http://[::1]:{port}/healthz"
            with urllib.request.urlopen(url) as response:
                assert response.read() == b"ok\n"
    except OSError:
        pytest.skip("there is no IPv6 here")
    finally:
        server.close()


def test_a_stream_that_nobody_has_held_for_long_is_not_relayed(redis, capsys):
    server = connection.RedisServer(redis.url)
    now = server.run(NOW, ["orders"], [])
    for age, unheld in ((3_000, False), (5_000, True)):
        report = {"owner": "gone", "at": int(now) - age, "lease_time": 2_000}
        redis.client.hset("sse-client:{orders}:status", mapping=report)
        assert read_status(server, ["orders"])[0].unheld is unheld
    server.close()
    assert relay(redis, "--status", "--stream", "orders") == 3
    assert re.search(r"nobody for \d+ s", capsys.readouterr().out)


def test_dead_letters_can_be_listed_and_put_back(redis, capsys):
    letters = "sse-client:{orders}:dead-letters"
    entry = redis.client.xadd("orders", {"data": "1", "event": "message", "id": "n1"})
    redis.client.xgroup_create("orders", "g", id="$")
    kept = {"deliveries": "4", "data": "1", "event": "message", "id": "n1"}
    for group in ("g", "gone"):
        redis.client.xadd(letters, {"group": group, "entry": entry, **kept})
    redis.client.hset("sse-client:{orders}:groups", mapping={"trimmed g": 3, "seen g": 9})
    assert relay(redis, "--dead-letters", "--stream", "orders") == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["group"] for each in shown] == ["g", "gone"]
    assert (shown[0]["data"], shown[0]["event_id"], shown[0]["deliveries"]) == ("1", "n1", 4)
    assert relay(redis, "--status", "--json", "--stream", "orders") == 3
    (status,) = json.loads(capsys.readouterr().out)
    assert (status["dead_letters"], status["trimmed"]) == (2, 3)
    assert relay(redis, "--requeue", "all", "--stream", "orders") == 1
    said = capsys.readouterr()
    assert said.out == shown[0]["id"] + "\n"
    assert "its consumer group is gone" in said.err
    assert relay(redis, "--requeue", "1-1", "--stream", "orders") == 1
    assert "there is no such dead letter" in capsys.readouterr().err
    redis.client.delete("sse-client:{orders}:groups")
    redis.client.set("sse-client:{orders}:groups", "a string")
    assert relay(redis, "--status", "--stream", "orders") == 3
    redis.client.delete(letters)
    redis.client.set(letters, "a string")
    for words in (["--dead-letters"], ["--requeue", "all"]):
        assert relay(redis, *words, "--stream", "orders") == 1
        assert "reading from Redis failed: ResponseError (WRONGTYPE)" in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("form", ["-H", "--bearer-env", "--bearer-file"])
def test_a_single_stream_may_need_a_token(redis, server, tmp_path, monkeypatch, form):
    monkeypatch.setenv("TOKEN", "secret")
    (tmp_path / "token").write_text("secret\n")
    given = {"-H": "Authorization: Bearer secret", "--bearer-env": "TOKEN"}
    server.respond(404)
    words = [form, given.get(form, str(tmp_path / "token"))]
    assert relay(redis, *words, "--stream", "orders", server.url) == 1
    assert server.requests[0].headers["Authorization"] == "Bearer secret"


def test_a_check_says_what_is_wrong_and_writes_nothing(redis, server, tmp_path, capsys):
    config = tmp_path / "relays.toml"
    streams = [("good", "/good"), ("bad", "/bad"), ("moved", "/good"), ("kind", "/good")]
    config.write_text(
        "".join(
            f'[[streams]]\nurl = "{server.url_for(path)}"\nstream = "{name}"\n'
            for name, path in streams
        )
    )
    redis.client.set("kind", "a string")
    redis.client.hset("sse-client:{moved}:state", "source", "http://other/ 123")

    def respond(exchange):
        if exchange.request.target == "/bad":
            exchange.respond(404)
        else:
            exchange.send("1", id="1")

    server.handler = respond
    before = {key: redis.client.dump(key) for key in redis.client.scan_iter()}
    assert relay(redis, "--check", "--config", str(config)) == 1
    shown = capsys.readouterr().out
    found = re.findall(r"^(ok|wrong) +(.+)$", shown, re.MULTILINE)
    assert found == [
        ("ok", "pool relays"),
        ("ok", "good"),
        ("wrong", "bad"),
        ("wrong", "moved"),
        ("wrong", "kind"),
    ]
    assert "404" in shown
    assert "it was relayed from another address before: http://other/\n" in shown
    assert "kind is a string instead of a stream" in shown
    assert {key: redis.client.dump(key) for key in redis.client.scan_iter()} == before
    server.handler = lambda exchange: exchange.send("1", id="1")
    assert relay(redis, "--check", "--stream", "good", server.url) == 0
    assert "pool" not in capsys.readouterr().out
    redis.client.set("sse-client:{relays}:workers", "a string")
    assert relay(redis, "--check", "--config", str(config)) == 1
    assert "sse-client:{relays}:workers is a string instead of a zset" in capsys.readouterr().out


def test_a_check_names_rights_that_are_missing(redis, server, capsys, tmp_path):
    if not redis.has_lag:
        pytest.skip("permissions can be checked from Redis 7.0 on")
    server.handler = lambda exchange: exchange.send("1", id="1")
    commands = ["+eval", "+get", "+hmget"]
    redis.client.acl_setuser("few", enabled=True, passwords="+p", keys="*", commands=commands)
    address = redis.url.replace("//", "//few:p@")
    words = ["--check", "--stream", "orders", server.url]
    assert main(["relay", "--redis", address, *words]) == 1
    assert "xadd on orders is not permitted" in capsys.readouterr().out
    config = tmp_path / "relays.toml"
    config.write_text(f'[[streams]]\nurl = "{server.url}"\nstream = "orders"\n')
    assert main(["relay", "--redis", address, "--check", "--config", str(config)]) == 1
    assert "zadd on sse-client:{relays}:workers is not permitted" in capsys.readouterr().out
    redis.client.acl_setuser("few", enabled=True, commands=["-eval"])
    assert main(["relay", "--redis", address, "--check", "--config", str(config)]) == 1
    assert capsys.readouterr().out.count("NOPERM: eval") == 2
    assert main(["relay", "--redis", address, *words]) == 1
    assert "Redis: NoPermissionError (NOPERM: eval on 'orders'" in capsys.readouterr().out


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
    assert "reading from Redis failed: ConnectionError" in said
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


@each_of(
    ("words", "said"),
    [
        ([], "either --stream or --config"),
        (["--stream", "a", "--config", __file__], "either --stream or --config"),
        (["--config", __file__, "--dead-letters"], "need --stream"),
        (["--config", __file__, "-H", "A: secret"], "in the file"),
        (["--check", "--stream", "a"], "address of the event stream"),
        (["--config", __file__, "http://x"], "in the file"),
        (["--config", __file__, "--max-length", "5"], "in the file"),
        (["--stream", "a"], "address of the event stream"),
        (["--stream", "a", "--json", "http://x"], "--json needs --status"),
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


def test_a_worker_says_what_it_begins_with():
    config = mock.Mock(streams=[mock.Mock(), mock.Mock()], pool="news")
    worker = mock.Mock(spec=RelayWorker)
    worker.name = "vm:7"
    text = relay_running._describe(config, worker, mock.Mock(shown="127.0.0.1:6379"))
    assert text == "2 streams of the pool 'news', 127.0.0.1:6379, as vm:7"
