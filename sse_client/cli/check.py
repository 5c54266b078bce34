"""``sse-client check URL``: observes a stream, and reports its problems."""

from __future__ import annotations

import json
import ssl
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError

from sse_client import ConnectionFailedError
from sse_client.cli import request_options, values
from sse_client.cli.checking.findings import Finding, about_cors, findings_of
from sse_client.cli.checking.identifiers import describe_resumption
from sse_client.cli.checking.observation import Observation, is_stream, observe
from sse_client.cli.checking.report import as_json, as_text
from sse_client.cli.checking.versions import about_versions
from sse_client.cli.failures import REFUSED, excerpt
from sse_client.cli.output import complain, complain_in_detail, one_line, show
from sse_client.cli.parser import Parser
from sse_client.cli.proxies import proxy_for
from sse_client.cli.terminal import has_colours
from sse_client.cli.verbose import shown_url

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sse_client.cli.checking.stream import StreamFacts

_PASSED = 0
_FOUND_PROBLEMS = 1

#: How long the stream is observed, in seconds.
_DURATION = 10.0

#: How long an event may take after a request with ``Last-Event-ID``, in seconds.
_RESUMPTION_TIME = 5.0

_CONNECT_TIMEOUT = 10.0
_HEADER_TIMEOUT = 60.0

_ORIGIN = "https://example.org"


def run(words: Sequence[str]) -> int:
    """Check a stream."""
    made = parser()
    arguments = made.parse(words)
    request_options.check_request(made, arguments)
    if arguments.insecure:
        complain("warning: certificates are not checked (--insecure)")
    with _session(arguments) as session:
        try:
            return _check(session, arguments)
        except requests.RequestException as error:
            cause = _cause_of(error)
            message = f"no response from {shown_url(arguments.url)}: {_reason(cause)}"
            raise ConnectionFailedError(message) from cause


def parser() -> Parser:
    """Return the parser of this command."""
    made = Parser(
        prog="sse-client check",
        usage="sse-client check [option ...] URL",
        description="Observe a stream for a while, and report whether it is an event stream, "
        "whether something buffers it, whether it has heartbeats and IDs, whether Last-Event-ID is "
        "respected, and what is wrong with it.",
        epilog="S is in seconds. Exit status: 0 no problem, 1 problems, 2 wrong usage, 3 no "
        "response, 4 not an event stream, 130 Ctrl-C.",
        usual=("--duration", "--json", "--origin", "-X", "-H", "-d", "-u", "--help"),
    )
    made.add_argument("url", metavar="URL", type=values.address)
    check = made.add_argument_group("check")
    check.add_argument(
        "--duration",
        metavar="S",
        type=values.above_zero,
        default=_DURATION,
        help=f"observe for S seconds; {_DURATION:g} by default",
    )
    check.add_argument("--json", action="store_true", help="print the result as JSON")
    check.add_argument(
        "--origin",
        metavar="URL",
        type=values.url,
        default=_ORIGIN,
        help=f"the origin for CORS; {_ORIGIN} by default",
    )
    request_options.add_request_options(made)
    made.add_help_option()
    return made


def _session(arguments: argparse.Namespace) -> requests.Session:
    if arguments.unix_socket:
        from sse_client.cli.unix_socket import session_through  # noqa: PLC0415  # rarely used

        return session_through(arguments.unix_socket)
    return requests.Session()


