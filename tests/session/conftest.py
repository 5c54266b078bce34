"""Runs the tests of sessions with either driver: the shared reader, or one thread per stream."""

from __future__ import annotations

import os

import pytest

from sse_client import SSEConfig


@pytest.fixture(autouse=True)
def driver(request, monkeypatch):
    """Give each stream its own thread if OWN_THREAD=1 is in the environment."""
    is_about_it = request.path.name == "test_shared_reader.py"
    if os.environ.get("OWN_THREAD") and not is_about_it:
        monkeypatch.setattr(SSEConfig, "_may_share", lambda self, clock: False)
