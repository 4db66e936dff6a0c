"""Calls at their time, and how much of a type may be handed out."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from reworker.clock import SystemClock
from reworker.gateway.contract import TaskRules
from reworker.gateway.quota import UNLIMITED_COUNT, Quota
from reworker.gateway.timers import LEAST_COUNT, Timers
from reworker.testing.clock import FakeClock


def test_calls_come_in_the_order_of_their_times() -> None:
    clock, came = FakeClock(), list[str]()
    timers = Timers(clock)
    timers.after(3, lambda: came.append("c"))
    timers.after(1, lambda: came.append("a"))
    dropped = timers.after(2, lambda: came.append("b"))
    timers.after(1, lambda: came.append("a2"))
    assert timers.run_due() == 0
    dropped.cancel()
    clock.advance(2.5)
    assert timers.run_due() == 2
    clock.advance(1)
    timers.run_due()
    assert came == ["a", "a2", "c"]


def test_calls_that_will_not_come_are_not_kept_until_their_time() -> None:
    clock, came = FakeClock(), list[int]()
    timers = Timers(clock)
    for number in range(10 * LEAST_COUNT):
        timers.after(86_400, lambda: came.append(-1)).cancel()
        if not number % 1000:
            timers.after(10 - number / 1000, partial(came.append, number))
    assert len(timers._heap) <= LEAST_COUNT + 10
    clock.advance(86_401)
    timers.run_due()
    assert came == list(range(9000, -1, -1000))


def test_call_that_fails_keeps_no_other_from_coming(caplog: pytest.LogCaptureFixture) -> None:
    clock, came = FakeClock(), list[int]()
    timers = Timers(clock)
    timers.after(0, lambda: came.append(1 // 0))
    timers.after(0, lambda: came.append(1))
    assert timers.run_due() == 2
    assert came == [1]
    assert "a call at its time failed" in caplog.text


def test_thread_makes_the_calls_and_ends() -> None:
    timers, came = Timers(SystemClock()), threading.Event()
    timers.start()
    timers.after(1000, lambda: None)
    timers.after(0, came.set)
    assert came.wait(5)
    timers.close()
    timers.close()


def test_quota_counts_leases_and_offers() -> None:
    clock = FakeClock()
    quota = Quota(clock)
    assert quota.room_count() == UNLIMITED_COUNT
    quota.rules = TaskRules(concurrent_count=3, rate_count=2, rate_s=10)
    quota.take()
    clock.advance(4)
    quota.take()
    assert (quota.room_count(), quota.next_mono_s()) == (0, 1010.0)
    clock.advance(6)
    assert quota.room_count() == 1
    quota.end()
    quota.end()
    clock.advance(10)
    assert (quota.room_count(), quota.next_mono_s()) == (2, None)
