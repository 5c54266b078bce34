"""The body of an accepted response: the bytes that arrive, and the errors that end it."""

from __future__ import annotations

import errno
import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from urllib3.exceptions import HTTPError, ReadTimeoutError

from sse_client.errors import IdleTimeoutError
from sse_client.http.arrived_body import ArrivedBody
from sse_client.http.body import READ_SIZE, plain_body_of
from sse_client.http.causes import printable_cause, redact_url, root_cause, stream_interrupted
from sse_client.http.niquests import reader_of
from sse_client.http.response_head import bounded_response_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from sse_client.clock import Clock
    from sse_client.http.response_head import BoundedResponse


class ReadLimits(Protocol):
    """The deadline for reading a stream."""

    @property
    def deadline(self) -> float | None:
        """A moment on the clock's ``monotonic``, or None. It may change between reads."""

    def error(self, response: requests.Response) -> Exception:
        """Return the error to raise after the deadline."""


class StreamBody:
    """The body of a response. Not thread-safe.

    Either ``chunks`` waits for bytes, or a selector waits and the result of ``without_blocking`` is
    read whenever its descriptor is readable.

    Args:
        response: The response, accepted and not read.
        read_timeout: The maximum time without any byte, in seconds. None means no limit.
        limit_wait: Sets the maximum time that reads may wait from then on, in seconds.
        raise_if_aborted: Raises an error if the connection was aborted.
        clock: Measures the limits.
    """

    __slots__ = (
        *("_bounded", "_clock", "_is_closed", "_limit_wait", "_plain", "_raise_if_aborted"),
        *("_response", "read_timeout"),
    )

    def __init__(
        self,
        response: requests.Response,
        read_timeout: float | None,
        limit_wait: Callable[[float], None],
        raise_if_aborted: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.read_timeout = read_timeout
        self._response = response
        self._limit_wait = limit_wait
        self._raise_if_aborted = raise_if_aborted
        self._clock = clock
        self._bounded = bounded_response_of(response.raw)
        #: Whether the user has closed the response before it became a stream.
        self._is_closed = self._bounded is not None and not self._bounded.claim()
        self._plain = None if self._is_closed else plain_body_of(response.raw)

    def chunks(self, limits: ReadLimits) -> Iterator[bytes]:
        """Yield bytes as soon as they arrive. Blocks in between.

        Args:
            limits: The deadline, which is read before each read of the body.

        Raises:
            StreamInterruptedError: The connection broke off.
            IdleTimeoutError: No bytes arrived for too long.
            ConnectionAborted: ``abort`` was called.
            Exception: The error of ``limits``, after its deadline.
        """
        if self._is_closed:
            return
        read = self._reader()
        left = math.inf  # until the deadline
        try:
            while True:
                deadline = limits.deadline
                if deadline is not None:
                    left = deadline - self._clock.monotonic()
                    if left <= 0:
                        raise limits.error(self._response)
                    self._limit_wait(left)
                chunk = read()
                self._raise_if_aborted()
                if not chunk:
                    return
                yield chunk
        except (HTTPError, OSError) as error:
            self._raise_if_aborted()
            if self._bounded is not None and self._bounded.was_closed:
                return  # by the user
            # A dead peer that TCP keep-alive finds is also a TimeoutError, but not our timeout.
            is_ours = getattr(root_cause(error), "errno", None) != errno.ETIMEDOUT
            if isinstance(error, ReadTimeoutError | TimeoutError) and is_ours:
                deadline = limits.deadline
                if deadline is not None:
                    # The read may have waited several times, each time within the limit.
                    is_over = deadline <= self._clock.monotonic()
                    if is_over or left <= (self.read_timeout or left):
                        raise limits.error(self._response) from error
                raise self.no_bytes() from error
            raise stream_interrupted(error, self._response) from printable_cause(error)

    def _reader(self) -> Callable[[], bytes]:
        """Return a function that waits for the next bytes of the body, ``b""`` at its end."""
        if self._plain is not None:
            return self._plain.read
        read = reader_of(self._response.raw, READ_SIZE)
        if self._bounded is None:
            return read
        return partial(_read_by_urllib3, self._bounded, read)

    def no_bytes(self) -> IdleTimeoutError:
        """Return the error of a ``read_timeout`` that has passed."""
        timeout = self.read_timeout or 0.0
        return IdleTimeoutError(
            f"no bytes arrived from {redact_url(self._response.url)} for {timeout:g} s",
            timeout=timeout,
            waited_for="bytes",
            response=self._response,
        )

    def needs_no_thread(self) -> bool:
        """Return whether it can be read without blocking."""
        return self._plain is not None and self._plain.has_socket

    def without_blocking(self) -> ArrivedBody:
        """Return a non-blocking reader of the body. Call this only if it ``needs_no_thread``."""
        plain, self._plain = self._plain, None
        assert plain is not None, "it needs no thread"
        return ArrivedBody(self._response, plain, self._raise_if_aborted)

    def close(self) -> None:
        """Close the response. The code that opened the connection closes that."""
        if self._bounded is not None and not self._is_closed:
            self._bounded.finish()


def _read_by_urllib3(bounded: BoundedResponse, read: Callable[[], bytes]) -> bytes:
    """Read, and let the response know that it is urllib3 that may close it in the meantime."""
    bounded.urllib3_thread = threading.get_ident()
    try:
        return read()
    finally:
        bounded.urllib3_thread = None
