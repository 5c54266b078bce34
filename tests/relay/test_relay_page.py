"""The examples of the page about the relay work, and it names each option of the command."""

from __future__ import annotations

import re
import shlex

import pytest
from numbered_server import wait_for
from pages import ROOT, read_blocks
from support import sse_client_for_tests

from sse_client import ServerSentEvent
from sse_client.cli import main
from sse_client.cli.relay import _check_usage, _parser
from sse_client.relay import (
    RedisRelay,
    RelayedStream,
    RelayWorker,
    incoming_from_redis,
    load_config,
)

PAGE = ROOT / "docs/relay.md"
BLOCKS = read_blocks(PAGE)
#: The events of the example server, as typed.
EVENTS = r"id: 1\ndata: hello\n\nid: 2\ndata: bye\n\n"

REDIS = "redis://127.0.0.1:6379/0"


def blocks(language):
    return [block for block in BLOCKS if block.language == language]


def test_the_python_blocks_relay_and_read(redis, server, capsys):
    server.serve(["hello", ServerSentEvent("bye", id="2", retry=1)], then="end")
    server.respond(204)
    for block in blocks("python"):
        block.run(server.url, {REDIS: redis.url})
    assert capsys.readouterr().out == "2 entries\n hello\n2 bye\n2 events\n"


def test_the_configuration_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("REDIS_URL", REDIS)
    monkeypatch.setenv("ORDERS_TOKEN", "token")
    (block,) = blocks("toml")
    path = tmp_path / "relays.toml"
    path.write_text(block.code, encoding="utf-8")
    config = load_config(path)
    assert [each.stream for each in config.streams] == ["orders", "trades"]


def test_the_commands_are_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "relays.toml").touch()
    code = "".join(block.code for block in blocks("sh"))
    for line in code.replace("\\\n", "").splitlines():
        program, name, *words = shlex.split(line)
        if name != "relay":  # the server of the examples
            assert (program, name) in {("sse-client", "serve"), ("printf", EVENTS)}
            continue
        parser = _parser()
        _check_usage(parser, parser.parse(words))


def test_the_page_names_no_option_that_is_not_there(capsys):
    for command in ("relay", "serve"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE.read_text(encoding="utf-8"))) <= options


@pytest.fixture
def rights():
    """The permissions that a relay, a worker and a consumer need according to the page."""
    relay, worker, consumer = (block.code.split() for block in blocks("text"))
    return {"relay": relay, "worker": relay + worker, "consumer": consumer}


def limited(redis, name, commands):
    """Create a user with only these permissions, and return the address."""
    keys = ["orders", "sse-client:{orders}:*", "sse-client:{relays}:workers"]
    redis.client.acl_setuser(name, enabled=True, passwords="+p", keys=keys, commands=commands)
    return redis.url.replace("//", f"//{name}:p@")


def test_the_rights_on_the_page_are_enough(redis, server, rights, caplog, capsys):
    if not redis.has_lag:
        pytest.skip("subcommands have permissions from Redis 7.0 on")
    server.handler = lambda exchange: (exchange.send("1", id="1"), exchange.wait_closed(20.0))
    relay = limited(redis, "relay", rights["relay"])
    worker = limited(redis, "worker", rights["worker"])
    consumer = limited(redis, "consumer", rights["consumer"])
    status = limited(redis, "status", [*rights["relay"], "+hgetall", "+xinfo"])
    options = {"group": "g", "claim_after": 0.001, "max_deliveries": 1}
    with sse_client_for_tests() as client:
        with RedisRelay(client, server.url, redis=relay, stream="orders", lease_time=0.3) as one:
            wait_for(lambda: one.statistics.written == 1)
            wait_for(lambda: redis.client.exists("sse-client:{orders}:status"))
            with incoming_from_redis(consumer, "orders", **options) as incoming:
                next(incoming)
            assert main(["relay", "--redis", status, "--status", "--stream", "orders"]) == 0
        streams = [RelayedStream(server.url, "orders")]
        with RelayWorker(client, streams, redis=worker, lease_time=0.3) as many:
            wait_for(lambda: many.relayed == ["orders"])
        assert redis.client.zcard("sse-client:{relays}:workers") == 0
    with incoming_from_redis(consumer, "orders", **options) as incoming:
        letters = "sse-client:{orders}:dead-letters"
        wait_for(lambda: incoming._group.read(block=0.001) or redis.client.exists(letters))
    assert main(["relay", "--redis", consumer, "--requeue", "all", "--stream", "orders"]) == 0
    assert main(["relay", "--redis", relay, "--check", "--stream", "orders", server.url]) == 0
    assert "NOPERM" not in caplog.text + capsys.readouterr().out


def test_no_other_language_is_in_the_page():
    assert {block.language for block in BLOCKS} == {"python", "sh", "toml", "ini", "text"}
