"""The page on the relay into NATS: its commands, its programs, and the permissions it names."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from canaries import CANARY
from nats_process import LEASE, NatsProcess
from pages import ROOT, read_blocks

from sse_client.cli import main
from sse_client.cli.relay import _check_usage, _parser
from sse_client.relay.jetstream.connection import NatsServer
from sse_client.relay.jetstream.relay import JetStreamRelay
from sse_client.relay.jetstream.status import read_status
from sse_client.relay.jetstream.stream import Batching, JetStreamStream

PAGE = ROOT / "docs" / "relay-nats.md"
BLOCKS = read_blocks(PAGE)
JUDGE = "tests/relay/jetstream/judged_nats.py"
NATS = "nats://127.0.0.1:4222"


def blocks(language):
    return [block for block in BLOCKS if block.language == language]


def test_the_commands_are_right():
    judging = set()
    code = "".join(block.code for block in blocks("sh"))
    for line in code.replace("\\\n", "").splitlines():
        program, name, *words = shlex.split(line)
        if program == "python":
            assert name == JUDGE
            judging |= {word for word in words if word.startswith("--")}
        elif name == "relay":
            parser = _parser()
            _check_usage(parser, parser.parse(words))
        else:
            assert [program, name] == ["sse-client", "demo"]
    known = set(re.findall(r'"(--[a-z-]+)"', (ROOT / JUDGE).read_text(encoding="utf-8")))
    assert judging
    assert judging <= known


def test_the_page_names_no_unknown_option(capsys):
    for command in (["relay"], ["demo"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
    text = (ROOT / JUDGE).read_text(encoding="utf-8") + capsys.readouterr().out
    options = {*re.findall(r"--[a-z][a-z-]+", text), "--jetstream", "--config"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE.read_text(encoding="utf-8"))) <= options


def test_the_program_reads_what_was_relayed(own_nats, numbered, client, capsys):
    numbered.ends = True
    numbered.last = 2
    relay = JetStreamRelay(
        client, numbered.url, nats=own_nats.url, stream="orders", lease_time=LEASE
    )
    relay.run()
    (block,) = blocks("python")
    block.run("", {NATS: own_nats.url})
    assert capsys.readouterr().out == "1 1\n2 2\n"


def test_the_configuration_is_one_that_the_relay_accepts(own_nats):
    (block,) = blocks("json")
    config = {**json.loads(block.code), "num_replicas": 1}
    stream = JetStreamStream(own_nats.nats, config["name"])
    stream.adopt(own_nats.nats.ask(f"STREAM.CREATE.{config['name']}", **config))
    if "allow_atomic" in (stream.info() or {})["config"]:
        assert stream.batching is Batching.ATOMIC


def test_the_permissions_are_enough(tmp_path, numbered, client):
    (block,) = blocks("text")
    publish, _, subscribe = block.code.partition("subscribe:")
    subjects = publish.removeprefix("publish:").split()
    user = {
        "user": "relay",
        "password": CANARY,
        "permissions": {"publish": subjects, "subscribe": subscribe.split()},
    }
    everybody = {"user": "all", "password": CANARY}
    config = tmp_path / "nats.conf"
    config.write_text(f"authorization: {json.dumps({'users': [user, everybody]})}")
    process = NatsProcess(tmp_path / "store", "--config", str(config))
    process.nats = NatsServer(process.url.replace("//", f"//all:{CANARY}@"))
    numbered.ends = True
    numbered.last = 3
    with process:
        address = process.url.replace("//", f"//relay:{CANARY}@")
        relay = JetStreamRelay(
            client, numbered.url, nats=address, stream="orders", lease_time=LEASE
        )
        relay.run()
        assert process.ids("orders") == ["1", "2", "3"]
        server = NatsServer(address)
        assert read_status(server, "orders").written == 3
        server.close()
