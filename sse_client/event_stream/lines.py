"""Finished lines of an event stream, as bytes: decoded, cut and measured.

They can be decoded by themselves: no byte of a longer UTF-8 sequence is a line end.
"""

from __future__ import annotations

_LF = 10
_COLON = 58


def decode_lines(lines: list[bytes]) -> list[str]:
    """Decode lines, each by itself."""
    try:
        return [*map(bytes.decode, lines)]
    except UnicodeDecodeError:
        return [line.decode("utf-8", "replace") for line in lines]


def end_of_block(chunk: bytes) -> int:
    """Return where the block in work ends, behind its blank line; 0 if it does not.

    Args:
        chunk: Whole lines of it, under LF, and what follows.
    """
    if chunk[0] == _LF:
        return 1
    blank = chunk.find(b"\n\n")
    return blank + 2 if blank > 0 else 0


def size_of_block(lines: list[bytes], before: int) -> int:
    """Return how many bytes the block at the end of these lines takes, comments left out.

    Args:
        lines: Without their line ends.
        before: What the block had before them.
    """
    size = 0
    for line in reversed(lines):
        if not line:
            return size
        if line[0] != _COLON:
            size += len(line)
    return size + before


def size_of_crlf_block(lines: list[bytes], before: int) -> int:
    """Do the same with lines that each have their CRLF, none of them a comment."""
    size = 0
    for line in reversed(lines):
        if line == b"\r\n":
            return size
        size += len(line) - 2
    return size + before


def find_too_large(chunk: bytes, before: int, limit: int) -> int | None:
    """Return where the first line is that makes an event too large, None if there is none.

    Args:
        chunk: Lines, perhaps with an unfinished one at the end.
        before: What the block in work had before them, in bytes.
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
