"""A client that is killed and started again continues where it was."""

from __future__ import annotations

import pytest
from kills import Kills, kill_again_and_again


# A short version, without a proxy, is in tests/cursors/test_keeper.py.
@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.ci
@pytest.mark.timeout(180)
def test_nothing_is_lost_when_the_client_is_killed(seed, tmp_path):
    kills = kill_again_and_again(seed, tmp_path, 12, 0.0)
    print(kills)
    assert not kills.violations, f"to repeat it: CHAOS_SEED={seed}\n{kills}"
    assert kills.processed > 0
    assert kills.doubled <= kills.count


@pytest.mark.parametrize(
    ("lives", "doubled", "violations"),
    [
        pytest.param([[1, 2], [3]], 0, 0, id="once"),
        pytest.param([[1, 2], [], [2, 3]], 1, 0, id="the one in hand again"),
        pytest.param([[1, 2], [4]], 0, 1, id="one lost"),
        pytest.param([[1, 2], [1, 2, 3]], 0, 1, id="more than the one in hand"),
        pytest.param([[1, 2, 2], [3]], 0, 1, id="again without a kill"),
        pytest.param([[1, 2], [3, 2]], 0, 1, id="out of order"),
        pytest.param([[1], [2]], 0, 1, id="not all"),
    ],
)
def test_the_ledger_is_judged(lives, doubled, violations):
    kills = Kills(seed=0)
    kills.judge(lives, last=3)
    assert (kills.doubled, len(kills.violations)) == (doubled, violations)
