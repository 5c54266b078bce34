"""Fixtures of the chaos tests."""

from __future__ import annotations

import os
import random

import pytest
from certificates import Certificates, issue


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def seed() -> int:
    """A new seed each time, or the seed from the environment."""
    given = os.environ.get("CHAOS_SEED")
    return random.SystemRandom().randrange(2**32) if given is None else int(given)
