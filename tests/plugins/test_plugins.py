"""Plugins: installing them, what they see and change, and the plugin for defaults."""

from __future__ import annotations

import itertools

import pytest
import requests
from canaries import CANARY
from support import sse_client_for_tests

from sse_client import (
    SSE,
    ConnectionFailedError,
    DefaultRequest,
    DuplicatePluginError,
    HttpClient,
    Plugin,
    PluginNotInstalledError,
    UnexpectedStatusError,
)


class Numbering:
    """An ordinary class of a user, which numbers requests, and records what it sees."""

    def __init__(self, header="X-Number", log=None):
        if not isinstance(header, str):
            raise TypeError("header must be a str")
        self.header = header
        self.log = [] if log is None else log
        self.statuses = []
        self._numbers = itertools.count(1)

    def on_request(self, request):
        request.headers[self.header] = str(next(self._numbers))
        self.log.append(f"request {self.header}")

    def on_response(self, response):
        self.statuses.append(response.status_code)
        self.log.append(f"response {self.header}")

    def close(self):
        self.log.append(f"close {self.header}")


class Other(Numbering):
    pass


class Silent:
    """A plugin that does nothing, and has no methods."""


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


class TestInstalling:
    def test_returns_the_client_so_that_calls_can_be_chained(self):
        with HttpClient() as client:
            assert client.install(SSE).install(Numbering, header="X") is client

    def test_makes_the_plugin_from_its_options(self, client):
        client.install(Numbering, header="X-Own")
        assert client.plugin(Numbering).header == "X-Own"
        assert client.plugin_or_none(Numbering) is client.plugin(Numbering)

    def test_twice_is_refused_and_keeps_the_first(self, client):
        client.install(Numbering, header="X-First")
        with pytest.raises(DuplicatePluginError, match="Numbering is already installed"):
            client.install(Numbering, header="X-Second")
        assert client.plugin(Numbering).header == "X-First"

    def test_a_subclass_is_a_plugin_of_its_own(self, client):
        client.install(Numbering).install(Other, header="X-Other")
        assert client.plugin(Other) is not client.plugin(Numbering)

    def test_something_that_is_no_class_is_refused(self, client):
        for wrong in (Numbering(), "SSE", None, lambda: None):
            with pytest.raises(TypeError, match="plugin must be a class, not "):
                client.install(wrong)

    def test_an_option_that_the_plugin_refuses_leaves_it_out(self, client):
        with pytest.raises(TypeError, match="header must be a str"):
            client.install(Numbering, header=7)
        with pytest.raises(TypeError, match="hedaer"):
            client.install(Numbering, hedaer="X")
        assert client.plugin_or_none(Numbering) is None

    def test_a_plugin_that_is_not_there_is_none_or_an_error_that_says_what_to_do(self, client):
        assert client.plugin_or_none(Numbering) is None
        with pytest.raises(PluginNotInstalledError, match=r"client\.install\(Numbering\) first"):
            client.plugin(Numbering)

    def test_streams_need_the_sse_plugin(self, server):
        with HttpClient() as client:
            with pytest.raises(PluginNotInstalledError, match=r"client\.install\(SSE\) first"):
                client.sse(server.url)
            with pytest.raises(PluginNotInstalledError, match="SSE is not installed"):
                client.sse_session(server.url)
        assert server.requests == []

    def test_the_base_class_does_nothing_of_its_own(self, client, server):
        client.install(Plugin).install(Silent)
        server.respond(200, body="plain")
        server.serve(["one"])
        assert client.get(server.url).text == "plain"
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"


