"""The options with which a stream is asked for and followed, and the session that they make."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import InsecureRequestWarning

from sse_client import SSE, BearerAuth, ConnectionFailedError, HttpClient, SessionClosedError
from sse_client.cli import values
from sse_client.cli.output import complain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sse_client import SSESession
    from sse_client.cli.parser import Parser

_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"


def add_request_options(parser: Parser) -> None:
    """Add what is sent, and over which connection."""
    request = parser.add_argument_group("request")
    request.add_argument("-X", "--request", metavar="METHOD", type=values.method)
    request.add_argument(
        "-H",
        "--header",
        metavar="'Name: value'",
        type=values.field,
        action="append",
        default=[],
        help="repeatable",
    )
    body = request.add_mutually_exclusive_group()
    body.add_argument(
        "-d",
        "--data",
        metavar="TEXT|@FILE|@-",
        type=values.content,
        action="append",
        help="a POST",
    )
    body.add_argument("--json-body", metavar="TEXT|@FILE|@-", type=values.content)
    request.add_argument("--bearer-env", metavar="VAR", type=_token, help="the token is there")
    request.add_argument("--proxy", metavar="URL", type=values.proxy)
    tls = parser.add_argument_group("TLS")
    trust = tls.add_mutually_exclusive_group()
    trust.add_argument("--cacert", metavar="FILE", type=values.existing_path)
    tls.add_argument("--cert", metavar="FILE", type=values.existing_path)
    tls.add_argument("--key", metavar="FILE", type=values.existing_path)
    trust.add_argument("--insecure", action="store_true")


def add_session_options(parser: Parser) -> None:
    """Add what happens when the connection breaks, and what ends the stream."""
    again = parser.add_argument_group("connection")
    again.add_argument("--timeout", metavar="S", type=values.above_zero, help="of silence")
    again.add_argument(
        "--reconnect",
        metavar="always|on_error|never",
        type=values.one_of("always", "on_error", "never"),
        help="a proxy can hide a break",
    )
    again.add_argument(
        "--max-reconnection-attempts",
        metavar="N",
        type=values.whole_number(0),
        help="in a row",
    )
    end = parser.add_argument_group("end")
    end.add_argument("--max-events", metavar="N", type=values.whole_number(1))
    end.add_argument("--max-time", metavar="S", type=values.above_zero)
    end.add_argument("--end-of-stream", metavar="TEXT")


def check(parser: Parser, arguments: argparse.Namespace) -> None:
    """Refuse, as wrong usage, what each option for itself does not show."""
    if arguments.key and not arguments.cert:
        parser.error("--key goes with --cert")
    if arguments.json_body is not None:
        try:
            json.loads(arguments.json_body)
        except ValueError:
            parser.error("argument --json-body: must be JSON")


@contextlib.contextmanager
def followed(arguments: argparse.Namespace, options: dict[str, Any]) -> Iterator[SSESession]:
    """Open the stream, and close it at the end of the block.

    At the limit of ``--max-time`` the session is closed, and so ends for whoever iterates over it.

    Args:
        arguments: What `add_request_options` and `add_session_options` have asked for, and a URL.
        options: More options of ``SSEConfig``.
    """
    with contextlib.ExitStack() as stack:
        if arguments.insecure:
            complain("warning: no certificate is checked (--insecure)")
            stack.enter_context(_unwarned())
        client = stack.enter_context(HttpClient().install(SSE))
        if arguments.bearer_env:
            token = arguments.bearer_env

            def load() -> str:
                return str(token)

            # Nobody has another one: the request is sent once more, and a second 401 is final.
            client.install(BearerAuth, load=load, refresh=load)
        has_time_left = stack.enter_context(_limited(client, arguments.max_time))
        try:
            session = client.sse(
                arguments.url, **_request(arguments), **_session(arguments, options)
            )
        except SessionClosedError:
            if has_time_left():
                raise
            raise ConnectionFailedError("there was no response within --max-time") from None
        yield stack.enter_context(session)


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the request."""
    body, content_type = arguments.json_body, _JSON
    if arguments.data:
        body, content_type = b"&".join(arguments.data), _FORM  # as curl joins them
    headers = _join(arguments.header)
    if body is not None and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = content_type
    request: dict[str, Any] = {
        "method": arguments.request or ("GET" if body is None else "POST"),
        "headers": headers,
        "data": body,
    }
    if arguments.proxy:
        request["proxies"] = {"http": arguments.proxy, "https": arguments.proxy}
    if arguments.cacert or arguments.insecure:
        request["verify"] = arguments.cacert or False
    if arguments.cert:
        request["cert"] = (arguments.cert, arguments.key) if arguments.key else arguments.cert
    if arguments.timeout:
        request["timeout"] = arguments.timeout
    return request


def _session(arguments: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the session."""
    chosen = {
        "reconnect": arguments.reconnect,
        "max_reconnection_attempts": arguments.max_reconnection_attempts,
        "end_of_stream": arguments.end_of_stream,
    }
    return {**chosen, **options}


def _join(fields: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Make one header of those with the same name (RFC 9110, section 5.3)."""
    names: dict[str, str] = {}
    headers: dict[str, bytes] = {}
    for given, value in fields:
        name = names.setdefault(given.lower(), given)
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _token(variable: str) -> str:
    """Take the token out of an environment variable."""
    token = os.environ.get(variable, "").strip() if variable else ""
    if not token:
        raise argparse.ArgumentTypeError("must be a variable of the environment, and not empty")
    return token


@contextlib.contextmanager
def _limited(client: HttpClient, seconds: float | None) -> Iterator[Any]:
    """Close the client after so many seconds; give what tells whether there is time left."""
    if seconds is None:
        yield lambda: True
        return
    over = threading.Event()

    def close() -> None:
        over.set()
        client.close()

    timer = threading.Timer(seconds, close)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: not over.is_set()
    finally:
        timer.cancel()
        timer.join()


@contextlib.contextmanager
def _unwarned() -> Iterator[None]:
    """Keep the client from a second warning that no certificate is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        yield
