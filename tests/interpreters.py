"""Interpreters that are started for one test, and run a script with a client."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from support import PATIENCE

#: The beginning of each script.
PREAMBLE = """
import atexit, os, queue, signal, socket, sys, threading, time, warnings
from sse_client import SSE, BearerAuth, HttpClient, SessionClosedError, UnexpectedStatusError, merge

warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
url = sys.argv[1]
sent = threading.Event()


class Tell:
    def on_request(self, request):
        sent.set()


client = HttpClient().install(SSE, reconnection_time=3600).install(Tell)


def in_background(call):
    # Python prints the error of the call, if there is one.
    threading.Thread(target=call, daemon=True).start()
    assert sent.wait(20)


def when_main_waits(act):
    # Once the main thread is in the same wait twice. Its short wait for a thread that it starts
    # does not count.
    waits = {"acquire", "wait", "join", "_wait_for_tstate_lock", "_wait_in_steps"}
    starting = threading.Thread.start.__code__

    def calls(frame):
        while frame is not None:
            yield frame.f_code
            frame = frame.f_back

    def look():
        before = None
        while True:
            frame = sys._current_frames()[threading.main_thread().ident]
            if frame.f_code.co_name not in waits or starting in calls(frame):
                frame = None
            if frame is not None and frame is before:
                act()
                return
            before = frame
            threading.Event().wait(0.01)

    threading.Thread(target=look, daemon=True).start()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
"""


def start(script, *arguments):
    """Start an interpreter with a script."""
    source = PREAMBLE + textwrap.dedent(script)
    # This process may ignore SIGINT, which children inherit.
    source = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n" + source
    return subprocess.Popen(
        [sys.executable, "-W", "default", "-c", source, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Wait for a process. Return its status and its output."""
    with process:
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"it hangs; its output: {out!r} and {err!r}")
    return process.returncode, out, err


def run(script, *arguments):
    return ended(start(script, *arguments))