class TestSeeing:
    def test_a_plain_request_and_its_response(self, client, server):
        client.install(Numbering)
        server.respond(200)
        server.respond(404)
        assert client.get(server.url).status_code == 200
        assert client.post(server.url, data="x").status_code == 404
        assert [request.headers["X-Number"] for request in server.requests] == ["1", "2"]
        assert client.plugin(Numbering).statuses == [200, 404]

    def test_each_attempt_of_a_stream_and_each_response(self, client, server):
        client.install(Numbering)
        server.serve(["one"], then="drop")
        server.respond(503)
        server.serve(["two"])
        server.respond(204)
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one", "two"]
        assert [request.headers["X-Number"] for request in server.requests] == list("1234")
        assert client.plugin(Numbering).statuses == [200, 503, 200, 204]

    def test_a_refused_response_before_the_error_is_raised(self, client, server):
        client.install(Numbering)
        server.respond(404)
        with pytest.raises(UnexpectedStatusError):
            client.sse(server.url)
        assert client.plugin(Numbering).statuses == [404]

    def test_requests_in_order_and_responses_the_other_way_round(self, client, server):
        log = []
        client.install(Numbering, header="X-A", log=log).install(Other, header="X-B", log=log)
        server.respond(200)
        client.get(server.url)
        expected = ["request X-A", "request X-B", "response X-B", "response X-A"]
        assert log == expected
        log.clear()
        server.serve(then="stall")
        client.sse(server.url).close()
        assert log == expected

    def test_a_stream_before_its_body(self, client, server):
        seen = []

        class Peek:
            def on_response(self, response):
                seen.append((response.headers["Content-Type"], response.raw.tell()))

        client.install(Peek)
        server.serve(["one"])
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
        assert seen[0] == ("text/event-stream", 0)


class TestChanging:
    def test_the_whole_request(self, client, server):
        class Rewrite:
            def on_request(self, request):
                request.method = "POST"
                request.url += "elsewhere"
                request.params = {"a": "1"}
                request.data = "body"
                request.auth = ("user", CANARY)
                request.headers = {"Last-Event-ID": "ignored"}

        client.install(Rewrite)
        server.serve(then="stall")
        client.sse(server.url, params={"b": "2"}, headers={"X": "y"}).close()
        (request,) = server.requests
        assert (request.method, request.target, request.body) == ("POST", "/elsewhere?a=1", b"body")
        assert request.headers["Authorization"].startswith("Basic ")
        assert "X" not in request.headers
        # The stream's own headers are set after all plugins.
        assert request.headers["Accept"] == "text/event-stream"
        assert "Last-Event-ID" not in request.headers

    def test_the_response_before_it_is_looked_at(self, client, server):
        class Believe:
            def on_response(self, response):
                response.headers["Content-Type"] = "text/event-stream"

        client.install(Believe)
        server.serve(["one"], headers={"Content-Type": "text/plain"})
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"

    def test_headers_that_are_none(self, client, server):
        class Bare:
            def on_request(self, request):
                request.headers = None

        client.install(Bare).install(DefaultRequest, headers={"X": "y"})
        server.respond(200)
        client.get(server.url)
        assert server.requests[0].headers["X"] == "y"


class TestErrors:
    def failing(self, error, at="on_request", after=0):
        calls = itertools.count()

        def hook(_plugin, _message):
            if next(calls) >= after:
                raise error

        return type("Failing", (), {at: hook})

    @pytest.mark.parametrize("at", ["on_request", "on_response"])
    def test_fail_the_call_with_what_was_raised(self, client, server, at):
        error = LookupError("no token")
        client.install(self.failing(error, at))
        server.handler = lambda exchange: exchange.respond(200)
        with pytest.raises(LookupError) as caught:
            client.get(server.url)
        assert caught.value is error
        with pytest.raises(LookupError) as caught:
            client.sse(server.url)
        assert caught.value is error

    def test_of_the_system_at_a_401_count_as_a_failed_connection(self, client, server):
        client.install(type("Failing", (), {"on_unauthorized": self.fail}))
        server.serve(["one"])
        server.respond(401)
        server.respond(204)
        seen = []
        with client.sse(server.url, on_disconnect=lambda *seen_: seen.append(seen_[1])) as session:
            assert [event.data for event in session.incoming] == ["one"]
        assert seen[0] is None
        assert str(seen[1]) == "the request could not be made: token server down"
        server.respond(401)
        with pytest.raises(OSError, match="token server down"):
            client.get(server.url)

    def fail(self, *_):
        raise OSError("token server down")

    def test_reach_the_consumer_after_the_last_event(self, client, server):
        error = LookupError("no token")
        client.install(self.failing(error, after=1))
        server.serve(["one"])
        with client.sse(server.url) as session:
            assert session.incoming.get().data == "one"
            with pytest.raises(LookupError) as caught:
                session.incoming.get()
            assert caught.value is session.error is error

    @pytest.mark.parametrize(
        "error", [OSError("token server down"), requests.ConnectionError("token server down")]
    )
    def test_of_the_system_count_as_a_failed_connection(self, server, error):
        with sse_client_for_tests(max_reconnection_attempts=2) as client:
            client.install(self.failing(error))
            with pytest.raises(ConnectionFailedError, match="could not be made") as caught:
                client.sse(server.url)
            assert not caught.value.permanent
        assert server.requests == []

    def test_of_the_system_make_a_stream_try_again(self, client, server):
        raised = []

        class FailsOnce:
            def on_request(self, _request):
                if server.requests and not raised:
                    raised.append(True)
                    raise OSError("token server down")

        client.install(FailsOnce)
        server.serve(["one"])
        server.serve(["two"])
        server.respond(204)
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one", "two"]
        assert raised


