"""Follows several streams at once, each in its own thread.

The main thread waits for the others, and closes their sessions if it is interrupted. The others end
when their streams end or are closed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sse_client.cli.opening import Opener

#: How often the main thread checks for signals, in seconds. On Windows Ctrl-C interrupts no wait.
_LOOK = 0.5


def run_each(
    follow: Callable[[str, str], None],
    streams: Sequence[tuple[str, str]],
    opened: Opener,
    report: Callable[[BaseException, str], int],
) -> int:
    """Follow all streams until the last one has ended.

    Args:
        follow: Follows a stream, given its address and its name. Blocks.
        streams: The addresses and the names.
        opened: Closes all of them.
        report: Reports the failure of a stream, and returns the exit status for it.

    Returns:
        The highest exit status.
    """
    statuses = [0]

    def run(url: str, name: str) -> None:
        try:
            follow(url, name)
        except BrokenPipeError:
            opened.close()
        except Exception as error:  # noqa: BLE001  # each is reported, and the others continue
            if not opened.is_closed:
                statuses.append(report(error, name))

    threads = [
        threading.Thread(target=run, args=stream, name=f"sse-client:{number}", daemon=True)
        for number, stream in enumerate(streams)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK)
    except BaseException:
        opened.close()
        for thread in threads:
            thread.join(_LOOK)
        raise
    return max(statuses)
