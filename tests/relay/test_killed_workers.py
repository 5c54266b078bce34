"""Workers of the command line that are killed and paused: they lose and repeat nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import pytest
from numbered_server import numbers_of, wait_for
from processes import Process

STREAMS = [f"s{number}" for number in range(9)]
LEASE = 1.0

CONFIG = """
redis = "{redis}"
lease_time = {lease}

"""

STREAM = """
[[streams]]
url = "{url}"
stream = "{name}"
"""


@pytest.fixture
def config(redis, numbered, tmp_path):
    path = tmp_path / "relays.toml"
    streams = [STREAM.format(url=numbered.url, name=name) for name in STREAMS]
    path.write_text(CONFIG.format(redis=redis.url, lease=LEASE) + "".join(streams))
    return path


@contextlib.contextmanager
def worker(config):
    """A worker in its own process."""
    command = [sys.executable, "-m", "sse_client", "relay", "--config", str(config)]
    with Process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def owners(redis):
    leases = [redis.client.get(f"sse-client:{{{name}}}:lease") for name in STREAMS]
    return [lease.split()[0] for lease in leases if lease]


def are_shared_by(redis, count):
    found = owners(redis)
    return len(found) == len(STREAMS) and len(set(found)) == count


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(120)
def test_killed_and_paused_workers_lose_and_double_nothing(redis, numbered, config):
    pytest.importorskip("tomllib", reason="the configuration is TOML")
    numbered.offer(50)
    with worker(config) as first, worker(config) as second, worker(config) as third:
        wait_for(lambda: are_shared_by(redis, 3))
        numbered.offer(100)
        os.kill(first.pid, signal.SIGKILL)
        wait_for(lambda: are_shared_by(redis, 2))
        numbered.offer(150)
        os.kill(second.pid, signal.SIGSTOP)
        wait_for(lambda: are_shared_by(redis, 1))
        numbered.offer(200)
        for name in STREAMS:
            wait_for(lambda name=name: redis.client.xlen(name) >= 200)
        os.kill(second.pid, signal.SIGCONT)
        wait_for(lambda: are_shared_by(redis, 2))
        numbered.offer(250)
        for name in STREAMS:
            wait_for(lambda name=name: redis.client.xlen(name) >= 250)
        assert third.poll() is None
    for name in STREAMS:
        assert numbers_of(redis, name) == list(range(1, 251))
