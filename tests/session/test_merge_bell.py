"""The bells that wake the consumer of merged sessions."""

from __future__ import annotations

import errno
import os
import threading
from types import SimpleNamespace

import pytest
from support import Running

from sse_client import clock
from sse_client.session import merge_bell
from sse_client.session.merge_bell import FileBell, LockBell, new_merge_bell

pytestmark = pytest.mark.skipif(not hasattr(os, "eventfd"), reason="only where there is an eventfd")


class Shares(list):
    """Calls a function when the waiting thread checks them."""

    def __init__(self, when_checked):
        self._when_checked = when_checked

    def __bool__(self):
        self._when_checked()
        return len(self) > 0


of_each_kind = pytest.mark.parametrize("kind", [LockBell, FileBell])


@of_each_kind
def test_a_share_that_is_there_needs_no_ring(kind):
    kind().wait_unless(["share"])


@of_each_kind
def test_a_ring_ends_a_wait(kind):
    bell = kind()
    shares, checked = [], threading.Semaphore(0)
    waiting = Running(lambda: bell.wait_unless(Shares(checked.release)))
    assert checked.acquire(timeout=20)
    shares.append("share")
    bell.ring()
    assert waiting.outcome() is None


@of_each_kind
def test_a_ring_right_after_the_check_ends_the_wait(kind):
    bell = kind()
    waiting = Running(lambda: bell.wait_unless(Shares(bell.ring)))
    assert waiting.outcome() is None


@of_each_kind
def test_a_bell_can_be_used_again(kind):
    bell = kind()
    for _ in range(3):
        assert Running(lambda: bell.wait_unless(Shares(bell.ring))).outcome() is None


def test_a_ring_while_nothing_waits_writes_nothing(monkeypatch):
    bell = FileBell()
    monkeypatch.setattr(os, "eventfd_write", None)
    bell.ring()


def watch_writes(monkeypatch, write):
    """Call a function before each write to the file of a bell. Return the list of its results."""
    written = []

    def note_and_write(descriptor, value):
        written.append(write())
        os.eventfd_write(descriptor, value)

    watched = SimpleNamespace(
        eventfd=os.eventfd, eventfd_read=os.eventfd_read, eventfd_write=note_and_write
    )
    monkeypatch.setattr(merge_bell, "_os", watched)
    return written


def raising_once():
    """A function that raises a KeyboardInterrupt at its first call."""
    signals = [KeyboardInterrupt]

    def interrupt_once():
        if signals:
            raise signals.pop()

    return interrupt_once


def test_several_rings_before_the_woken_thread_runs_write_once(monkeypatch):
    written = watch_writes(monkeypatch, lambda: None)
    bell = FileBell()

    def ring_thrice():
        for _ in range(3):
            bell.ring()

    assert Running(lambda: bell.wait_unless(Shares(ring_thrice))).outcome() is None
    assert len(written) == 1


def test_a_ring_after_an_interrupted_one_wakes_the_thread(monkeypatch):
    written = watch_writes(monkeypatch, raising_once())
    bell = FileBell()

    def ring_twice():
        with pytest.raises(KeyboardInterrupt):
            bell.ring()
        bell.ring()

    assert Running(lambda: bell.wait_unless(Shares(ring_twice))).outcome() is None
    assert len(written) == 1


def test_an_interrupted_ring_wakes_the_thread(monkeypatch):
    """Other threads that rang in the meantime rely on it."""
    watch_writes(monkeypatch, raising_once())
    bell = FileBell()

    def ring():
        with pytest.raises(KeyboardInterrupt):
            bell.ring()

    assert Running(lambda: bell.wait_unless(Shares(ring))).outcome() is None


def test_the_main_thread_waits_in_steps(monkeypatch):
    """A signal that arrives as a wait begins does not interrupt the wait."""
    monkeypatch.setattr(clock, "_MAIN_THREAD", threading.get_ident())
    monkeypatch.setattr(merge_bell, "FIRST_WAIT", 0.0)
    bell, steps = FileBell(), []
    poll = merge_bell.select.poll

    class Poll:
        def __init__(self):
            self._poll = poll()
            self.register = self._poll.register

        def poll(self, milliseconds):
            steps.append(milliseconds)
            if len(steps) == 2:
                bell.ring()
            return self._poll.poll(milliseconds)

    monkeypatch.setattr(merge_bell.select, "poll", Poll)
    bell.wait_unless([])
    assert steps == [0.0, 0.0]


@of_each_kind
def test_an_interrupted_wait_does_not_spoil_the_next(kind):
    bell = kind()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bell.wait_unless(Shares(interrupt))
    bell.ring()
    assert Running(lambda: bell.wait_unless(Shares(bell.ring))).outcome() is None


class TestNewBell:
    def test_has_a_file(self):
        assert type(new_merge_bell()) is (FileBell if merge_bell.HAS_GIL else LockBell)

    @pytest.mark.parametrize("lacks", ["lock", "selector", "eventfd", "descriptors"])
    def test_has_none_if_that_is_not_possible(self, monkeypatch, lacks):
        def refuse(value):
            raise OSError(errno.EMFILE, "too many open files")

        if lacks == "lock":
            monkeypatch.setattr(merge_bell, "HAS_GIL", False)
        elif lacks == "selector":
            monkeypatch.setattr(merge_bell, "can_share", lambda: False)
        elif lacks == "eventfd":
            monkeypatch.delattr(os, "eventfd")
        else:
            monkeypatch.setattr(os, "eventfd", refuse)
        assert type(new_merge_bell()) is LockBell
