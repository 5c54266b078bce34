"""``each_of`` calls a test with each case of a table, and names the case that fails."""

from __future__ import annotations

import inspect

import pytest
from tables import each_of


def test_each_case_is_tried_in_each_combination():
    tried = []

    @each_of("number", [1, 2])
    @each_of(("letter", "case"), [("a", "lower"), ("B", "upper")])
    def run(tried, number, letter, case):
        tried.append((number, letter, case))

    assert list(inspect.signature(run).parameters) == ["tried"]
    run(tried=tried)
    assert tried == [(1, "a", "lower"), (1, "B", "upper"), (2, "a", "lower"), (2, "B", "upper")]


def test_the_case_that_fails_is_named():
    @each_of(("number", "is_right"), [(1, True), (2, False), (3, False)])
    def run(number, is_right):
        assert is_right, number

    with pytest.raises(AssertionError, match="2") as caught:
        run()
    assert caught.value.__notes__ == ["in the case (2, False)"]


def test_a_table_without_cases_is_refused():
    with pytest.raises(AssertionError, match="no case means no test"):
        each_of("number", [])