def _check(session: requests.Session, arguments: argparse.Namespace) -> int:
    request = _request(arguments)
    if sys.stderr.isatty():
        complain(f"observing the stream for {arguments.duration:g} s")
    first = observe(session, arguments.url, request, arguments.duration)
    if not is_stream(first.response):
        return _report_refusal(first, arguments)
    findings = findings_of(first)
    proxy = proxy_for(arguments.url, request_options.proxies(arguments))
    if proxy:
        findings.insert(1, Finding("proxy", "note", f"The requests went through {proxy}."))
    if not (proxy or arguments.unix_socket):
        findings += about_versions(arguments.url)
    if request["method"] == "GET":
        findings += _resumption(session, arguments, request, first)
        findings.append(_cors(session, arguments, request))
    else:
        text = f"A {request['method']} is not repeated, so Last-Event-ID and CORS are not checked."
        findings.append(Finding("resumption", "note", text))
    _show(findings, arguments, first)
    return _FOUND_PROBLEMS if any(each.level == "problem" for each in findings) else _PASSED


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of a request like that of a browser."""
    request = request_options.request_arguments(arguments)
    headers = request["headers"]
    given = {name.lower() for name in headers}
    usual: dict[str, str | bytes] = {
        "Accept": "text/event-stream",
        "Cache-Control": "no-cache",
        # As in browsers, so that a server that can compress does.
        "Accept-Encoding": "gzip, deflate",
    }
    if arguments.bearer_env:
        usual["Authorization"] = f"Bearer {arguments.bearer_env}"
    headers |= {name: value for name, value in usual.items() if name.lower() not in given}
    timeout = arguments.timeout or max(_HEADER_TIMEOUT, 2 * arguments.duration)
    request["timeout"] = (arguments.timeout or _CONNECT_TIMEOUT, timeout)
    return request


def _with_header(request: dict[str, Any], name: str, value: str | bytes) -> dict[str, Any]:
    return {**request, "headers": {**request["headers"], name: value}}


def _resumption(
    session: requests.Session,
    arguments: argparse.Namespace,
    request: dict[str, Any],
    first: Observation,
) -> list[Finding]:
    """Request the stream after one of its events, and check which event follows."""
    ids = [event.id for _, event in first.facts.events if event.id]
    if not ids:
        return []
    # From the middle, so that there are events before and after it in the first observation.
    last_event_id = ids[len(ids) // 2 - 1] if len(ids) > 1 else ids[0]
    second = observe(
        session,
        arguments.url,
        _with_header(request, "Last-Event-ID", last_event_id.encode()),
        min(_RESUMPTION_TIME, arguments.duration),
        _has_event,
    )
    level, text = describe_resumption(first, second, last_event_id)
    return [Finding("resumption", level, text)]


def _has_event(facts: StreamFacts) -> bool:
    return bool(facts.events)


def _cors(
    session: requests.Session, arguments: argparse.Namespace, request: dict[str, Any]
) -> Finding:
    asked = observe(
        session, arguments.url, _with_header(request, "Origin", arguments.origin), seconds=0
    )
    return about_cors(asked.response.headers, arguments.origin)


def _report_refusal(first: Observation, arguments: argparse.Namespace) -> int:
    """Report that the response is not an event stream."""
    status, kind = first.response.status_code, first.response.headers.get("Content-Type")
    shown = one_line(kind) if kind else "no content type"
    if status == HTTPStatus.NO_CONTENT:
        shown = "which tells clients not to reconnect"
    text = f"It is not an event stream: {status}, {shown}."
    _show([Finding("stream", "problem", text)], arguments, None)
    for line in excerpt(first.body, is_truncated=False):
        complain_in_detail(line)
    return REFUSED


def _show(
    findings: Sequence[Finding], arguments: argparse.Namespace, first: Observation | None
) -> None:
    name = shown_url(arguments.url)
    if arguments.json:
        show(json.dumps(as_json(name, findings, first), ensure_ascii=False, indent=2) + "\n")
    else:
        show(as_text(name, findings, first, has_colours=has_colours(sys.stdout)))


def _reason(cause: BaseException) -> str:
    if isinstance(cause, requests.TooManyRedirects):
        return "too many redirects"
    # The message of an error of requests may contain the address.
    is_shown = not isinstance(cause, requests.RequestException) and str(cause)
    return str(cause) if is_shown else type(cause).__name__


def _cause_of(error: BaseException) -> BaseException:
    while (inner := _inner(error)) is not None:
        error = inner
    return error


def _inner(error: BaseException) -> BaseException | None:
    """Return the error that one of requests or urllib3 wraps, or None if it is the cause."""
    if isinstance(error, ssl.SSLError) or not isinstance(
        error, requests.RequestException | HTTPError
    ):
        return None
    wrapped = (getattr(error, "reason", None), *error.args, error.__cause__)
    return next((each for each in wrapped if isinstance(each, BaseException)), None)
