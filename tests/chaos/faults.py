"""The faults, their frequencies, and the plan that results from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Settings = dict[str, Any]

#: The number of faults per stream in a round, before the one that all streams share.
FAULTS_A_ROUND = 6

#: More than the size of any response header, in bytes.
_HEADER_SIZE = 200

#: The ways to end a connection.
_ENDS = ("fin", "rst")

#: Texts that precede a response, and how often each is repeated.
_GARBAGE = (
    ("\x00\x01\x02\xff\xfe", 9),
    ("garbage\r\n", 1),
    ("garbage without an end", 1),
    ("HTTP/1.1 abc\r\n", 1),
    ("HTTP/9.9 200 OK\r\n\r\n", 1),
    ("\x15\x03\x03\x00\x02\x02\x28", 1),  # a TLS alert
    ("endless", 10_000),
)


@dataclass(frozen=True)
class Fault:
    """A fault, and its target: "proxy", "origin", "names", "consumer", or all streams at once."""

    kind: str
    target: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.kind}({shown})"


def _pause(rng: random.Random) -> float:
    return round(rng.uniform(0.02, 0.4), 3)


def _cut_behind(after: int, rng: random.Random) -> Settings:
    return {"kind": "cut", "after": after, "how": rng.choice(_ENDS)}


def _cut(rng: random.Random) -> Settings:
    """Cut the next connection: in its header, soon after it, or anywhere."""
    after = rng.randrange(rng.choice((_HEADER_SIZE, 600, 30_000)))
    return {"drop": rng.choice(_ENDS), "next": [_cut_behind(after, rng)]}


def _cut_soon(rng: random.Random) -> Settings:
    """Cut the open connection, or the next one if none is open."""
    return {"now": _cut_behind(rng.randrange(400), rng)}


def _silent_start(rng: random.Random) -> Settings:
    treatment = {"kind": "silence", "after": rng.randrange(_HEADER_SIZE)}
    return {"drop": rng.choice(_ENDS), "next": [treatment]}


def _drip(rng: random.Random) -> Settings:
    return {"now": {"kind": "drip", "seconds": _pause(rng), "most": rng.choice((1, 1, 3, 7))}}


def _drip_from_start(rng: random.Random) -> Settings:
    treatment = {"kind": "drip", "seconds": _pause(rng), "most": rng.choice((1, 2, 5))}
    return {"drop": rng.choice(_ENDS), "next": [treatment]}


def _closes(rng: random.Random) -> Settings:
    treatment = {"kind": "close", "how": rng.choice(_ENDS)}
    return {"drop": rng.choice(_ENDS), "next": [treatment] * rng.randint(1, 4)}


def _garbage(rng: random.Random) -> Settings:
    text, times = rng.choice(_GARBAGE)
    treatment = {"kind": "garbage", "text": text, "times": times}
    return {"drop": rng.choice(_ENDS), "next": [treatment] * rng.randint(1, 3)}


def _bad_status(rng: random.Random) -> Settings:
    status = rng.choice((500, 502, 503, 504, 408))
    return {"now": "end", "answers": [{"status": status}] * rng.randint(1, 4)}


def _rate_limit(rng: random.Random) -> Settings:
    answer = {"status": rng.choice((429, 503)), "retry_after": 1, "as_date": rng.random() < 0.5}
    return {"now": "end", "answers": [answer]}


def _redirect(rng: random.Random) -> Settings:
    answers = [{"status": rng.choice((302, 307)), "only": rng.randint(0, 30)}]
    return {"now": "end", "answers": answers * rng.randint(1, 2)}


def _wrong_type(rng: random.Random) -> Settings:
    answer = {"type": rng.choice(("text/html", "application/json", "text/event-streams"))}
    return {"now": "end", "answers": [answer] * rng.randint(1, 3)}


def _close(rng: random.Random) -> Settings:
    """Close the session or its client, at any moment of a fault that makes closing harder."""
    under = rng.choice((*_CLOSED_UNDER, None))
    return {
        "whole_client": rng.random() < 0.4,
        "after": round(rng.uniform(0.0, 0.25), 3),
        "under": None if under is None else _make(under, rng),
    }


#: For each kind: its frequency, its target and its settings.
_OWN: dict[str, tuple[int, str, Callable[[random.Random], Settings]]] = {
    "reset": (6, "proxy", lambda _: {"drop": "rst"}),
    "end": (4, "proxy", lambda _: {"drop": "fin"}),
    "cut": (12, "proxy", _cut),
    "cut soon": (6, "proxy", _cut_soon),
    "silence": (3, "proxy", lambda rng: {"now": {"kind": "silence", "after": rng.randrange(200)}}),
    "silent start": (3, "proxy", _silent_start),
    "drip": (3, "proxy", _drip),
    "drip from start": (3, "proxy", _drip_from_start),
    "refuse": (4, "proxy", lambda rng: {"drop": rng.choice(_ENDS), "refuse": _pause(rng)}),
    "slow accept": (3, "proxy", lambda rng: {"drop": rng.choice(_ENDS), "slow": _pause(rng)}),
    "accept then close": (5, "proxy", _closes),
    "garbage": (4, "proxy", _garbage),
    "twice": (3, "proxy", lambda rng: {"drop": rng.choice(_ENDS), "next": [{"kind": "twice"}]}),
    "well ended": (3, "origin", lambda _: {"now": "end"}),
    "corrupt": (3, "origin", lambda _: {"now": "corrupt"}),
    "mute": (2, "origin", lambda _: {"now": "mute"}),
    "bad status": (4, "origin", _bad_status),
    "rate limit": (1, "origin", _rate_limit),
    "redirect": (4, "origin", _redirect),
    "wrong type": (2, "origin", _wrong_type),
    "no name": (4, "names", lambda rng: {"trouble": "fail", "seconds": _pause(rng)}),
    "slow name": (2, "names", lambda rng: {"trouble": "slow", "seconds": _pause(rng)}),
    "slow consumer": (2, "consumer", lambda rng: {"seconds": _pause(rng)}),
    "reconnect": (2, "consumer", lambda _: {}),
    "close": (6, "consumer", _close),
}

_CLOSED_UNDER = (
    "reset",
    "silence",
    "silent start",
    "drip",
    "drip from start",
    "refuse",
    "slow accept",
    "slow name",
    "slow consumer",
)

#: Faults for all streams at once.
_SHARED: dict[str, int] = {
    "origin killed": 3,
    "origin frozen": 2,
    "proxy killed": 3,
    "proxy frozen": 2,
}

KINDS = frozenset(_OWN) | frozenset(_SHARED)


def _make(kind: str, rng: random.Random) -> Fault:
    _, target, settings = _OWN[kind]
    return Fault(kind, target, settings(rng))


def _choose(weights: dict[str, int], rng: random.Random) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def own_faults(seed: int, number: int, stream: str) -> list[Fault]:
    """The faults of one stream in the round of this number."""
    rng = random.Random(f"{seed}/{number}/{stream}")
    weights = {kind: weight for kind, (weight, _, _) in _OWN.items()}
    return [_make(_choose(weights, rng), rng) for _ in range(FAULTS_A_ROUND)]


def shared_fault(seed: int, number: int) -> Fault:
    """The fault of all streams at the end of the round of this number."""
    rng = random.Random(f"{seed}/{number}")
    return Fault(_choose(_SHARED, rng), "all", {"seconds": _pause(rng)})