class TestClosing:
    def test_happens_once_the_last_installed_first(self):
        log = []
        client = HttpClient()
        client.install(Numbering, header="A", log=log).install(Other, header="B", log=log)
        client.install(Silent)
        client.close()
        client.close()
        assert log == ["close B", "close A"]

    def test_goes_on_behind_a_plugin_that_raises(self, server):
        log = []

        class Failing:
            def close(self):
                raise LookupError("cannot")

        client = HttpClient().install(Numbering, header="A", log=log).install(Failing)
        server.respond(200)
        client.get(server.url)
        with pytest.raises(LookupError, match="cannot"):
            client.close()
        assert log[-1] == "close A"
        client.close()

    def test_comes_after_the_sessions(self, server):
        states = []

        class Watching:
            def close(self):
                states.append(session.state.name)

        server.serve(then="stall")
        with sse_client_for_tests() as client:
            client.install(Watching)
            session = client.sse(server.url)
        assert states == ["CLOSED"]


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("base", "relative", "target"),
        [
            ("", "/events", "/events"),
            ("", "events", "/events"),
            ("/", "/events", "/events"),
            ("/v1", "/events", "/v1/events"),
            ("/v1", "events", "/v1/events"),
            ("/v1/", "/events", "/v1/events"),
            ("/v1/", "events?x=1", "/v1/events?x=1"),
            ("/v1", "/a:b/c", "/v1/a:b/c"),
        ],
    )
    def test_a_relative_address_is_appended(self, client, server, base, relative, target):
        client.install(DefaultRequest, base_url=server.url.rstrip("/") + base)
        server.serve(then="stall")
        server.serve(then="stall")
        server.respond(200)
        client.sse(relative).close()
        client.sse(path=relative).close()
        client.get(relative)
        assert [request.target for request in server.requests] == [target] * 3

    def test_an_absolute_address_stays(self, client, server):
        client.install(DefaultRequest, base_url="http://127.0.0.1:1/v1")
        server.respond(200)
        server.respond(200)
        client.get(server.url_for("/own"))
        client.get(server.url_for("/own").replace("http", "HTTP"))
        assert [request.target for request in server.requests] == ["/own", "/own"]

    def test_is_not_needed(self, client, server):
        client.install(DefaultRequest)
        server.respond(200)
        assert client.get(server.url).ok

    def test_without_it_a_relative_address_is_refused(self, client):
        with pytest.raises(ValueError, match="'/events': scheme and host are missing"):
            client.sse(path="/events")

    @pytest.mark.parametrize(
        "wrong",
        [
            *("127.0.0.1", "ftp://127.0.0.1/", "/v1", "http:", "http:///v1", "http://[::1/"),
            *("http://127.0.0.1/?key=1", "http://127.0.0.1/#top"),
        ],
    )
    def test_that_is_no_address_is_refused_by_name(self, client, wrong):
        with pytest.raises(ValueError, match=r"^base_url must be an http or https address"):
            client.install(DefaultRequest, base_url=wrong)

    def test_an_address_that_cannot_be_parsed_is_refused(self, client, server):
        client.install(DefaultRequest, base_url=server.url)
        with pytest.raises(ValueError, match="cannot be sent"):
            client.sse("http://[::1/")


