"""The application of http.server, in HTTP/1.0, where a stream ends with the connection.

See ``ledger`` for the streams.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from ledger import Ledger, Ledgers, StreamBreakError

ledgers = Ledgers()

#: Makes closing send a reset instead of an orderly end.
AT_ONCE = struct.pack("ii", 1, 0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        ledger = ledgers[query["key"]]
        if parts.path in {"/numbers", "/paced"}:
            self._stream(ledger, parts.path, query)
        else:
            body = json.dumps(ledger.answer(parts.path, query)).encode()
            self._send_head(200, "application/json")
            self.wfile.write(body)

    def _stream(self, ledger: Ledger, path: str, query: dict[str, str]) -> None:
        first = ledger.begin(self.command, dict(self.headers))
        if first > int(query["last"]):
            self._send_head(204, "text/plain")
            return
        self._send_head(200, "text/event-stream")
        try:
            for chunk in (ledger.numbers if path == "/numbers" else ledger.paced)(first, query):
                self.wfile.write(chunk)
        except StreamBreakError:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self.connection.close()
        except ConnectionError:
            self.log_message("the client has gone")
        finally:
            ledger.end()

    def _send_head(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
