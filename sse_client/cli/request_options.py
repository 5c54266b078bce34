"""The options of requests, and the request arguments that they result in."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from typing import TYPE_CHECKING, Any

from sse_client import __version__
from sse_client.cli import values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sse_client.cli.parser import Parser

_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"

#: With ``--unix-socket``, the proxies of the environment are ignored.
_NO_PROXY = {"no_proxy": "*"}


def add_request_options(parser: Parser) -> None:
    """Add the options for the request and its connection."""
    request = parser.add_argument_group("request")
    request.add_argument(
        "-X",
        "--request",
        metavar="METHOD",
        type=values.method,
        help="the method; GET, or POST if there is a body",
    )
    request.add_argument(
        "-H",
        "--header",
        metavar="FIELD",
        type=values.fields,
        action="append",
        default=[],
        help="a header 'Name: value', or @FILE; repeatable",
    )
    request.add_argument(
        "-b",
        "--cookie",
        metavar="NAME=VALUE",
        type=values.cookies,
        action="append",
        dest="header",
        help="cookies, separated by ';'; repeatable",
    )
    request.add_argument(
        "-A", "--user-agent", metavar="TEXT", type=values.header_value, help="the User-Agent"
    )
    body = request.add_mutually_exclusive_group()
    body.add_argument(
        "-d",
        "--data",
        metavar="DATA",
        type=values.content,
        action="append",
        help="a body: text, @FILE, or @- for standard input",
    )
    # Browsers write it if they copy a request as a command line of curl.
    body.add_argument(
        "--data-raw", type=os.fsencode, action="append", dest="data", help=argparse.SUPPRESS
    )
    body.add_argument(
        "--json-body", metavar="DATA", type=values.content, help="a body in JSON, as for -d"
    )
    login = request.add_mutually_exclusive_group()
    login.add_argument(
        "-u",
        "--user",
        metavar="USER:PASSWORD",
        type=values.credentials,
        help="log in; without a password, prompt for it",
    )
    login.add_argument(
        "--bearer-env",
        metavar="VAR",
        type=token,
        help="send the bearer token in this variable",
    )
    # Options of curl without an effect here, so that its command lines work unchanged.
    for names in (
        *(("-N", "--no-buffer"), ("-L", "--location"), ("-s", "--silent"), ("-S", "--show-error")),
        *(("-f", "--fail", "--fail-with-body"), ("--compressed",)),
    ):
        request.add_argument(*names, action="store_true", dest="ignored", help=argparse.SUPPRESS)
    _add_connection_options(parser)


def _add_connection_options(parser: Parser) -> None:
    way = parser.add_argument_group("connection")
    through = way.add_mutually_exclusive_group()
    through.add_argument("-x", "--proxy", metavar="URL", type=values.proxy, help="use this proxy")
    through.add_argument(
        "--unix-socket", metavar="FILE", type=values.socket_path, help="connect to this socket"
    )
    trust = way.add_mutually_exclusive_group()
    trust.add_argument(
        "--cacert", metavar="FILE", type=values.existing_path, help="trust these authorities"
    )
    way.add_argument(
        "--cert", metavar="FILE", type=values.existing_path, help="the client's certificate"
    )
    way.add_argument("--key", metavar="FILE", type=values.existing_path, help="its private key")
    trust.add_argument("-k", "--insecure", action="store_true", help="do not check certificates")
    way.add_argument(
        "--timeout",
        metavar="S",
        type=values.above_zero,
        help="a connection that sends nothing for S seconds counts as lost",
    )


def check_request(parser: Parser, arguments: argparse.Namespace) -> None:
    """Refuse, as wrong usage, combinations of options that are invalid."""
    if arguments.key and not arguments.cert:
        parser.error("--key requires --cert")
    if arguments.json_body is not None:
        try:
            json.loads(arguments.json_body)
        except ValueError:
            parser.error("argument --json-body: must be JSON")


def request_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the request for ``HttpClient.sse``."""
    body, content_type = arguments.json_body, _JSON
    if arguments.data:
        body, content_type = b"&".join(arguments.data), _FORM  # as curl joins them
    headers = join_fields(itertools.chain.from_iterable(arguments.header))
    given = {name.lower() for name in headers}
    if body is not None and "content-type" not in given:
        headers["Content-Type"] = content_type
    if arguments.user_agent is not None or "user-agent" not in given:
        agent = arguments.user_agent or f"sse-client/{__version__}".encode()
        headers = {name: value for name, value in headers.items() if name.lower() != "user-agent"}
        headers["User-Agent"] = agent
    request: dict[str, Any] = {
        "method": arguments.request or ("GET" if body is None else "POST"),
        "headers": headers,
        "data": body,
        "auth": arguments.user,
    }
    chosen = proxies(arguments)
    if chosen:
        request["proxies"] = chosen
    if arguments.cacert or arguments.insecure:
        request["verify"] = arguments.cacert or False
    if arguments.cert:
        request["cert"] = (arguments.cert, arguments.key) if arguments.key else arguments.cert
    if arguments.timeout:
        request["timeout"] = arguments.timeout
    return request


def proxies(arguments: argparse.Namespace) -> dict[str, str] | None:
    """Return the proxies from the options, or None to use those of the environment."""
    if arguments.proxy:
        return {"http": arguments.proxy, "https": arguments.proxy}
    return _NO_PROXY if arguments.unix_socket else None


def join_fields(fields: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Join headers of the same name (RFC 9110, section 5.3; cookies: RFC 6265, section 5.4)."""
    names: dict[str, str] = {}
    headers: dict[str, bytes] = {}
    for given, value in fields:
        name = names.setdefault(given.lower(), given)
        separator = b"; " if name.lower() == "cookie" else b", "
        headers[name] = headers[name] + separator + value if name in headers else value
    return headers


def token(variable: str) -> str:
    """Return the token in an environment variable."""
    found = os.environ.get(variable, "").strip() if variable else ""
    if not found:
        raise argparse.ArgumentTypeError("must be an environment variable that is not empty")
    return found
