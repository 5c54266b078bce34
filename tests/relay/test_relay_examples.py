"""The files for operators, as far as they can be tested without a daemon."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from commands import find_command, needs
from numbered_server import wait_for

from sse_client import parse_event_stream
from sse_client.cli.relay import _check_usage, _parser
from sse_client.relay import load_config
from sse_client.relay.connection import RedisServer
from sse_client.relay.metrics import Sources, serve_metrics, states_of
from sse_client.relay.status import read_status

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "relay"

PATIENCE = 30


def read(name):
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def documents():
    """Each document of each YAML file."""
    yaml = pytest.importorskip("yaml")
    return {path.name: list(yaml.safe_load_all(path.read_text())) for path in FOLDER.glob("*.yaml")}


@pytest.fixture
def metrics(redis):
    """The names of all metrics, from Redis 7.0 on."""
    redis.client.xadd("orders", {"data": "1"})
    redis.client.xgroup_create("orders", "g", id="0")
    redis.client.set("sse-client:{orders}:lease", "owner 1")
    server = RedisServer(redis.url)
    with (
        closing(server),
        serve_metrics(Sources(server, lambda: read_status(server, ["orders"])), port=0) as port,
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        text = response.read().decode()
    found = set(re.findall(r"^(sse_relay_\w+)", text, re.MULTILINE))
    assert ("sse_relay_lag" in found) == redis.has_lag
    return found | {"sse_relay_lag"}


def test_alerts_and_panels_ask_for_metrics_that_there_are(metrics, documents):
    rules = [rule for group in documents["alerts.yaml"][0]["groups"] for rule in group["rules"]]
    panels = json.loads(read("grafana.json"))["panels"]
    asked = [rule["expr"] for rule in rules]
    asked += [target["expr"] for panel in panels for target in panel["targets"]]
    found = {name for text in asked for name in re.findall(r"sse_relay_\w+", text)}
    assert found <= metrics
    states = {state for text in asked for state in re.findall(r'state="([^"]+)"', text)}
    assert states <= set(states_of("Redis"))
    assert all(rule["annotations"]["summary"] for rule in rules)
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_configurations_are_right(tmp_path, monkeypatch, documents):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1")
    assert [each.stream for each in load_config(FOLDER / "relays.toml").streams] == [
        "orders",
        "trades",
    ]
    (config,) = (each for each in documents["kubernetes.yaml"] if each["kind"] == "ConfigMap")
    path = tmp_path / "relays.toml"
    path.write_text(config["data"]["relays.toml"])
    assert load_config(path).pool == "example"
    assert len(list(parse_event_stream([read("events.txt").encode()]))) == 3


def test_the_commands_in_containers_are_right(tmp_path, monkeypatch, documents):
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", read("Dockerfile"), re.MULTILINE)[1])
    command = json.loads(re.search(r"^CMD (.*)$", read("Dockerfile"), re.MULTILINE)[1])
    (deployment,) = (each for each in documents["kubernetes.yaml"] if each["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    path = tmp_path / "relays.toml"
    path.touch()
    for words in (command, container["args"]):
        given = [str(path) if word.startswith("/") else word for word in words]
        parser = _parser()
        _check_usage(parser, parser.parse([*entry[2:], *given]))
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_files_of_the_composition_are_there(documents):
    services = documents["compose.yaml"][0]["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (FOLDER / source).is_file()


@pytest.mark.ci
@needs("docker")
def test_docker_takes_the_composition():
    docker = find_command("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose")
    command = [docker, "compose", "-f", str(FOLDER / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    unit = tmp_path / "sse-client-relay.service"
    text = read("sse-client-relay.service")
    unit.write_text(text.replace("/usr/bin/sse-client", "/bin/true"), encoding="utf-8")
    command = [find_command("systemd-analyze"), "verify", str(unit)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert "sse-client-relay" not in found.stderr
    page = Path(__file__).resolve().parents[2] / "docs" / "relay.md"
    assert text in page.read_text(encoding="utf-8")


def test_the_consumer_ends_with_sigterm(redis, monkeypatch, capsys):
    redis.client.xadd("orders", {"data": "hello", "id": "7"})
    monkeypatch.setenv("REDIS_URL", redis.url)
    monkeypatch.setattr(sys, "argv", ["consumer.py", "orders", "billing"])

    def end():
        wait_for(has_processed)
        os.kill(os.getpid(), signal.SIGTERM)

    def has_processed():
        groups = redis.client.xinfo_groups("orders")
        read = [group for group in groups if group["last-delivered-id"] != b"0-0"]
        return read and not read[0]["pending"]

    before = signal.getsignal(signal.SIGTERM)
    ending = threading.Thread(target=end)
    ending.start()
    try:
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(FOLDER / "consumer.py"), run_name="__main__")
    finally:
        ending.join()
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 0
    assert capsys.readouterr().out == "7 hello\n"
