"""The numbered events: their data, times and ``retry`` values follow from their numbers.

The origin creates them and the followers check them with the same functions. So a restarted origin
continues where the killed one was, and nothing has to be stored.
"""

from __future__ import annotations

#: One event in this many carries a ``retry``.
_RETRY_EVERY = 40

#: The size of a group of events. In one group in this many, all events are due at once.
_GROUP = 20
_BURST_EVERY = 5

#: One event in this many takes many packets.
_LARGE_EVERY = 251
_LARGE = 20_000

#: The minimum of all ``retry`` values, in milliseconds.
LEAST_RETRY = 20

_LINE_ENDS = ("\n", "\r\n", "\r")
_TEXTS = ("", "plain", "größer als é", "多字节 🙂🙃", "colon: and : more", " leading blank")


def data_of(number: int) -> str:
    """The data of an event: one to three lines, with one to four bytes per character."""
    lines = [f"{number} {_TEXTS[number % len(_TEXTS)]}"]
    if number % 3 == 0:
        lines.append(_TEXTS[number % 5] * (number % 7))
    if number % 4 == 0:
        lines.append("")
    if number % _LARGE_EVERY == 0:
        lines.append("x" * _LARGE)
    return "\n".join(lines)


def retry_of(number: int) -> int | None:
    """The ``retry`` that the event carries, in milliseconds."""
    return LEAST_RETRY + number % 3 * 15 if number % _RETRY_EVERY == 7 else None


def last_retry(after: int, number: int) -> int | None:
    """The latest ``retry`` of the events beyond ``after``, up to ``number``."""
    carrier = number - (number - 7) % _RETRY_EVERY
    return retry_of(carrier) if carrier > after else None


def wire_of(number: int, *, with_retry: bool = True) -> bytes:
    """The event in the wire format."""
    lines = [f"id: {number}"]
    if number % 6 == 0:
        lines.insert(0, ": a comment")
    retry = retry_of(number)
    if retry is not None and with_retry:
        lines.append(f"retry: {retry}")
    lines += [f"data: {line}" for line in data_of(number).split("\n")]
    end = _LINE_ENDS[number % len(_LINE_ENDS)]
    return f"{end.join(lines)}{end}{end}".encode()


def due(number: int, rate: float) -> float:
    """The time of the event, in seconds after the beginning. Some events come in bursts."""
    group = number // _GROUP
    return (number if group % _BURST_EVERY else group * _GROUP) / rate


def first_due(seconds: float, rate: float) -> int:
    """The first number that is due later than this many seconds after the beginning."""
    number = max(1, int(seconds * rate) - _GROUP)
    while due(number, rate) <= seconds:
        number += 1
    return number
