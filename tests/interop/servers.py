"""Servers in their own processes, and the addresses of the streams of one test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import requests
from commands import find_command
from processes import Process

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

HERE = Path(__file__).parent

#: How long a server may take to start, to respond or to stop, in seconds.
PATIENCE = 20.0

#: The interval between two checks whether a server listens, in seconds.
_LOOK_AGAIN = 0.02

NGINX = find_command("nginx")

NODE = find_command("node")

#: Where ``.ci/run`` installs npm packages.
NPM = HERE.parent.parent / "build/npm/node_modules"

#: A server of the TypeScript SDK of MCP.
EVERYTHING = NPM / "@modelcontextprotocol/server-everything/dist/index.js"

_NGINX_CONF = Template("""
daemon off;
$user
worker_processes 1;
worker_shutdown_timeout 100ms;  # after a reload the old worker's streams break off
pid nginx.pid;
error_log error.log info;
events {
    worker_connections 256;
}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering off;

    server {
        listen 127.0.0.1:$port;
        listen 127.0.0.1:$tls_port ssl http2;
        ssl_certificate $certificate;
        ssl_certificate_key $certificate;

        location / {
            proxy_pass http://127.0.0.1:$upstream;
        }
        location /zipped/ {
            proxy_pass http://127.0.0.1:$upstream/;
            gzip on;
            gzip_types text/event-stream;
            gzip_min_length 0;
        }
        location /impatient/ {
            proxy_pass http://127.0.0.1:$upstream/;
            proxy_read_timeout 300ms;
        }
    }
}
""")


class Server(ABC):
    """A server in its own process, on ports that stay reserved while it is down.

    A socket that is bound but does not listen keeps each port. No other process gets the port, and
    connections are refused while the server is down.
    """

    def __init__(self, folder: Path, ports: int = 1) -> None:
        self.folder = folder
        self._process: Process | None = None
        self._reservations = []
        for _ in range(ports):
            reservation = socket.socket()
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reservation.bind(("127.0.0.1", 0))
            self._reservations.append(reservation)
        self.ports = [reservation.getsockname()[1] for reservation in self._reservations]
        self.port: int = self.ports[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def command(self) -> list[str]:
        """The command that runs the server."""

    def start(self) -> None:
        """Start the process, and wait until it listens on all ports."""
        log = self.folder / "output.log"
        with log.open("ab") as output:
            self._process = Process(
                self.command(), cwd=HERE, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE
        pause = threading.Event()
        while not all(map(_is_listened_on, self.ports)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                shown = log.read_text("utf-8", "replace")
                raise RuntimeError(f"{self.command()} did not start:\n{shown}")
            pause.wait(_LOOK_AGAIN)

    def stop(self) -> None:
        """Let the process end in an orderly way, and wait for that."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._free_ports()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._free_ports()

    def _free_ports(self) -> None:
        for reservation in self._reservations:
            reservation.close()


def _is_listened_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Uvicorn(Server):
    def command(self) -> list[str]:
        # Streams that a failed test has left open are not waited for.
        options = ["--port", str(self.port), "--timeout-graceful-shutdown", "5"]
        return [sys.executable, "-m", "uvicorn", "asgi_app:app", *options]


class Flask(Server):
    def command(self) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", "flask_app", "run", "-p", str(self.port)]


class HttpServer(Server):
    def command(self) -> list[str]:
        return [sys.executable, "http_app.py", str(self.port)]


class Mcp(Server):
    def command(self) -> list[str]:
        # Streams that a failed test has left open are not waited for.
        options = ["--port", str(self.port), "--timeout-graceful-shutdown", "5"]
        return [sys.executable, "-m", "uvicorn", "mcp_app:app", *options]


class Everything(Server):
    """The server "everything" of the TypeScript SDK, as installed by npm."""

    def command(self) -> list[str]:
        assert NODE is not None
        return ["env", f"PORT={self.port}", NODE, str(EVERYTHING), "streamableHttp"]


class Nginx(Server):
    """nginx in front of another server, run by the user who runs the tests."""

    def __init__(self, folder: Path, upstream: Server, certificate: Path) -> None:
        super().__init__(folder, ports=2)
        conf = folder / "nginx.conf"
        conf.write_text(
            _NGINX_CONF.substitute(
                # root's nginx would run its workers as another user, who cannot read this folder.
                user="user root;" if os.geteuid() == 0 else "",
                port=self.ports[0],
                tls_port=self.ports[1],
                upstream=upstream.port,
                certificate=certificate,
            )
        )

    @property
    def tls_url(self) -> str:
        return f"https://127.0.0.1:{self.ports[1]}"

    def command(self) -> list[str]:
        assert NGINX is not None
        folder = str(self.folder)
        return [NGINX, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]

    def reload(self) -> None:
        """Replace the workers. The old workers soon break off their streams."""
        subprocess.run([*self.command(), "-s", "reload"], check=True, timeout=PATIENCE)


@dataclass(frozen=True)
class Origin:
    """A server, and the key for the records of one test's streams.

    Attributes:
        root: The address of the server.
        verify: As in requests.
        key: Unique for each test, so that tests can share a server.
    """

    root: str
    verify: bool | str = True
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def url(self, path: str, **parameters: object) -> str:
        return f"{self.root}{path}?{urlencode({'key': self.key, **parameters})}"

    def ask(self, path: str, **parameters: object) -> Any:
        """Request JSON, and return it."""
        response = requests.get(self.url(path, **parameters), verify=self.verify, timeout=PATIENCE)
        response.raise_for_status()
        return response.json()

    def acknowledge(self, number: int) -> None:
        """Let ``/paced`` send the event after this number."""
        self.ask("/acknowledge", number=number)

    def wait_until_ended(self, streams: int = 1) -> None:
        """Wait until the server has seen the end of this many streams."""
        self.ask("/ended", streams=streams)

    @property
    def requests(self) -> list[dict[str, str]]:
        """The headers of each request for a stream, in lower case, and its ``:method``."""
        seen: list[dict[str, str]] = self.ask("/requests")
        return seen

    @property
    def asked_for(self) -> list[str | None]:
        """The Last-Event-ID of each request for a stream."""
        return [request.get("last-event-id") for request in self.requests]
