"""Marks for tests that need features of only some systems."""

from __future__ import annotations

import os

import pytest

needs_posix = pytest.mark.skipif(
    os.name != "posix",
    reason="Windows has no such pipes, modes, signals, shells or terminals, and keeps open files",
)
