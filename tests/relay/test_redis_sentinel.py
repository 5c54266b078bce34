"""A master that Sentinels monitor, and the replica that replaces it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import redis as library
from numbered_server import Numbered, numbers_of, wait_for
from processes import Process
from redis_sentinels import RedisSentinels
from support import PATIENCE

from sse_client.cli import main
from sse_client.relay import incoming_from_redis
from sse_client.relay.connection import RedisServer


@pytest.mark.ci
def test_a_relay_and_a_consumer_follow_a_failover(tmp_path, capsys):
    with RedisSentinels(tmp_path) as sentinels, Numbered() as numbered:
        numbered.ends = False
        numbered.offer(20)
        config = tmp_path / "relays.toml"
        config.write_text(
            f'redis = "{sentinels.url}"\nlease_time = 1\n'
            f'[[streams]]\nurl = "{numbered.url}"\nstream = "orders"\n'
        )
        words = ["relay", "--config", str(config)]
        process = Process(
            [sys.executable, "-m", "sse_client", *words], env=os.environ, stderr=subprocess.PIPE
        )
        try:
            with incoming_from_redis(sentinels.url, "orders", group="g") as incoming:
                assert [int(next(incoming).id) for _ in range(20)] == list(range(1, 21))
                wait_for(lambda: sentinels.replica.client.xlen("orders") == 20)
                sentinels.master.kill()
                numbered.offer(40)
                sentinels.await_promotion()
                # Entries whose acknowledgement had not reached the replica may be delivered again.
                while int(next(incoming).id) < 40:
                    pass

            def shown():
                main([*words, "--status"])  # the Sentinels may not agree yet
                return capsys.readouterr().out

            wait_for(lambda: "relaying" in shown())
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 0
        assert numbers_of(sentinels.replica, "orders") == list(range(1, 41))


def test_sentinels_that_are_away_are_waited_for():
    server = RedisServer("redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/main/3")
    with pytest.raises(library.ConnectionError) as caught:
        server.execute("GET", "a")
    assert server.passes(caught.value)
    assert not server.is_cluster
    server.close()
