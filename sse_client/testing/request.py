"""Reads a request from a connection, and records it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

# Enough for any client, and a limit for one that never sends the blank line.
_MAX_HEAD = 256 * 1024

# More than a test posts, and little enough for a machine that runs tests.
_MAX_BODY = 64 * 1024 * 1024

# HTTP leaves the encoding open. `Last-Event-ID` is UTF-8, as the event stream format requires.
# Escaping other bytes loses nothing, and works in both directions.
HEADER_ENCODING = ("utf-8", "surrogateescape")


class BadRequestError(ValueError):
    """The bytes are not an HTTP request, or the request is too large for the server."""


class RequestHeaders(Mapping[str, str]):
    """The header fields of a request: a mapping with case-insensitive names.

    The values of a repeated field are joined with ``", "``, as HTTP defines it, so that a test
    notices a duplicate. `get_all` returns the single values. Values are decoded as UTF-8, other
    bytes as surrogate escapes. Immutable.

    Args:
        fields: Names and values in the order in which they were sent.
    """

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._names.setdefault(name.lower(), name)
            self._values.setdefault(name.lower(), []).append(value)

    def get_all(self, name: str) -> list[str]:
        """Return the values of a field in the order sent. The list is empty if it was not sent."""
        return list(self._values.get(name.lower(), ()))

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names.values())

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._names

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"


@dataclass(frozen=True)
class RecordedRequest:
    """One request as the server received it, with its body. Immutable.

    Attributes:
        method: The method, as sent.
        target: The request target, as sent: path and query.
        path: The target without its query, still percent-encoded.
        query: The decoded parameters of the query, each with all its values, even empty ones.
        headers: The header fields.
        body: The body without chunked framing, or ``b""`` if there was none.
        client_port: The port of the client, which identifies the connection.
        version: The protocol version, as sent, such as ``"HTTP/1.1"``.
        scheme: ``"http"`` or ``"https"``.
    """

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: RequestHeaders
    body: bytes
    client_port: int
    version: str
    scheme: str = "http"

    @property
    def url(self) -> str:
        """The requested address, with the host of the ``Host`` header."""
        return f"{self.scheme}://{self.headers.get('Host', '')}{self.target}"

    @property
    def last_event_id(self) -> str | None:
        """The ``Last-Event-ID`` header, or None if there was none."""
        return self.headers.get("Last-Event-ID")

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to send more requests on this connection."""
        wishes = self.headers.get("Connection", "").lower()
        return self.version != "HTTP/1.0" and "close" not in wishes


class RequestReader:
    """Reads one request after another from a connection.

    Args:
        receive: Blocks for the next bytes, and returns ``b""`` at the end.
        client_port: The port to record.
        scheme: The scheme to record.
        proceed: Called if the client waits for a 100 (Continue) before it sends a body.
    """

    def __init__(
        self,
        receive: Callable[[], bytes],
        client_port: int,
        scheme: str,
        proceed: Callable[[], object] = lambda: None,
    ) -> None:
        self._proceed = proceed
        self._receive = receive
        self._client_port = client_port
        self._scheme = scheme
        self._buffer = bytearray()

    def read(self) -> RecordedRequest | None:
        """Read a request. Blocks until it is complete.

        Returns:
            The request, or None if the connection ended instead.

        Raises:
            BadRequestError: It is not a valid request.
        """
        try:
            head = self._until(b"\r\n\r\n").decode(*HEADER_ENCODING)
            start, *lines = head.split("\r\n")
            words = start.split(" ")
            if len(words) != len(("method", "target", "version")):
                raise BadRequestError(f"not a request line: {start[:80]!r}")
            method, target, version = words
            headers = RequestHeaders([self._field(line) for line in lines])
            expected = headers.get("Expect", "").lower()
            if expected == "100-continue" and version != "HTTP/1.0" and not self._buffer:
                self._proceed()  # RFC 9110, section 10.1.1
            body = self._body(headers)
        except EOFError:
            return None
        path, _, query = target.partition("?")
        return RecordedRequest(
            method=method,
            target=target,
            path=path,
            query=parse_qs(query, keep_blank_values=True),
            headers=headers,
            body=body,
            client_port=self._client_port,
            version=version,
            scheme=self._scheme,
        )

    def _field(self, line: str) -> tuple[str, str]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError(f"not a header field: {line[:80]!r}")
        return name, value.strip(" \t")

    def _body(self, headers: RequestHeaders) -> bytes:
        if headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._exactly(self._size(headers.get("Content-Length", "0"), 10, 0))
        body = bytearray()
        while size := self._size(self._until(b"\r\n").partition(b";")[0], 16, len(body)):
            body += self._exactly(size)
            self._until(b"\r\n")
        # Ignore trailers up to the blank line.
        while self._until(b"\r\n"):
            pass
        return bytes(body)

    def _size(self, digits: str | bytes, base: int, already: int) -> int:
        try:
            size = int(digits, base)
        except ValueError as error:
            raise BadRequestError(f"not a size: {digits[:80]!r}") from error
        if not 0 <= size <= _MAX_BODY - already:
            raise BadRequestError(f"a body may have at most {_MAX_BODY} bytes")
        return size

    def _until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise BadRequestError(f"no line ends within {_MAX_HEAD} bytes")
            self._fill()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _fill(self) -> None:
        data = self._receive()
        if not data:
            raise EOFError
        self._buffer += data
