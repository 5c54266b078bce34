"""The floor: a parser that knows the stream in advance, and so checks nothing.

It waits for complete blocks, decodes and splits them, and creates the events. It assumes the fields
of each block, their order and the line ends, and that nothing is invalid, too large or unusual. So
it is correct only for its workload, and shows how much of a parser's time the rest takes.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from contenders import in_batches

from sse_client.event_stream.events import new_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from contenders import Contender
    from workloads import Workload

    from sse_client import ServerSentEvent

    Batch = list[ServerSentEvent]

FLOOR = "floor"

_NONE = repeat(None)
_MESSAGE = repeat("message")
_NO_ID = repeat("")


def floor(workload: Workload, chunking: str) -> Contender:
    """Return the floor for a workload in chunks that are split in this way."""
    batches = _singles(workload) if chunking == "by event" else _runs(workload)
    return in_batches(FLOOR, batches)


def _runs(workload: Workload) -> Callable[[list[bytes]], Iterator[Batch]]:
    """Return a function that accepts chunks that are split anywhere."""
    interpret = _interpreter_of(workload)
    blank = workload.line_end * 2

    def batches(chunks: list[bytes]) -> Iterator[Batch]:
        rest = b""
        for piece in chunks:
            chunk = rest + piece if rest else piece
            end = chunk.rfind(blank)
            if end < 0:
                rest = chunk
            else:
                rest = chunk[end + len(blank) :]
                yield interpret(chunk[:end].decode("utf-8", "replace"))

    return batches


def _interpreter_of(workload: Workload) -> Callable[[str], Batch]:
    """Return a function that interprets the text of complete blocks without the last blank line."""
    line_end = workload.line_end.decode()
    blank = line_end * 2
    fields = _fields(workload)

    def data_lines(text: str) -> Batch:
        payloads = text[len("data: ") :].split(blank + "data: ")
        return [*map(new_event, zip(payloads, _MESSAGE, _NO_ID, _NONE, _NONE, strict=False))]

    def many_data_lines(text: str) -> Batch:
        joined = text[len("data: ") :].replace(line_end + "data: ", "\n")
        payloads = joined.split(line_end + "\n")
        return [*map(new_event, zip(payloads, _MESSAGE, _NO_ID, _NONE, _NONE, strict=False))]

    def half_heartbeats(text: str) -> Batch:
        blocks = text.split(blank)
        return [
            new_event((block[6:], "message", "", None, None)) for block in blocks if block != ":"
        ]

    def ids_and_data(text: str) -> Batch:
        lines = text.split(line_end)
        return [
            new_event((data[6:], "message", id[4:], None, None))
            for id, data in zip(lines[::3], lines[1::3], strict=True)
        ]

    def types_ids_and_data(text: str) -> Batch:
        lines = text.split(line_end)
        return [
            new_event((data[6:], type[7:], id[4:], None, None))
            for type, id, data in zip(lines[::4], lines[1::4], lines[2::4], strict=True)
        ]

    if len(workload.blocks) > len(workload.events):
        return half_heartbeats
    if fields == ["data"]:
        return data_lines
    if fields == ["id", "data"]:
        return ids_and_data
    return types_ids_and_data if fields == ["event", "id", "data"] else many_data_lines


def _singles(workload: Workload) -> Callable[[list[bytes]], Iterator[Batch]]:
    """Return a function that accepts one block at a time."""
    line_end = workload.line_end.decode()
    behind = -2 * len(line_end)
    fields = _fields(workload)

    def data_lines(chunks: list[bytes]) -> Iterator[Batch]:
        for chunk in chunks:
            if chunk[0] != ord(":"):
                data = chunk[6:behind].decode("utf-8", "replace")
                yield [new_event((data, "message", "", None, None))]

    def many_data_lines(chunks: list[bytes]) -> Iterator[Batch]:
        for chunk in chunks:
            text = chunk[6:behind].decode("utf-8", "replace")
            data = text.replace(line_end + "data: ", "\n")
            yield [new_event((data, "message", "", None, None))]

    def ids_and_data(chunks: list[bytes]) -> Iterator[Batch]:
        for chunk in chunks:
            id, data, *_ = chunk.decode("utf-8", "replace").split(line_end)
            yield [new_event((data[6:], "message", id[4:], None, None))]

    def types_ids_and_data(chunks: list[bytes]) -> Iterator[Batch]:
        for chunk in chunks:
            type, id, data, *_ = chunk.decode("utf-8", "replace").split(line_end)
            yield [new_event((data[6:], type[7:], id[4:], None, None))]

    if fields == ["data"]:
        return data_lines
    if fields == ["id", "data"]:
        return ids_and_data
    return types_ids_and_data if fields == ["event", "id", "data"] else many_data_lines


def _fields(workload: Workload) -> list[str]:
    """Return the names of the fields that each block has."""
    lines = workload.blocks[-1].decode().splitlines()
    return [line.partition(":")[0] for line in lines if line]
