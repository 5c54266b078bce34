"""The lines of an event stream as bytes: their text and their sizes, which are bounded.

Bytes may be split into lines before or after decoding, because no byte of a multi-byte UTF-8
sequence is a line end. A ``str`` must be split with ``split``, because its ``splitlines`` also
splits at other characters.
"""

from __future__ import annotations

_COLON = 58


def decode_lines(lines: list[bytes]) -> list[str]:
    """Decode each line by itself."""
    try:
        return [*map(bytes.decode, lines)]
    except UnicodeDecodeError:
        return [line.decode("utf-8", "replace") for line in lines]


def size_of_block(lines: list[str] | list[bytes], colon: str | int, before: int) -> int:
    """Return the size in bytes of the unfinished block at the end of finished lines.

    Comments and line ends do not count.

    Args:
        lines: The finished lines, without their line ends. A ``str`` must be ASCII.
        colon: The first item of a comment.
        before: The size of the block before these lines.
    """
    size = 0
    for line in reversed(lines):
        if not line:
            return size
        if line[0] != colon:
            size += len(line)
    return size + before


def find_too_large(chunk: bytes, before: int, limit: int) -> int | None:
    """Return the position of the first line that makes an event too large, or None.

    Args:
        chunk: Lines. The last one may be unfinished.
        before: The size of the unfinished block before them, in bytes.
        limit: The maximum number of bytes in the lines of an event, and in a single line.
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
