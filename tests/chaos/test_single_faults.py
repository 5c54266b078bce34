"""One fault at a time, in each place where it can happen."""

from __future__ import annotations

import pytest
from numbered import data_of
from scene import set_scene

from sse_client import SSE, ConnectionFailedError, HttpClient

pytestmark = [pytest.mark.slow, pytest.mark.chaos]

FRAMINGS = ["chunked", "length", "close", "gzip chunked", "gzip close"]

#: Up to which byte a response is cut: through its header and several events.
CUTS = 400


def new_client() -> HttpClient:
    """A client that reconnects at once, and whose channel is never full."""
    options = {"reconnection_time": 0.0, "max_reconnection_time": 0.0, "capacity": 100_000}
    return HttpClient().install(SSE, **options)


def follow_to_the_end(scene, order):
    """Follow the stream through the proxy's treatments, until there are no more events."""
    with new_client() as client, client.sse(scene.url) as session:
        scene.proxy.wait_until_over(scene.proxy.order(lane="1", **order))
        scene.origin.order(finish=True)
        last = scene.origin.wait_for("finishing")["last"]
        events = [(int(event.id), event.data) for event in session.incoming]
    assert events == [(number, data_of(number)) for number in range(1, last + 1)]
    return session


#: How the responses end, and after which bytes: after every fifth byte in alternating ways, or
#: after each byte in both ways, which takes ten times as long.
ENDS = [
    pytest.param(["fin", "rst"], 5, id="fin or rst"),
    pytest.param(["fin"], 1, id="fin", marks=pytest.mark.ci),
    pytest.param(["rst"], 1, id="rst", marks=pytest.mark.ci),
]


@pytest.mark.parametrize(("ends", "step"), ENDS)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_response_may_end_after_any_byte(framing, ends, step):
    cuts = [
        {"kind": "cut", "after": after, "how": ends[after % len(ends)]}
        for after in range(FRAMINGS.index(framing) % step, CUTS, step)
    ]
    with set_scene(framing) as scene:
        session = follow_to_the_end(scene, {"drop": ends[0], "next": cuts})
    assert session.statistics.attempts > len(cuts)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_response_may_come_a_byte_at_a_time(framing):
    drip = {"kind": "drip", "seconds": 0.5, "most": 1}
    with set_scene(framing) as scene:
        follow_to_the_end(scene, {"drop": "rst", "next": [drip]})


def test_the_certificate_may_change_while_its_authority_is_trusted(certificates):
    with (
        set_scene("chunked", certificates) as scene,
        new_client() as client,
        client.sse(scene.url, verify=certificates.ca_bundle) as session,
    ):
        shown = []
        for _ in certificates.servers:
            asked = scene.hear("request")
            shown.append(asked["certificate"])
            numbers = [int(next(session.incoming).id) for _ in range(20)]
            scene.proxy.order(lane="1", drop="rst")
    assert len(set(shown)) == len(certificates.servers)
    assert numbers == list(range(41, 61))


def test_a_certificate_that_nobody_trusts_is_final(certificates):
    numbers = []
    with (
        set_scene("chunked", certificates) as scene,
        new_client() as client,
        client.sse(scene.url, verify=certificates.ca_bundle) as session,
    ):
        numbers.append(int(next(session.incoming).id))
        scene.origin.wait_until_over(scene.origin.order(certificate="rogue"))
        scene.proxy.order(lane="1", drop="fin")
        with pytest.raises(ConnectionFailedError, match="certificate") as caught:
            numbers.extend(int(event.id) for event in session.incoming)
    assert caught.value.permanent
    assert numbers == list(range(1, len(numbers) + 1))
