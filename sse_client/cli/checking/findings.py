"""Draws conclusions from the observation of a stream, in words. No I/O."""

from __future__ import annotations

import itertools
import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sse_client.cli.checking.identifiers import describe_ids
from sse_client.cli.output import one_line
from sse_client.cli.verbose import http_version, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sse_client.cli.checking.observation import Observation
    from sse_client.cli.checking.stream import Burst, StreamFacts

Level = Literal["ok", "note", "warning", "problem"]

#: If the first byte takes longer than this after the header, in seconds, there is a warning.
_LATE = 1.0

#: Common buffer sizes of servers and proxies, in bytes.
_BUFFERS = (4096, 8192, 16384, 32768)

#: The rest of a large event arrives within this time over any normal network, in seconds.
_ROUND_TRIP = 0.25

#: Proxies often close a connection that is silent for this long, in seconds.
_PROXY_PATIENCE = 60.0

#: A silence of this length shows that there are no frequent heartbeats, in seconds.
_SILENCE = 15.0

#: A silence of this length may end with a heartbeat, in seconds.
_SHORT_SILENCE = 5.0

#: Types of events that serve as heartbeats.
_HEARTBEAT = re.compile("ping|heartbeat|keep-?alive|keepalive", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One conclusion.

    Attributes:
        about: The subject.
        level: How serious it is.
        text: The conclusion, in a sentence or two.
    """

    about: str
    level: Level
    text: str


def findings_of(observation: Observation) -> list[Finding]:
    """Return the conclusions from a response and its stream."""
    facts = observation.facts
    return [
        *_about_response(observation),
        *_about_buffering(observation),
        *_about_heartbeats(observation),
        *_about_events(facts),
        *_about_lines(facts),
        *_about_retry(facts),
        *_about_end(observation),
    ]


def _about_response(observation: Observation) -> Iterator[Finding]:
    headers = observation.response.headers
    kind = headers.get("Content-Type", "")
    version = http_version(observation.response)
    yield Finding("stream", "ok", f"It is an event stream: 200, {one_line(kind)}, {version}.")
    if observation.response.history:
        target = shown_url(observation.response.url)
        yield Finding("redirect", "note", f"The request was redirected to {target}.")
    charset = re.search(r"charset=\"?([^\s;\"]+)", kind, re.IGNORECASE)
    if charset and charset[1].lower() not in {"utf-8", "utf8"}:
        text = f"The charset is {one_line(charset[1])}, but event streams are always UTF-8."
        yield Finding("charset", "warning", text)
    control = headers.get("Cache-Control", "")
    if not re.search("no-store|no-cache", control, re.IGNORECASE):
        text = "Cache-Control has neither no-store nor no-cache, so a proxy may store the stream."
        yield Finding("caching", "warning", text)
    yield from _about_compression(headers)


def _about_compression(headers: Mapping[str, str]) -> Iterator[Finding]:
    encoding = headers.get("Content-Encoding", "")
    if encoding and encoding.lower() != "identity":
        text = f"The stream is compressed ({one_line(encoding)}). The server must flush each event."
        yield Finding("compression", "note", text)
    else:
        yield Finding("compression", "ok", "The stream is not compressed.")


def _about_buffering(observation: Observation) -> Iterator[Finding]:
    facts = observation.facts
    if "Content-Length" in observation.response.headers:
        text = (
            "The response has a Content-Length: something collects the whole stream before it "
            "sends the first byte."
        )
        yield Finding("buffering", "problem", text)
        return
    if not facts.bursts:
        text = (
            f"No byte arrived within {observation.duration:.3g} s, so buffering cannot be judged."
        )
        yield Finding("buffering", "warning", text)
        return
    first = facts.bursts[0]
    timing = (
        f"The header took {observation.header_time:.2f} s, and the first byte {first.began:.2f} s "
        "more"
    )
    cut = _bursts_cut_by_a_buffer(observation)
    blocks = [burst for burst in facts.bursts if burst.size in _BUFFERS]
    if cut or len(blocks) > 1:
        text = f"{timing}. {len(cut or blocks)} of {len(facts.bursts)} bursts "
        text += "end inside an event" if cut else "have the size of a buffer"
        text += ": something in between collects bytes instead of passing on each event."
        text += _buffering_hint(observation.response.headers)
        yield Finding("buffering", "problem", text)
    elif first.began > _LATE and first.events > 1:
        text = f"{timing}, and then {first.events} events arrived at once: they may be buffered."
        yield Finding("buffering", "warning", text)
    elif len(facts.bursts) > 1 and facts.events:
        average = len(facts.events) / len(facts.bursts)
        text = f"{timing}. {_count(len(facts.events), 'event')} arrived in {len(facts.bursts)} "
        text += f"bursts, on average {average:.2g} per burst. Nothing seems to buffer the stream."
        yield Finding("buffering", "ok", text)
    else:
        text = f"{timing}. There was a single burst, so buffering cannot be judged for certain."
        yield Finding("buffering", "note", text)


def _bursts_cut_by_a_buffer(observation: Observation) -> list[Burst]:
    """Return the bursts that end inside an event whose rest arrived clearly later."""
    bursts = observation.facts.bursts
    rests = [*(burst.began for burst in bursts[1:]), observation.duration]
    return [
        burst
        for burst, rest in zip(bursts, rests, strict=True)
        if not burst.is_whole and burst.size >= _BUFFERS[0] and rest - burst.ended >= _ROUND_TRIP
    ]


def _buffering_hint(headers: Mapping[str, str]) -> str:
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        return " The compression may cause this: it must be flushed after each event."
    server = f"{headers.get('Server', '')} {headers.get('Via', '')}".strip()
    if "nginx" in server.lower():
        return " nginx does not buffer a response with the header X-Accel-Buffering: no."
    return f" The response names {one_line(server)}." if server else ""


def _about_heartbeats(observation: Observation) -> Iterator[Finding]:
    facts = observation.facts
    beats = list(facts.comments)
    kind = "comments"
    if not beats:
        beats = [at for at, event in facts.events if _HEARTBEAT.fullmatch(event.event)]
        kind = "events"
    gaps = [later - earlier for earlier, later in itertools.pairwise(beats)]
    if len(gaps) > 1 and statistics.median(gaps) > 0:
        every = statistics.median(gaps)
        level: Level = "warning" if every >= _PROXY_PATIENCE else "ok"
        text = f"Heartbeats ({kind}) arrive about every {every:.2g} s."
        if level == "warning":
            text += f" Many proxies close a connection that is silent for {_PROXY_PATIENCE:g} s."
        yield Finding("heartbeats", level, text)
        return
    if beats:
        text = f"{_count(len(beats), kind.removesuffix('s'))} arrived that may be heartbeats, "
        yield Finding("heartbeats", "note", text + "too few to determine an interval.")
        return
    silence = _longest_silence(observation)
    if silence >= _SILENCE:
        text = f"No heartbeat arrived in {silence:.0f} s. Proxies close silent connections."
        yield Finding("heartbeats", "warning", text)
    else:
        text = f"No heartbeat arrived. The longest silence was {silence:.2g} s."
        if silence >= _SHORT_SILENCE:
            text += " A longer --duration may show one."
        yield Finding("heartbeats", "note", text)


def _longest_silence(observation: Observation) -> float:
    moments = [0.0]
    for burst in observation.facts.bursts:
        moments += [burst.began, burst.ended]
    moments.append(observation.duration)
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def _about_events(facts: StreamFacts) -> Iterator[Finding]:
    if not facts.events:
        yield Finding("events", "warning", "No event arrived.")
        return
    kinds = sorted({one_line(event.event) for _, event in facts.events})
    shown = ", ".join(kinds[:5]) + (", ..." if len(kinds) > 5 else "")  # noqa: PLR2004
    text = f"{_count(len(facts.events), 'event')} arrived, of these types: {shown}."
    text += f" The largest has {_count(facts.largest, 'character')} of data."
    yield Finding("events", "ok", text)
    level, text = describe_ids([event.id for _, event in facts.events], facts.events_with_id)
    yield Finding("ids", level, text)


def _about_lines(facts: StreamFacts) -> Iterator[Finding]:
    if not facts.size:
        return
    if not facts.invalid_count:
        yield Finding("lines", "ok", "All lines are valid.")
        return
    shown = " ".join(
        f"Line {line.number}, {one_line(line.text)!r}: {line.reason}." for line in facts.invalid
    )
    text = f"{_count(facts.invalid_count, 'line')} {_are(facts.invalid_count)} invalid. {shown}"
    yield Finding("lines", "problem", text)


def _about_retry(facts: StreamFacts) -> Iterator[Finding]:
    if facts.retries:
        text = (
            f"The server asks clients to wait {facts.retries[-1] / 1000:g} s before they reconnect."
        )
    else:
        text = "The server sends no retry, so each client has its own reconnection time."
    yield Finding("retry", "ok" if facts.retries else "note", text)


def _about_end(observation: Observation) -> Iterator[Finding]:
    after = f"after {round(observation.duration, 2):g} s"
    if observation.end == "end":
        text = f"The server ended the stream {after}. Browsers then reconnect."
        yield Finding("end", "note", text)
    elif observation.end:
        text = f"The stream was cut off {after}: {one_line(observation.end)}."
        yield Finding("end", "problem", text)


def about_cors(headers: Mapping[str, str], origin: str) -> Finding:
    """Return a conclusion on whether pages of another origin may read the stream in a browser.

    Args:
        headers: The headers of a response to a request from that origin.
        origin: The origin.
    """
    allowed = headers.get("Access-Control-Allow-Origin")
    if allowed is None:
        text = f"A page of {origin} may not read it in a browser: there is no CORS header."
        return Finding("cors", "note", text)
    if allowed == "*":
        return Finding("cors", "ok", "Any page in a browser may read it, but without cookies.")
    if allowed.rstrip("/").lower() != origin.rstrip("/").lower():
        text = f"Only pages of {one_line(allowed)} may read it in a browser, not those of {origin}."
        return Finding("cors", "note", text)
    cookies = headers.get("Access-Control-Allow-Credentials", "").lower() == "true"
    text = (
        f"A page of {origin} may read it in a browser, {'with' if cookies else 'without'} cookies."
    )
    return Finding("cors", "ok", text)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
