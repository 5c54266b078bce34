"""The numbered events: what each holds, when it is due and what it asks for, by its number alone.

The origin makes them and the followers judge them by the same functions, so a restarted origin goes
on where the killed one was, and nobody has to remember what an event was.
"""

from __future__ import annotations

#: Every so many events one carries a ``retry``; and the last of them brings a burst.
_RETRY_EVERY = 40
_GROUP = 20
_BURST_EVERY = 5

#: An event that takes many packets, every so many numbers.
_LARGE_EVERY = 251
_LARGE = 20_000

#: The least that any ``retry`` asks for, in milliseconds.
LEAST_RETRY = 20

_LINE_ENDS = ("\n", "\r\n", "\r")
_TEXTS = ("", "plain", "größer als é", "多字节 🙂🙃", "colon: and : more", " leading blank")


def data_of(number: int) -> str:
    """What the event holds: one to three lines, short or long, of one to four bytes a character."""
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
    """What the latest ``retry`` of the events beyond ``after``, up to ``number``, asks for."""
    carrier = number - (number - 7) % _RETRY_EVERY
    return retry_of(carrier) if carrier > after else None


def wire_of(number: int, *, with_retry: bool = True) -> bytes:
    """The event as it travels."""
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
    """When the event comes to be, in seconds after the beginning; some come in bursts."""
    group = number // _GROUP
    return (number if group % _BURST_EVERY else group * _GROUP) / rate


def first_due(seconds: float, rate: float) -> int:
    """The first number that is due later than so many seconds after the beginning."""
    number = max(1, int(seconds * rate) - _GROUP)
    while due(number, rate) <= seconds:
        number += 1
    return number
