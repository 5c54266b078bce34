"""The table of ``docs/comparison.md`` shows what each client does with these streams."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from pages import ROOT

from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers import Follow

    from sse_client.testing import Exchange

PEERS = ("launchdarkly-eventsource", "httpx-sse", "httpx2", "sseclient-py", "requests-sse")
for module in ("httpx", "httpx2", "httpx_sse", "ld_eventsource", "requests_sse", "sseclient"):
    pytest.importorskip(module, reason="the other clients are in requirements/peers.txt")

from peers import FOLLOW  # noqa: E402  # only if they are installed

PAGE = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
#: The part of the page before Ktor, which has its own table.
TABLE = PAGE.partition("\n## ")[0]

#: How long the server waits for a client to see an event before it continues, in seconds.
SHORT_PATIENCE = 1.0

#: More requests than any of these streams should cause.
ENDLESS = 20


@dataclass(frozen=True)
class Stream:
    """Pieces that a server sends one by one, and the data of the events in them."""

    pieces: tuple[bytes, ...]
    data: list[str]

    def is_read_by(self, follow: Follow) -> bool:
        requests = []

        def answer(exchange: Exchange) -> None:
            requests.append(exchange)
            if len(requests) > 1:
                exchange.respond(204)
                return
            exchange.open(framing="close")
            for piece in self.pieces:
                exchange.write(piece)
                exchange.wait_closed(0.02)  # so that they arrive separately
            exchange.end()

        return received(answer, follow, len(self.data)) == self.data


def received(answer: Callable[[Exchange], None], follow: Follow, count: int) -> list[str]:
    """Return the data that a client delivers, up to ``count`` + 1 items."""
    data: list[str] = []
    with SSEServer(answer) as server:
        try:
            with follow(server.url) as events:
                for text in events:
                    data.append(text)
                    if len(data) > count:
                        break
        except Exception:  # whatever error a client raises, its data counts
            pass
    return data


def delivers_at_once(follow: Follow) -> bool:
    """Whether an event arrives although the server is silent after it."""
    seen = threading.Event()
    in_time = []

    def answer(exchange: Exchange) -> None:
        if in_time:
            exchange.respond(204)
            return
        exchange.open(framing="close")
        exchange.send("a")
        in_time.append(seen.wait(SHORT_PATIENCE))
        exchange.end()

    with SSEServer(answer) as server:
        try:
            with follow(server.url) as events:
                next(events)
                seen.set()
        except Exception:  # it has not delivered the event
            pass
    return in_time == [True]


def refuses_another_type(follow: Follow) -> bool:
    def answer(exchange: Exchange) -> None:
        exchange.open(headers={"Content-Type": "text/html"})
        exchange.send("a")
        exchange.end()

    return received(answer, follow, 1) == []


def goes_on_behind_the_last_event(follow: Follow) -> bool:
    asked_for = []

    def answer(exchange: Exchange) -> None:
        asked_for.append(exchange.request.headers.get("Last-Event-ID"))
        if len(asked_for) > ENDLESS or "2" in asked_for:
            exchange.respond(204)
            return
        number = str(len(asked_for))
        exchange.send(number, id=number)
        exchange.drop()

    received(answer, follow, 1)
    return asked_for[:2] == [None, "1"]


def ends_at_204(follow: Follow) -> bool:
    answers = []

    def answer(exchange: Exchange) -> None:
        answers.append(exchange)
        if len(answers) == 1:
            exchange.send("1", id="1")
            exchange.end()
        else:
            exchange.respond(204)

    data = received(answer, follow, 1)
    return data == ["1"] and len(answers) == 2


def reads(*pieces: str | bytes, data: list[str]) -> Callable[[Follow], bool]:
    encoded = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    return Stream(tuple(encoded), data).is_read_by


PROBES: dict[str, Callable[[Follow], bool]] = {
    "ignores a leading byte order mark": reads("\ufeffdata: a\n\n", data=["a"]),
    "treats CR LF as one line end, even if it is split": reads(
        "data: a\r", "\ndata: b\r\n\r\n", data=["a\nb"]
    ),
    "ends lines at CR": reads("data: a\rdata: b\r\r", data=["a\nb"]),
    "keeps U+2028, U+0085, VT and FF within a line": reads(
        "data: a\u2028b\x85c\x0bd\x0ce\n\n", data=["a\u2028b\x85c\x0bd\x0ce"]
    ),
    "decodes a character that is split": reads(b"data: \xc3", b"\xa9\n\n", data=["\xe9"]),
    "replaces invalid UTF-8": reads(b"data: a\xffb\n\n", data=["a\ufffdb"]),
    "discards an incomplete event at the end": reads("data: a\n\ndata: b", data=["a"]),
    "dispatches no event for a block without data": reads(
        "event: x\nid: 1\n\n:\n\ndata: a\n\n", data=["a"]
    ),
    "dispatches an event for an empty data line": reads("data\n\ndata: a\n\n", data=["", "a"]),
    "delivers an event immediately if the body has no length": delivers_at_once,
    "rejects other content types": refuses_another_type,
    "reconnects and sends `Last-Event-ID`": goes_on_behind_the_last_event,
    "stops reconnecting after 204": ends_at_204,
}


def table() -> dict[str, list[str]]:
    rows = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in rows}


def test_the_table_has_a_column_for_each_client():
    assert table()["a client that"] == [f"`{name}`" for name in FOLLOW]


def test_the_table_has_a_row_for_each_probe():
    assert [row for row in table() if row not in {"a client that", "---"}] == list(PROBES)


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("client", FOLLOW)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the peers' own
def test_a_cell_says_what_the_client_does(probe, client, caplog):
    caplog.set_level(
        logging.WARNING
    )  # sseclient-py logs its response, which keeps the response alive
    does = PROBES[probe](FOLLOW[client])
    said = table()[probe][list(FOLLOW).index(client)]
    assert said == ("yes" if does else "no")


def test_the_page_names_the_versions_that_were_tested():
    for name in PEERS:
        if f"{name} {version(name)}" not in PAGE:
            pytest.skip(f"{name} {version(name)} is newer than the page")
