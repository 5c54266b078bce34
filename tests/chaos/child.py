"""A process that takes orders and sends reports, each as a line of JSON."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Its callers run as scripts, too.
sys.path.append(str(Path(__file__).parents[1]))

from processes import Process

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

HERE = Path(__file__).parent

#: The maximum wait for anything, in seconds. Anything longer is a hang.
PATIENCE = 20.0

#: The reports that `Child.wait_for` waits for. All others go to ``on_report``.
_AWAITED = {"ready", "finishing", "ended"}


class Ports:
    """Ports that stay reserved while nothing listens there, each by a bound socket."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def take(self) -> int:
        held = socket.socket()
        self._held.append(held)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port

    def __enter__(self) -> Ports:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for held in self._held:
            held.close()


class Child:
    """A script of this folder in its own process, whose reports go to ``on_report``."""

    def __init__(
        self,
        script: str,
        config: object,
        on_report: Callable[[dict[str, Any]], object] = lambda _: None,
    ) -> None:
        self._command = [sys.executable, str(HERE / script), json.dumps(config)]
        self._on_report = on_report
        self._changed = threading.Condition()
        self._orders = 0
        self._over: dict[int, float] = {}
        self._reports: dict[str, dict[str, Any]] = {}

    def start(self) -> float:
        """Start it, wait until it is ready, and return the time."""
        self._reports.clear()
        self._process = Process(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        at: float = self.wait_for("ready")["at"]
        return at

    def _read(self, process: Process) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                report = json.loads(line)
            except ValueError:
                continue  # from a process that was killed in the middle of a line
            what = report["what"]
            if what != "over" and what not in _AWAITED:
                self._on_report(report)
                continue
            with self._changed:
                if what == "over":
                    self._over[report["order"]] = report["at"]
                else:
                    self._reports[what] = report
                self._changed.notify_all()

    def order(self, **order: object) -> int:
        """Give an order. Return its number."""
        with self._changed:
            self._orders += 1
            number = self._orders
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**order, "order": number}) + "\n")
            self._process.stdin.flush()
        return number

    def wait_until_over(self, number: int) -> float:
        """Wait until an order has been carried out, and return the time."""
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._over, PATIENCE):
                raise TimeoutError(f"{self._command[1]}: no end of an order within {PATIENCE} s")
            return self._over.pop(number)

    def wait_for(self, what: str) -> dict[str, Any]:
        """Wait for the report of this name."""
        with self._changed:
            if not self._changed.wait_for(lambda: what in self._reports, PATIENCE):
                raise TimeoutError(f"{self._command[1]} was not {what} within {PATIENCE} s")
            return self._reports[what]

    def freeze(self) -> None:
        """Stop the process, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
