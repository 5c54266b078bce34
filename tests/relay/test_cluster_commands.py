"""Commands in a cluster whose slots move."""

from __future__ import annotations

from contextlib import closing

import pytest
import redis as library

from sse_client.relay.cluster import ClusterCommands
from sse_client.relay.connection import RedisServer
from sse_client.relay.scripts import RENEW

ERRORS = library.exceptions


class Node:
    name = "a:1"


class Client:
    """A client of a cluster with one node, in which no node serves the key ``gone``."""

    def __init__(self, replies=()):
        self.nodes_manager = self
        self.replies = list(replies)
        self.asked = []

    def keyslot(self, key):
        return key

    def get_node_from_slot(self, slot):
        if slot == "gone":
            raise ERRORS.SlotNotCoveredError("no")
        return Node

    def get_redis_connection(self, node):
        return self

    def pipeline(self, transaction):
        return self

    def execute_command(self, *words, **options):
        self.asked.append((words, options))
        if words[0] == "FAIL" and options:
            raise ERRORS.ConnectionError("no")
        return "later"

    def execute(self, raise_on_error):
        return self.replies


def test_a_slot_that_nobody_serves_is_apart_from_the_others():
    assert ClusterCommands(ERRORS, Client()).by_master(["a", "gone", "b"]) == {
        "a:1": [0, 2],
        "": [1],
    }


def test_commands_whose_slot_has_moved_are_sent_again():
    client = Client([ERRORS.MovedError("1 b:2"), "now", ERRORS.TryAgainError("no")])
    commands = [("GET", "a"), ("GET", "b"), ("FAIL", "c")]
    replies = ClusterCommands(ERRORS, client).execute_all(["a", "b", "c"], commands)
    assert replies[:2] == ["later", "now"]
    assert isinstance(replies[2], ERRORS.ConnectionError)
    assert client.asked[3] == (("GET", "a"), {"target_nodes": Node})


def test_replicas_are_waited_for_on_the_connection_to_the_master(monkeypatch):
    with closing(RedisServer("redis+cluster://127.0.0.1:1")) as server:
        assert server.shown == "127.0.0.1:1"
        client = Client([ERRORS.NoScriptError("no"), 2])
        monkeypatch.setattr(RedisServer, "_cluster", ClusterCommands(ERRORS, client))
        with pytest.raises(ERRORS.NoScriptError):
            server.run_on_replicas(RENEW, ["a"], [], 1)
        client.replies = [1, 2]
        assert server.run_on_replicas(RENEW, ["a"], [], 2) == 1
        client.replies = [ERRORS.ResponseError("WRONGTYPE"), 2]
        with pytest.raises(ERRORS.ResponseError, match="WRONGTYPE"):
            server.run_on_replicas(RENEW, ["a"], [], 1)
        client.replies = [1, 0]
        with pytest.raises(ERRORS.ResponseError, match="NOREPLICAS 0 of 1") as caught:
            server.run_on_replicas(RENEW, ["a"], [], 1)
        assert server.passes(caught.value)


def test_a_client_that_was_given_is_not_described():
    assert RedisServer(Client()).shown == "a client of redis-py"
