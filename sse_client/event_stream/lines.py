"""Lines of an event stream as bytes: their text, and their sizes, which have a bound.

Bytes may be cut into lines before they are decoded or after that: no byte of a longer UTF-8
sequence is a line end. A ``str`` can only be cut with ``split``, because its ``splitlines`` also
cuts at other characters.
"""

from __future__ import annotations

_COLON = 58


def decode_lines(lines: list[bytes]) -> list[str]:
    """Decode lines, each by itself."""
    try:
        return [*map(bytes.decode, lines)]
    except UnicodeDecodeError:
        return [line.decode("utf-8", "replace") for line in lines]


def size_of_block(lines: list[str] | list[bytes], colon: str | int, before: int) -> int:
    """Return how many bytes the unfinished block at the end of finished lines takes.

    Comments and line ends do not count.

    Args:
        lines: The finished lines, without their line ends. Those of ``str`` are ASCII.
        colon: The first item of a comment.
        before: What the block had before these lines.
    """
    size = 0
    for line in reversed(lines):
        if not line:
            return size
        if line[0] != colon:
            size += len(line)
    return size + before


def find_too_large(chunk: bytes, before: int, limit: int) -> int | None:
    """Return where the first line is that makes an event too large, None if there is none.

    Args:
        chunk: Lines, perhaps with an unfinished one at the end.
        before: What the unfinished block had before them, in bytes.
        limit: The most bytes that the lines of one event may take, or any line by itself.
    """
    size = before
    position = 0
    for line in chunk.splitlines(keepends=True):
        text = line.rstrip(b"\r\n")
        if not text:
            size = 0
        elif text[0] != _COLON:
            size += len(text)
        if max(size, len(text)) > limit:
            return position
        position += len(line)
    return None
