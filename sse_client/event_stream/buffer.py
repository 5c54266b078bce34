"""What was already read of a stream, kept so that an error can show it without reading again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The default bound of what is kept: enough for any look at what went wrong.
DEFAULT_MAX_BYTES = 1024 * 1024

#: How much may gather above what is to be kept before it is trimmed, so that tiny chunks stay
#: cheap.
_SLACK = 16 * 1024

_BLANK_LINES = (b"\n", b"\r\n", b"\r")


@dataclass(frozen=True)
class BufferPolicy:
    """How much of what was read an error's ``buffer`` shows. Make one with the class methods.

    What is kept is of the latest connection that delivered bytes, as it came (content decoding
    aside), the unfinished end included. It never exceeds ``max_bytes``; the oldest bytes go first.
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
        """Keep nothing: the default."""
        return cls()

    @classmethod
    def last_lines(cls, count: int, *, max_bytes: int = DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep the last ``count`` lines, blank ones and an unfinished one included."""
        return cls("lines", count, max_bytes)

    @classmethod
    def last_event(cls, *, max_bytes: int = DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep the last finished block, and what came after it."""
        return cls("events", 1, max_bytes)

    @classmethod
    def last_events(cls, count: int, *, max_bytes: int = DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep the last ``count`` finished blocks, and what came after them."""
        return cls("events", count, max_bytes)

    @classmethod
    def all(cls, *, max_bytes: int = 16 * DEFAULT_MAX_BYTES) -> BufferPolicy:
        """Keep everything that the connection delivered, up to ``max_bytes``."""
        return cls("all", 0, max_bytes)


class DiagnosticBuffer:
    """The bytes that a policy wants kept. For one thread at a time; never blocks."""

    def __init__(self, policy: BufferPolicy) -> None:
        self._policy = policy
        self._kept = bytearray()
        self._trim_at = _SLACK

    def clear(self) -> None:
        """Forget everything: another connection begins."""
        self._kept.clear()
        self._trim_at = _SLACK

    def add(self, chunk: bytes) -> None:
        """Take what was just read."""
        if self._policy.kind == "off":
            return
        self._kept += chunk
        if len(self._kept) >= self._trim_at:
            self._kept[:] = self.snapshot()
            # Twice what had to stay: each byte is looked at a bounded number of times on average.
            self._trim_at = 2 * len(self._kept) + _SLACK

    def snapshot(self) -> bytes:
        """Return just what the policy keeps."""
        kept = bytes(self._kept[-self._policy.max_bytes :])
        if self._policy.kind in {"off", "all"}:
            return kept
        lines = kept.splitlines(keepends=True)
        if self._policy.kind == "lines":
            return b"".join(lines[-self._policy.count :])
        finished = 0
        for index in range(len(lines) - 1, -1, -1):
            # A block reaches back to the blank line before it; runs of blank lines are one end.
            if lines[index] in _BLANK_LINES and index and lines[index - 1] not in _BLANK_LINES:
                finished += 1
                if finished > self._policy.count:
                    return b"".join(lines[index + 1 :])
        return kept
