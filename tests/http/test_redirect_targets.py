"""The targets of redirects: only http and https, and a path without dot segments."""

from __future__ import annotations

import pytest
import requests
from requests.adapters import BaseAdapter
from support import sse_client_for_tests
from tables import each_of

from sse_client import ConnectionFailedError
from sse_client.http.redirects import location_url


@each_of(
    ("path", "expected"),
    [
        ("/a/d/../end", "/a/end"),
        ("/a/./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/../../a", "/a"),
        ("/a/%2e%2E/end", "/end"),
        ("/a/.%2e/end", "/end"),
        ("/a/%2E./end", "/end"),
        ("/a/%2e/end", "/a/end"),
        ("/a//../end", "/a/end"),
        ("/a/...", "/a/..."),
        ("/a/.b/c..", "/a/.b/c.."),
        ("/a%2F../end", "/a%2F../end"),
        ("/a/b?x=/../y", "/a/b?x=/../y"),
        ("", ""),
        ("?x=..", "?x=.."),
    ],
)
def test_dot_segments_are_removed_as_in_a_browser(path, expected):
    assert location_url(f"http://host{path}") == f"http://host{expected}"


@pytest.mark.parametrize("target", ["{url}a/d/../end", "/a/d/../end", "{url}a/d/%2e%2e/end"])
def test_the_target_is_requested_without_them(server, target):
    server.redirect(target.format(url=server.url))
    server.serve(["one"])
    with sse_client_for_tests(reconnect="never") as client, client.sse(server.url) as session:
        assert [event.data for event in session.incoming] == ["one"]
    assert [request.target for request in server.requests] == ["/", "/a/end"]


class Reaching(BaseAdapter):
    """A user's adapter for another scheme."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def send(self, request, **_):
        self.sent.append(request.url)
        raise requests.ConnectionError("reached")

    def close(self):
        """Close nothing."""


@pytest.mark.parametrize("scheme", ["file", "ftp", "unix", "javascript"])
def test_other_schemes_are_refused_whatever_adapters_there_are(server, scheme):
    session = requests.Session()
    adapter = Reaching()
    session.mount(f"{scheme}://", adapter)
    server.redirect(f"{scheme}://host/CANARY-redirect-target")
    with (
        session,
        sse_client_for_tests(session, retry_first_connection=True) as client,
        pytest.raises(ConnectionFailedError, match="http and https") as caught,
    ):
        client.sse(server.url)
    assert caught.value.permanent
    assert adapter.sent == []
    assert len(server.requests) == 1
