"""A pseudo-terminal to which a command of a test writes."""

from __future__ import annotations

import contextlib
import os
import struct


class Terminal:
    """The screen's side of a pseudo-terminal."""

    def __init__(self, columns: int = 60) -> None:
        import fcntl
        import pty
        import termios
        import tty

        self._screen, self.descriptor = pty.openpty()
        tty.setraw(self.descriptor)
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.seen = ""

    def read_until(self, text: str) -> None:
        """Read the output until it contains this text."""
        while text not in self.seen:
            self.seen += os.read(self._screen, 65536).decode()

    def read_all(self) -> str:
        """Read the rest, once all other processes have closed it."""
        with contextlib.suppress(OSError):  # how Linux reports the end
            while data := os.read(self._screen, 65536):
                self.seen += data.decode()
        os.close(self._screen)
        return self.seen
