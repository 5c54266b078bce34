"""Requests a stream, and records what arrives and when.

A separate thread reads. The caller waits for the end of the observation, and then shuts down the
connection, which ends the thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError, InvalidChunkLength, ReadTimeoutError

from sse_client.cli.checking.stream import StreamFacts, StreamSurvey

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_SIZE = 65536

#: How often the caller checks for signals, in seconds.
_LOOK = 0.25

#: The maximum number of bytes read from the body of a refusal.
_MOST_OF_BODY = 2000


@dataclass
class Observation:
    """A response, and the stream in it.

    Attributes:
        response: The response. Its body has been read, or its connection is closed.
        header_time: How long the header took, in seconds after the request.
        facts: The contents of the stream.
        duration: How long the stream was observed, in seconds after the header.
        end: ``""`` if it was still open, ``"end"``, or the reason why it was cut off.
        body: The beginning of a body that is not a stream.
    """

    response: requests.Response
    header_time: float
    facts: StreamFacts
    duration: float = 0.0
    end: str = ""
    body: bytes = b""


def observe(
    session: requests.Session,
    url: str,
    request: dict[str, Any],
    seconds: float,
    is_enough: Callable[[StreamFacts], bool] = lambda _: False,
) -> Observation:
    """Request a stream, and read it for a while. Blocks.

    Args:
        session: Sends the request.
        url: The address.
        request: The arguments of the request.
        seconds: The maximum time to read. With 0 only the header is read.
        is_enough: Returns whether the facts suffice.

    Raises:
        requests.RequestException: There was no response.
    """
    began = time.monotonic()
    response = session.request(url=url, stream=True, **request)
    observation = Observation(response, time.monotonic() - began, StreamFacts())
    try:
        if not is_stream(response):
            observation.body = _beginning_of(response)
        elif seconds:
            _read(observation, seconds, is_enough)
    finally:
        response.close()
    return observation


def is_stream(response: requests.Response) -> bool:
    """Return whether a response is an event stream."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return response.status_code == requests.codes.ok and kind == "text/event-stream"


def _read(
    observation: Observation, seconds: float, is_enough: Callable[[StreamFacts], bool]
) -> None:
    survey = StreamSurvey()
    raw: Any = observation.response.raw
    began = time.monotonic()
    is_over = threading.Event()

    def read() -> None:
        try:
            while True:
                data = raw.read1(_READ_SIZE, decode_content=True)
                now = time.monotonic() - began
                if not data or is_over.is_set():
                    observation.end = "" if is_over.is_set() else "end"
                    break
                survey.feed(data, now)
                if is_enough(survey.facts):
                    break
        except (HTTPError, OSError, ValueError) as error:
            observation.end = "" if is_over.is_set() else _reason_of(error)
        finally:
            is_over.set()

    reader = threading.Thread(target=read, name="sse-client:check", daemon=True)
    reader.start()
    try:
        deadline = began + seconds
        while not is_over.is_set() and (left := deadline - time.monotonic()) > 0:
            is_over.wait(min(_LOOK, left))
    finally:
        is_over.set()
        observation.duration = time.monotonic() - began
        with contextlib.suppress(OSError, HTTPError, RuntimeError, ValueError):
            raw.shutdown()
        reader.join(1.0)
    observation.facts = survey.facts


def _reason_of(error: Exception) -> str:
    """Return the reason why a response was cut off."""
    if isinstance(error, ReadTimeoutError):
        return "nothing arrived for too long"
    cause = next((each for each in error.args if isinstance(each, Exception)), error)
    if isinstance(cause, IncompleteRead | InvalidChunkLength):
        return "the connection was closed before the response was complete"
    return str(cause) or type(cause).__name__


def _beginning_of(response: requests.Response) -> bytes:
    raw: Any = response.raw
    with contextlib.suppress(HTTPError, OSError, ValueError):
        return bytes(raw.read1(_MOST_OF_BODY, decode_content=True))
    return b""
