"""The public names of the package, and the places where the same names are repeated."""

from __future__ import annotations

import dataclasses
import inspect
import typing

import pytest

import sse_client
import sse_client.relay
import sse_client.testing
from sse_client import HttpClient, SSEConfig
from sse_client.plugins.sse_config import SSEOptions

NAMES = {
    "SSE",
    "BearerAuth",
    "BufferPolicy",
    "ChannelClosed",
    "ChannelOverflowError",
    "ConnectionFailedError",
    "CursorError",
    "CursorExpiredError",
    "CursorStore",
    "DefaultRequest",
    "DeserializationError",
    "DuplicatePluginError",
    "ErrorEventError",
    "EventStreamParser",
    "EventTooLargeError",
    "FileCursor",
    "HttpClient",
    "IdleTimeoutError",
    "IncomingChannel",
    "MergedSessions",
    "Plugin",
    "PluginNotInstalledError",
    "ReadyState",
    "ReconnectionExhaustedError",
    "SQLiteCursor",
    "SSEClientError",
    "SSEConfig",
    "SSESession",
    "ServerSentEvent",
    "SessionClosedError",
    "SessionFailedError",
    "Statistics",
    "StreamInfo",
    "StreamInterruptedError",
    "StreamObserver",
    "Telemetry",
    "TotalTimeoutError",
    "TypedServerSentEvent",
    "UnexpectedContentTypeError",
    "UnexpectedStatusError",
    "__version__",
    "iter_events",
    "merge",
    "parse_event_batches",
    "parse_event_stream",
}

TESTING_NAMES = {
    "Exchange",
    "InMemoryServer",
    "ManualClock",
    "RecordedRequest",
    "SSEServer",
    "UnscriptedRequestError",
}

RELAY_NAMES = {
    "RedisCursor",
    "RedisIncoming",
    "RedisRelay",
    "RelayConfig",
    "RelayError",
    "RelayState",
    "RelayStatistics",
    "RelayWorker",
    "RelayedStream",
    "incoming_from_redis",
    "load_config",
}

#: The arguments of a request, as in requests.
REQUEST_ARGUMENTS = (
    *("params", "headers", "data", "json", "auth", "cookies"),
    *("proxies", "verify", "cert", "timeout", "allow_redirects"),
)

ADDRESS_ARGUMENTS = ("scheme", "host", "port", "path")


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (sse_client, NAMES),
        (sse_client.testing, TESTING_NAMES),
        (sse_client.relay, RELAY_NAMES),
    ],
)
class TestAll:
    def test_lists_what_is_public(self, module, names):
        assert set(module.__all__) == names
        assert len(module.__all__) == len(names)

    def test_names_only_what_is_there_and_documented(self, module, names):
        for name in names - {"__version__"}:
            value = getattr(module, name)
            assert value.__doc__, name
            if dataclasses.is_dataclass(value):
                assert not value.__doc__.startswith(f"{name}("), f"{name} has a generated docstring"

    def test_public_methods_are_documented(self, module, names):
        for name in names:
            value = getattr(module, name)
            if not inspect.isclass(value):
                continue
            for method, function in vars(value).items():
                if not method.startswith("_") and inspect.isfunction(function):
                    assert inspect.getdoc(function), f"{name}.{method}"


def test_the_version_is_the_one_that_is_installed():
    from importlib.metadata import version

    assert sse_client.__version__ == version("sse-client")


def test_the_options_for_type_checkers_are_those_of_the_configuration():
    fields = [field.name for field in dataclasses.fields(SSEConfig)]
    assert sorted(SSEOptions.__annotations__) == sorted(fields)
    assert SSEOptions.__required_keys__ == frozenset()


def test_each_option_is_documented():
    arguments = inspect.getdoc(SSEConfig).partition("Args:")[2]
    for field in dataclasses.fields(SSEConfig):
        assert f"\n    {field.name}: " in arguments, field.name


class TestSignatures:
    def test_a_stream_spells_out_the_arguments_of_a_request(self):
        parameters = inspect.signature(HttpClient.sse).parameters
        assert tuple(parameters) == (
            *("self", "url", *ADDRESS_ARGUMENTS, "method"),
            *(*REQUEST_ARGUMENTS, "block", "options"),
        )
        assert parameters["url"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameters["options"].kind is inspect.Parameter.VAR_KEYWORD
        others = list(parameters.values())[2:-1]
        assert {parameter.kind for parameter in others} == {inspect.Parameter.KEYWORD_ONLY}

    def test_a_stream_connects_within_ten_seconds_and_may_then_be_silent(self):
        parameters = inspect.signature(HttpClient.sse).parameters
        assert parameters["timeout"].default == (10.0, None)
        assert parameters["method"].default == "GET"
        assert parameters["allow_redirects"].default is True

    def test_a_plain_request_spells_them_out_too(self):
        parameters = inspect.signature(HttpClient.request).parameters
        assert tuple(parameters) == ("self", "method", "url", *REQUEST_ARGUMENTS)

    def test_get_and_post_take_the_same_arguments(self):
        for function in (HttpClient.get, HttpClient.post):
            annotation = inspect.signature(function).parameters["arguments"].annotation
            assert annotation == "Unpack[RequestArguments]"

    def test_the_second_name_is_the_same_call(self):
        assert HttpClient.sse_session is HttpClient.sse

    def test_both_overloads_are_known_to_a_type_checker(self):
        if hasattr(typing, "get_overloads"):  # from Python 3.11 on
            assert len(typing.get_overloads(HttpClient.sse)) == 6
