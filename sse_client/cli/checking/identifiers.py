"""Judges the IDs of events: whether they exist and increase, and whether a server resumes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sse_client.cli.checking.observation import Observation

_Level = Literal["ok", "note", "warning", "problem"]


def describe_ids(ids: Sequence[str], count_with_id: int) -> tuple[_Level, str]:
    """Return a level and a text on whether events have IDs that differ and increase.

    Args:
        ids: The last event ID at each event.
        count_with_id: The number of events with their own ID.
    """
    if not count_with_id:
        return "warning", "The events have no IDs, so a client that reconnects misses events."
    if count_with_id < len(ids):
        have = "has" if count_with_id == 1 else "have"
        text = f"Only {count_with_id} of {len(ids)} events {have} an ID, so a client that "
        return "warning", f"{text}reconnects may get the others again."
    return _describe_own_ids([each for each in ids if each])


def _describe_own_ids(own: Sequence[str]) -> tuple[_Level, str]:
    if len(set(own)) < len(own):
        return "problem", "Each event has an ID, but some have the same one."
    if len(own) < 2:  # noqa: PLR2004  # two can be compared
        return "ok", "Each event has an ID."
    keys = _comparable(own)
    if keys is None:
        return "ok", "Each event has its own ID. Their order cannot be judged."
    if keys == sorted(keys):
        return "ok", "Each event has its own ID, and they increase."
    return "note", "Each event has its own ID, but they do not increase."


def _comparable(ids: Sequence[str]) -> list[tuple[object, ...]] | None:
    """Return sort keys for IDs of a known form, or None for other forms."""
    if all(re.fullmatch("[0-9]{1,40}(-[0-9]{1,40})?", each) for each in ids):
        return [tuple(map(int, each.split("-"))) for each in ids]
    is_of_one_length = len({len(each) for each in ids}) == 1
    if is_of_one_length and all(re.fullmatch("[0-9A-Za-z-]{10,}", each) for each in ids):
        return [(each,) for each in ids]
    return None


def describe_resumption(
    first: Observation, second: Observation, last_event_id: str
) -> tuple[_Level, str]:
    """Return a level and a text on whether a server continues after an ID.

    Args:
        first: The observation without an ID.
        second: The observation with the ID, until the first event.
        last_event_id: The ID.
    """
    status = second.response.status_code
    if status == 204:  # noqa: PLR2004  # its name says less
        return "note", "The server responds with 204 (do not reconnect) to an ID that it has sent."
    if status != 200:  # noqa: PLR2004  # the same
        return "problem", f"The server refuses an ID that it has sent, with status {status}."
    if not second.facts.events:
        text = f"No event arrived within {second.duration:.2g} s of a request with Last-Event-ID, "
        return "note", f"{text}so it is unknown whether the stream continues there."
    known = [event.id for _, event in first.facts.events]
    return _describe_continuation(known, last_event_id, second.facts.events[0][1].id)


def _describe_continuation(
    known: Sequence[str], last_event_id: str, got: str
) -> tuple[_Level, str]:
    later = [each for each in known[known.index(last_event_id) :] if each != last_event_id]
    if later and got == later[0]:
        return "ok", "Last-Event-ID is respected: the stream continues with the event after it."
    if got == last_event_id:
        return "problem", "With Last-Event-ID, the server repeats the event with that ID."
    if got in known:
        place = "the beginning" if known.index(got) == 0 else "another event"
        return "problem", f"Last-Event-ID is ignored: the stream starts again at {place}."
    if later:
        text = "Last-Event-ID is ignored: the stream continues with the newest events, so a client "
        return "problem", f"{text}that reconnects misses the events in between."
    return "ok", "With the last ID, the stream continues with a new event."
