"""The bytes of a stream that were already read, kept so that an error can show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The default maximum of bytes kept, enough to diagnose a failure.
DEFAULT_MAX_BYTES = 1024 * 1024

#: The excess bytes that may accumulate before trimming, so that tiny chunks stay cheap.
_SLACK = 16 * 1024

_BLANK_LINES = (b"\n", b"\r\n", b"\r")


@dataclass(frozen=True)
class BufferPolicy:
    """Which bytes an error's ``buffer`` shows. Create one with the class methods.

    The bytes are those of the latest connection that delivered any, after content decoding,
    including an unfinished end. They never exceed ``max_bytes``: the oldest are dropped first.
    """

    kind: Literal["off", "lines", "events", "all"] = "off"
    count: int = 0
    max_bytes: int = DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        """Check the numbers."""
        numbers: dict[str, object] = {"count": self.count, "max_bytes": self.max_bytes}
        for name, value in numbers.items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an int, not {type(value).__name__}")
        if self.kind in {"lines", "events"} and self.count < 1:
            raise ValueError(f"count must be at least 1, not {self.count}")
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {self.max_bytes}")

    @classmethod
    def off(cls) -> BufferPolicy:
        """Keep nothing, which is the default."""
        return cls()

    @classmethod
    def last_lines(cls, count: int, *, max_bytes: int = DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep the last ``count`` lines, including blank ones and an unfinished one."""
        return cls("lines", count, max_bytes)

    @classmethod
    def last_event(cls, *, max_bytes: int = DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep the last finished block, and everything after it."""
        return cls("events", 1, max_bytes)

    @classmethod
    def last_events(cls, count: int, *, max_bytes: int = DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep the last ``count`` finished blocks, and everything after them."""
        return cls("events", count, max_bytes)

    @classmethod
    def all(cls, *, max_bytes: int = 16 * DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep everything that the connection delivered, up to ``max_bytes``."""
        return cls("all", 0, max_bytes)


class DiagnosticBuffer:
    """The bytes that a policy keeps. Not thread-safe. Never blocks."""

    def __init__(self, policy: BufferPolicy) -> None:
        self._policy = policy
        #: Whether the policy keeps anything.
        self.is_on = policy.kind != "off"
        self._kept = bytearray()
        self._trim_at = _SLACK

    def clear(self) -> None:
        """Discard everything, because another connection begins."""
        self._kept.clear()
        self._trim_at = _SLACK

    def add(self, chunk: bytes) -> None:
        """Add the bytes just read."""
        if not self.is_on:
            return
        self._kept += chunk
        if len(self._kept) >= self._trim_at:
            self._kept[:] = self.snapshot()
            # Doubling bounds how often each byte is copied, on average.
            self._trim_at = 2 * len(self._kept) + _SLACK

    def snapshot(self) -> bytes:
        """Return exactly the bytes that the policy keeps."""
        kept = bytes(self._kept[-self._policy.max_bytes :])
        if self._policy.kind in {"off", "all"}:
            return kept
        lines = kept.splitlines(keepends=True)
        if self._policy.kind == "lines":
            return b"".join(lines[-self._policy.count :])
        finished = 0
        for index in range(len(lines) - 1, -1, -1):
            # A block begins after the previous blank line. Consecutive blank lines end one block.
            if lines[index] in _BLANK_LINES and index and lines[index - 1] not in _BLANK_LINES:
                finished += 1
                if finished > self._policy.count:
                    return b"".join(lines[index + 1 :])
        return kept