class TestDefaultHeaders:
    def test_are_added_unless_the_request_has_its_own(self, client, server):
        client.install(DefaultRequest, headers={"X-A": "default", "X-B": b"default"})
        server.respond(200)
        client.get(server.url, headers={"x-b": "own"})
        headers = server.requests[0].headers
        assert (headers["X-A"], headers.get_all("X-B")) == ("default", ["own"])

    def test_can_be_taken_out_with_none(self, client, server):
        client.install(DefaultRequest, headers={"X-A": "default"})
        server.respond(200)
        client.get(server.url, headers={"X-A": None})
        assert "X-A" not in server.requests[0].headers

    def test_that_are_functions_are_called_anew_for_each_attempt(self, client, server):
        tokens = itertools.count(1)
        client.install(DefaultRequest, headers={"Authorization": lambda: f"Bearer {next(tokens)}"})
        server.serve(["one"])
        server.respond(503)
        server.serve(["two"])
        server.respond(204)
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one", "two"]
        sent = [request.headers["Authorization"] for request in server.requests]
        assert sent == ["Bearer 1", "Bearer 2", "Bearer 3", "Bearer 4"]

    def test_that_are_functions_are_not_called_for_nothing(self, client, server):
        def fail():
            raise AssertionError

        client.install(DefaultRequest, headers={"X-A": fail}, params={"a": fail})
        server.respond(200)
        client.get(server.url, headers={"X-A": "own"}, params={"a": "own"})
        assert server.requests[0].headers["X-A"] == "own"


class TestDefaultParams:
    @pytest.mark.parametrize(
        ("target", "params", "query"),
        [
            ("/", None, {"key": ["default"], "many": ["1", "2"]}),
            ("/", {"own": "x"}, {"key": ["default"], "many": ["1", "2"], "own": ["x"]}),
            ("/", {"key": "own"}, {"key": ["own"], "many": ["1", "2"]}),
            ("/", {"key": ["a", "b"]}, {"key": ["a", "b"], "many": ["1", "2"]}),
            ("/", [("key", "a"), ("key", "b")], {"key": ["a", "b"], "many": ["1", "2"]}),
            ("/", "key=own&x", {"key": ["own"], "many": ["1", "2"], "x": [""]}),
            ("/", b"x=%C3%A9", {"key": ["default"], "many": ["1", "2"], "x": ["é"]}),
            ("/?key=own", None, {"key": ["own"], "many": ["1", "2"]}),
            ("/?x=1#key=2", {"many": ""}, {"key": ["default"], "x": ["1"], "many": [""]}),
        ],
    )
    def test_are_added_unless_the_request_has_its_own(self, client, server, target, params, query):
        client.install(DefaultRequest, params={"key": "default", "many": ["1", "2"]})
        server.serve(then="stall")
        server.respond(200)
        client.sse(server.url_for(target), params=params).close()
        client.get(server.url_for(target), params=params)
        assert [request.query for request in server.requests] == [query, query]

    def test_a_text_that_has_them_all_is_sent_as_it_is(self, client, server):
        client.install(DefaultRequest, params={"key": "default"})
        server.respond(200)
        client.get(server.url, params="key=a+b%2Fc")
        assert server.requests[0].target == "/?key=a+b%2Fc"

    def test_that_are_functions_are_called_anew_for_each_attempt(self, client, server):
        numbers = itertools.count(1)
        client.install(DefaultRequest, params={"n": lambda: str(next(numbers))})
        server.serve(["one"])
        server.respond(204)
        with client.sse(server.url) as session:
            assert [event.data for event in session.incoming] == ["one"]
        assert [request.query["n"] for request in server.requests] == [["1"], ["2"]]

    def test_may_be_set_by_another_plugin_as_a_mapping(self, client, server):
        class Mapped:
            def on_request(self, request):
                request.params = {"own": "x"}

        client.install(Mapped).install(DefaultRequest, params={"key": "default"})
        server.respond(200)
        client.get(server.url)
        assert server.requests[0].query == {"key": ["default"], "own": ["x"]}


class TestDefaultOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"base_url": None}, "base_url must be a str, not NoneType"),
            ({"base_url": b"http://127.0.0.1"}, "base_url must be a str, not bytes"),
            ({"headers": [("a", "b")]}, "headers must be a mapping, not list"),
            ({"params": "a=b"}, "params must be a mapping, not str"),
            ({"param": {}}, "param"),
        ],
    )
    def test_of_the_wrong_kind_are_refused_by_name(self, client, options, message):
        with pytest.raises(TypeError, match=message):
            client.install(DefaultRequest, **options)
