"""The event stream exactly as in WHATWG HTML, section 9.2: a whole stream, character by character.

It is slow and simple, as a reference for the real parser. Only Ktor's two additional kinds of event
and the size limits are not from the specification.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sse_client.event_stream.events import ServerSentEvent

_DIGITS = "0123456789"
_LARGEST_RETRY = 10**18 - 1
_RETAINED_COMMENTS = 64 * 1024


@dataclass
class Interpretation:
    """The result of a stream."""

    events: list[ServerSentEvent] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    last_event_id: str = ""
    reconnection_time: int | None = None


@dataclass
class _Block:
    data: str = ""
    event_type: str = ""
    retry: int | None = None
    comments: list[str] = field(default_factory=list)
    has_type_or_id: bool = False


def interpret(
    stream: bytes,
    *,
    last_event_id: str = "",
    show_comment_events: bool = False,
    show_retry_events: bool = False,
) -> Interpretation:
    """Interpret a whole event stream."""
    result = Interpretation(last_event_id=last_event_id)
    id_buffer = last_event_id
    block = _Block()
    for line in _lines(_decode(stream)):
        if line == "":
            result.last_event_id = id_buffer
            shown = (
                block.data != ""
                or (show_comment_events and _has_only_comments(block))
                or (show_retry_events and _has_only_retry(block))
            )
            if shown:
                result.events.append(_event(block, id_buffer))
            block = _Block()
        elif line[0] == ":":
            comment = _without_one_space(line[1:])
            result.comments.append(comment)
            block.comments.append(comment)
        else:
            colon = line.find(":")
            name = line if colon == -1 else line[:colon]
            value = "" if colon == -1 else _without_one_space(line[colon + 1 :])
            if name == "event":
                block.event_type = value
                block.has_type_or_id = True
            elif name == "data":
                block.data += value + "\n"
            elif name == "id" and "\0" not in value:
                id_buffer = value
                block.has_type_or_id = True
            elif name == "retry" and _is_number(value):
                block.retry = result.reconnection_time = _number(value)
    return result


def fitting(stream: bytes, max_event_size: int) -> bytes | None:
    """Return the stream up to its first line that is too large, or None if all of it fits.

    A comment line is measured by itself, and any other line together with those of its block. An
    unfinished line counts. The beginning of a byte order mark is not a line as long as nothing
    follows it.
    """
    mark = b"\xef\xbb\xbf"
    position = 3 if stream[:3] == mark else 0
    if mark.startswith(stream):
        return None
    size_of_block = 0
    while position < len(stream):
        end = position
        while end < len(stream) and stream[end] not in b"\r\n":
            end += 1
        if end == position:
            size_of_block = 0
        elif stream[position] == ord(":"):
            if end - position > max_event_size:
                return stream[:position]
        else:
            size_of_block += end - position
            if size_of_block > max_event_size:
                return stream[:position]
        position = end + (2 if stream[end : end + 2] == b"\r\n" else 1)
    return None


def _decode(stream: bytes) -> str:
    text = stream.decode("utf-8", errors="replace")
    return text[1:] if text[:1] == "\ufeff" else text


def _lines(text: str) -> list[str]:
    """Return the lines that end with CRLF, LF or CR. The rest at the end is not a line."""
    lines = []
    line = ""
    for position, character in enumerate(text):
        if character == "\n":
            if position > 0 and text[position - 1] == "\r":
                continue
            lines.append(line)
            line = ""
        elif character == "\r":
            lines.append(line)
            line = ""
        else:
            line += character
    return lines


def _without_one_space(value: str) -> str:
    return value[1:] if value[:1] == " " else value


def _is_number(value: str) -> bool:
    return value != "" and all(character in _DIGITS for character in value)


def _number(value: str) -> int:
    number = 0
    for character in value:
        number = min(number * 10 + _DIGITS.index(character), _LARGEST_RETRY)
    return number


def _has_only_comments(block: _Block) -> bool:
    return block.comments != [] and block.retry is None and not block.has_type_or_id


def _has_only_retry(block: _Block) -> bool:
    return block.retry is not None and block.comments == [] and not block.has_type_or_id


def _event(block: _Block, last_event_id: str) -> ServerSentEvent:
    return ServerSentEvent(
        data=block.data[:-1],
        event=block.event_type or "message",
        id=last_event_id,
        retry=block.retry,
        comments="\n".join(block.comments)[:_RETAINED_COMMENTS] if block.comments else None,
    )
