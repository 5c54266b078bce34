"""The standard library's http.server, in HTTP/1.0, where a body ends with its connection."""

from __future__ import annotations

import pytest
from servers import PATIENCE, Origin

from sse_client import StreamInterruptedError

pytestmark = pytest.mark.interop


@pytest.fixture
def origin(http_server_address):
    return Origin(http_server_address.root)


def test_it_is_http_1_0_without_any_framing(client, origin):
    with client.sse(origin.url("/paced", last=2)) as session:
        assert session.response.raw.version == 10
        assert session.response.headers.keys() & {"Transfer-Encoding", "Content-Length"} == set()


def test_the_end_of_the_connection_is_a_clean_end(client, origin):
    with client.sse(origin.url("/numbers", last=4, each=2), reconnect="on_error") as session:
        assert [event.id for event in session.incoming] == ["1", "2"]
    assert session.error is None
    assert origin.asked_for == [None]


def test_a_reset_is_none(client, origin):
    url = origin.url("/numbers", last=1, then="break")
    with client.sse(url, reconnect="never") as session:
        assert session.incoming.get(timeout=PATIENCE).id == "1"
        with pytest.raises(StreamInterruptedError):
            session.incoming.get(timeout=PATIENCE)


def test_a_reset_is_followed_by_another_connection(client, origin, losses):
    url = origin.url("/numbers", last=1, then="break")
    with client.sse(url, reconnect="on_error") as session:
        assert [event.id for event in session.incoming] == ["1"]
    assert isinstance(losses.get(timeout=PATIENCE).error, StreamInterruptedError)
