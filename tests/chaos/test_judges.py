"""A storm without damage proves something only if a storm with damage is detected.

Only CI checks that, because the code that detects damage changes less often than the client.
"""

from __future__ import annotations

import itertools
import socket

import pytest
from storm import Storm

from sse_client.clock import Deadline
from sse_client.http.aborting import AbortableSocket
from sse_client.http.stream_connection import StreamConnection
from sse_client.session.delivery import Delivery
from sse_client.session.followed_stream import FollowedStream, Wait
from sse_client.session.reconnection import Reconnection

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.ci]

#: How long a fault of the client itself may go undetected, in seconds.
DURATION = 20.0


def violations(certificates, seed):
    return "\n".join(Storm(seed, certificates).run(DURATION).violations)


def test_an_event_that_is_lost_is_noticed(monkeypatch, certificates, seed):
    deliver, counter = Delivery.deliver, itertools.count(1)

    def lose(self, batch):
        return deliver(self, batch[1:] if next(counter) == 200 else batch)

    monkeypatch.setattr(Delivery, "deliver", lose)
    assert "never arrived" in violations(certificates, seed)


def test_an_event_that_is_doubled_is_noticed(monkeypatch, certificates, seed):
    opens, counter = StreamConnection.open, itertools.count(1)

    def go_back(self, last_event_id, rules, **options):
        goes_back = next(counter) > 20 and last_event_id > "1"
        last_event_id = f"{int(last_event_id) - 1}" if goes_back else last_event_id
        return opens(self, last_event_id, rules, **options)

    monkeypatch.setattr(StreamConnection, "open", go_back)
    assert "was repeated" in violations(certificates, seed)


def test_a_wait_that_is_too_short_is_noticed(monkeypatch, certificates, seed):
    after = FollowedStream._after

    def sooner(self, outcome):
        step = after(self, outcome)
        is_wait = isinstance(step, Wait)
        return Wait(Deadline.after(self.statistics.delay / 2), step.loss) if is_wait else step

    monkeypatch.setattr(FollowedStream, "_after", sooner)
    assert "too early" in violations(certificates, seed)


def test_a_wait_that_is_announced_too_short_is_noticed(monkeypatch, certificates, seed):
    delay = Reconnection._delay
    monkeypatch.setattr(Reconnection, "_delay", lambda self, error: delay(self, error) / 2)
    assert " s instead of " in violations(certificates, seed)


def test_a_socket_that_is_left_open_is_noticed(monkeypatch, certificates, seed):
    kept = []
    watch = AbortableSocket.watch

    def keep(self, sock):
        kept.append(socket.socket())
        watch(self, sock)

    monkeypatch.setattr(AbortableSocket, "watch", keep)
    found = violations(certificates, seed)
    for sock in kept:
        sock.close()
    assert "are needed" in found
