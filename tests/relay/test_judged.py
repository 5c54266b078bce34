"""Relays, consumers and Redis itself fail repeatedly: nothing is lost or repeated."""

from __future__ import annotations

import pytest
from judged import Judgement, judged_run

#: The number of faults, and of relays and consumers.
RUNS = [pytest.param(4, 2, id="short"), pytest.param(15, 3, id="long", marks=pytest.mark.ci)]


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("faults", "copies"), RUNS)
def test_nothing_is_lost_or_doubled_whatever_is_killed(seed, tmp_path, faults, copies):
    judgement = judged_run(seed, tmp_path, faults, copies=copies)
    print(judgement)
    assert judgement.holds, f"to repeat it: CHAOS_SEED={seed}\n{judgement}"


def entry(number):
    from numbered import data_of

    return str(number), data_of(number)


@pytest.mark.parametrize(
    ("numbers", "lost", "doubled", "misplaced"),
    [
        ([1, 2, 3], 0, 0, 0),
        ([1, 3], 1, 0, 1),
        ([1, 2, 2, 3], 0, 1, 2),
        ([2, 1, 3], 0, 0, 2),
    ],
)
def test_the_stream_is_judged(numbers, lost, doubled, misplaced):
    judgement = Judgement(seed=0)
    judgement.judge_stream([entry(number) for number in numbers], last=3)
    assert (judgement.lost, judgement.doubled, judgement.misplaced) == (lost, doubled, misplaced)
    assert judgement.holds == (numbers == [1, 2, 3])


@pytest.mark.parametrize(
    ("processed", "tolerated", "holds"),
    [([1, 2, 3], 0, True), ([1, 2, 2, 3], 1, True), ([1, 2, 2, 3], 0, False), ([1, 2], 9, False)],
)
def test_the_ledger_is_judged(processed, tolerated, holds):
    judgement = Judgement(seed=0, tolerated=tolerated)
    judgement.judge_stream([entry(number) for number in (1, 2, 3)], last=3)
    judgement.judge_ledger(processed, last=3)
    assert judgement.holds is holds
