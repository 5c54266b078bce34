"""Flask behind nginx: the effects of a proxy on a stream."""

from __future__ import annotations

import pytest
from servers import PATIENCE, Origin

from sse_client import (
    ConnectionFailedError,
    StreamInterruptedError,
    UnexpectedStatusError,
)

pytestmark = pytest.mark.interop


@pytest.fixture
def origin(nginx_address):
    return Origin(nginx_address.root)


def take(session, count):
    return [session.incoming.get(timeout=PATIENCE).data for _ in range(count)]


def number(*counts):
    return [f"number {count}" for count in counts]


def test_it_is_nginx_that_answers(client, origin):
    with client.sse(origin.url("/paced", last=2)) as session:
        assert session.response.headers["Server"].startswith("nginx/")
        assert session.response.headers["Transfer-Encoding"] == "chunked"


def test_what_nginx_zips_arrives_event_by_event(client, origin):
    url = origin.url("/zipped/paced", last=4)
    with client.sse(url, headers={"Accept-Encoding": "gzip"}) as session:
        assert session.response.headers["Content-Encoding"] == "gzip"
        for count in range(1, 5):
            assert take(session, 1) == number(count)
            origin.acknowledge(count)
        assert list(session.incoming) == []


def test_a_stream_that_is_too_quiet_for_nginx_goes_on(client, origin, losses):
    url = origin.url("/impatient/paced", last=2, quiet=True)
    # On a busy machine nginx may give up before the header.
    with client.sse(url, retry_first_connection=True) as session:
        assert take(session, 1) == number(1)
        errors = iter(lambda: losses.get(timeout=PATIENCE).error, None)
        assert any(isinstance(error, StreamInterruptedError) for error in errors)
        origin.acknowledge(1)
        assert [event.data for event in session.incoming] == number(2)


def test_a_reload_of_nginx_breaks_the_stream_and_it_goes_on(client, own_flask_and_nginx, losses):
    _, nginx = own_flask_and_nginx
    origin = Origin(nginx.url)
    with client.sse(origin.url("/paced", last=4)) as session:
        for count in (1, 2):
            origin.acknowledge(count - 1)
            assert take(session, 1) == number(count)
        nginx.reload()
        assert isinstance(losses.get(timeout=PATIENCE).error, StreamInterruptedError)
        for count in (3, 4):
            origin.acknowledge(count - 1)
            assert take(session, 1) == number(count)
        assert list(session.incoming) == []
    assert origin.asked_for == [None, "2", "4"]


def test_an_upstream_that_is_down_is_waited_for(client, own_flask_and_nginx, losses):
    flask, nginx = own_flask_and_nginx
    origin = Origin(nginx.url)
    with client.sse(origin.url("/numbers", last=6, each=3, then="hold")) as session:
        assert take(session, 3) == number(1, 2, 3)
        flask.kill()
        assert isinstance(losses.get(timeout=PATIENCE).error, StreamInterruptedError)
        for _ in range(2):
            assert losses.get(timeout=PATIENCE).error.status_code == 502
        flask.start()
        assert take(session, 3) == number(4, 5, 6)
    assert origin.asked_for == ["3"]


def test_a_restart_of_nginx_is_waited_for(client, own_flask_and_nginx, losses):
    _, nginx = own_flask_and_nginx
    origin = Origin(nginx.url)
    with client.sse(origin.url("/numbers", last=6, each=3, then="hold")) as session:
        assert take(session, 3) == number(1, 2, 3)
        nginx.stop()
        assert isinstance(losses.get(timeout=PATIENCE).error, StreamInterruptedError)
        assert isinstance(losses.get(timeout=PATIENCE).error, ConnectionFailedError)
        nginx.start()
        assert take(session, 3) == number(4, 5, 6)
    assert origin.asked_for == [None, "3"]


def test_an_upstream_that_is_down_from_the_start_is_an_error(client, own_flask_and_nginx):
    flask, nginx = own_flask_and_nginx
    flask.kill()
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(Origin(nginx.url).url("/numbers", last=1))
    assert caught.value.status_code == 502
    assert b"502 Bad Gateway" in caught.value.body


def test_a_certificate_that_nobody_knows_is_refused_for_good(client, tls_address):
    with pytest.raises(ConnectionFailedError, match="certificate verify failed") as caught:
        client.sse(tls_address.url("/numbers", last=1), retry_first_connection=True)
    assert caught.value.permanent


def test_plain_http_on_the_port_of_tls_is_refused_with_the_reason(client, tls_address):
    origin = Origin(tls_address.root.replace("https://", "http://"))
    with pytest.raises(UnexpectedStatusError) as caught:
        client.sse(origin.url("/numbers", last=1))
    assert caught.value.status_code == 400
    assert b"HTTPS port" in caught.value.body
