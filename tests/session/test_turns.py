"""Readers that are greenlets let the others run, even if they never have to wait."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from support import sse_client_for_tests

from sse_client.session import greenlets
from sse_client.session.greenlets import Turns, has_greenlets


@pytest.fixture
def breaks(monkeypatch):
    """The timeouts of the waits that end a turn, which here does not need greenlets."""
    timeouts = []

    class Lock:
        def acquire(self, timeout=None):
            timeouts.append(timeout)

    monkeypatch.setattr(greenlets, "threading", SimpleNamespace(Lock=Lock))
    return timeouts


@pytest.fixture
def moments(monkeypatch):
    moments = [0.0]
    monkeypatch.setattr(greenlets, "time", SimpleNamespace(monotonic=lambda: moments[-1]))
    return moments


def test_a_turn_ends_with_a_wait_once_it_is_long(breaks, moments):
    turns = Turns()
    for moment in (0.004, 0.006, 0.009, 0.012):
        moments.append(moment)
        turns.end_if_long()
    assert breaks == [None, 1e-6] * 2


@pytest.mark.parametrize("are_there", [True, False])
def test_a_reader_takes_turns_if_there_are_greenlets(server, breaks, monkeypatch, are_there):
    monkeypatch.setattr("sse_client.session.followed_stream.has_greenlets", lambda: are_there)
    monkeypatch.setattr(greenlets, "_TURN", 0.0)
    server.serve(["one"], then="end")
    with (
        sse_client_for_tests(own_thread=True, reconnect="never") as client,
        client.sse(server.url) as session,
    ):
        assert [event.data for event in session.incoming] == ["one"]
    assert bool(breaks) is are_there


def test_greenlets_are_recognised_by_the_sockets(monkeypatch):
    assert not has_greenlets()
    monkeypatch.setattr("socket.socket", threading.Event)  # as gevent and eventlet do
    assert has_greenlets()
