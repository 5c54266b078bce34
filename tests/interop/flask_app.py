"""The application that Flask serves, with or without nginx. See ``ledger`` for the streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify, request
from ledger import Ledger, Ledgers

if TYPE_CHECKING:
    from collections.abc import Iterator

app = Flask(__name__)
ledgers = Ledgers()


@app.get("/numbers")
@app.get("/paced")
def stream() -> Response:
    ledger = ledgers[request.args["key"]]
    first = ledger.begin(request.method, dict(request.headers))
    if first > int(request.args["last"]):
        return Response(status=204)
    chosen = ledger.numbers if request.path == "/numbers" else ledger.paced
    chunks = chosen(first, request.args.to_dict())
    return Response(counted(ledger, chunks), mimetype="text/event-stream")


def counted(ledger: Ledger, chunks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    finally:
        ledger.end()


@app.get("/acknowledge")
@app.get("/requests")
@app.get("/ended")
def answer() -> Response:
    query = request.args.to_dict()
    return jsonify(ledgers[query["key"]].answer(request.path, query))
