"""Text from a server reaches messages, logs and terminals without control characters."""

from __future__ import annotations

import logging
import re
import traceback

import pytest
from command_line import follow
from support import PATIENCE, sse_client_for_tests

from sse_client import DeserializationError, ServerSentEvent, SSEClientError

#: Sequences that clear a line and set the title of a terminal, and the start of an attack on a log.
EVIL = "no\x1b[2K\x1b]0;t\x07"

#: C0 except the line feed, which separates the lines of a traceback; DEL; C1; and the characters
#: that change the direction of text or end a line in Unicode.
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")

HEADER = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def raw(text):
    def send(exchange):
        exchange.write_raw(text.encode("utf-8"))
        exchange.drop()

    return send


RESPONSES = {
    "a reason phrase": f"HTTP/1.1 404 {EVIL}\r\nContent-Length: 0\r\n\r\n",
    "a reason phrase in C1": "HTTP/1.1 404 no\x9b2K\u202e\r\nContent-Length: 0\r\n\r\n",
    "a content type": f"HTTP/1.1 200 OK\r\nContent-Type: text/{EVIL}\r\n\r\n",
    "a content encoding": (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {EVIL}\r\n\r\n"
    ),
    "a relative target": f"HTTP/1.1 302 Found\r\nLocation: /{EVIL}\r\n\r\n",
    "another host": f"HTTP/1.1 302 Found\r\nLocation: http://{EVIL}/\r\n\r\n",
    "another scheme": f"HTTP/1.1 302 Found\r\nLocation: {EVIL}://h/\r\n\r\n",
    "a port": f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{EVIL}/\r\n\r\n",
    "a status line": f"{EVIL}\r\n\r\n",
    "a status": f"HTTP/1.1 2{EVIL} OK\r\n\r\n",
    "a version": f"HTTP/{EVIL} 200 OK\r\n\r\n",
    "a line of the header": f"HTTP/1.1 404 Not Found\r\n{EVIL}\r\nContent-Length: 0\r\n\r\n",
    "a Retry-After": f"HTTP/1.1 503 Busy\r\nRetry-After: {EVIL}\r\nContent-Length: 0\r\n\r\n",
    "a transfer encoding": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {EVIL}\r\n\r\n",
    "a cookie": f"HTTP/1.1 404 No\r\nSet-Cookie: a={EVIL}; Expires={EVIL}\r\n\r\n",
    "a body": f"HTTP/1.1 404 No\r\nContent-Length: {len(EVIL)}\r\n\r\n{EVIL}",
    "the size of a chunk": (
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{EVIL}\r\n"
    ),
    "an event type": f"{HEADER}event: {EVIL}\ndata: x\n\n",
    "an ID": f"{HEADER}id: {EVIL}\ndata: [DONE\n\n",
}


def check(*texts):
    for text in texts:
        found = CONTROLS.search(text)
        assert found is None, repr(text)


def check_logs(caplog):
    for record in caplog.records:
        check(f"{record.name} {record.getMessage()}", record.exc_text or "")


def check_error(error):
    check(str(error), repr(error), "".join(traceback.format_exception(error)))
    while error is not None:
        check(str(error), repr(error))
        error = error.__cause__


@pytest.fixture(autouse=True)
def all_logs(caplog):
    """Everything that any library logs."""
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("case", RESPONSES)
def test_no_error_and_no_log_has_any(server, caplog, case):
    server.handler = raw(RESPONSES[case])
    with (
        sse_client_for_tests(
            error_event=lambda _: True, reconnect="never", max_reconnection_attempts=1
        ) as client,
        pytest.raises(SSEClientError) as caught,
    ):
        list(client.sse(server.url).incoming)
    check_error(caught.value)
    check_logs(caplog)


@pytest.mark.parametrize("case", RESPONSES)
def test_no_error_after_reconnections_has_any(server, caplog, case):
    server.handler = raw(RESPONSES[case])
    with (
        sse_client_for_tests(
            error_event=lambda _: True,
            retry_first_connection=True,
            retry_if=lambda *_: 0.0,
            max_reconnection_attempts=2,
        ) as client,
        pytest.raises(SSEClientError) as caught,
    ):
        list(client.sse(server.url).incoming)
    check_error(caught.value)
    check_logs(caplog)


@pytest.mark.parametrize("reconnect", ["never", "on_error"])
@pytest.mark.parametrize("case", RESPONSES)
def test_the_command_prints_none_to_standard_error(server, case, reconnect, capsys):
    script = raw(RESPONSES[case])

    def handler(exchange):
        if len(server.requests) <= 2:
            script(exchange)
        else:
            exchange.respond(204)

    server.handler = handler
    follow(server.url, "--reconnect", reconnect, "--max-reconnection-attempts", "1")
    check(capsys.readouterr().err)


def test_an_event_that_cannot_be_decoded_is_named_without_any(server, caplog):
    server.serve([ServerSentEvent("x", event=EVIL)])
    with (
        sse_client_for_tests(types=int, reconnect="never") as client,
        client.sse(server.url) as session,
    ):
        with pytest.raises(DeserializationError) as caught:
            session.incoming.get(timeout=PATIENCE)
        assert caught.value.event.event == EVIL
    check(str(caught.value), repr(caught.value))
    check_logs(caplog)


def test_the_attributes_of_an_error_keep_what_was_sent(server):
    server.handler = raw(RESPONSES["a reason phrase"])
    with sse_client_for_tests() as client, pytest.raises(SSEClientError) as caught:
        client.sse(server.url)
    assert caught.value.response.reason == EVIL
    assert r"404 no\x1b[2K\x1b]0;t\x07" in str(caught.value)
