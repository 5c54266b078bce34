"""What the tests of the relay may ask for."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis_process import RedisProcess

# The server of numbered events, and processes that report, are those of the chaos suite.
sys.path.append(str(Path(__file__).parent.parent / "chaos"))

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def redis(tmp_path_factory) -> Iterator[RedisProcess]:
    """A Redis that has just started, and is empty."""
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture
def seed() -> int:
    """Another one each time, or that of the environment."""
    given = os.environ.get("CHAOS_SEED")
    return random.SystemRandom().randrange(2**32) if given is None else int(given)
