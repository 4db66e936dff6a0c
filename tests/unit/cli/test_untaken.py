"""What who follows a deployment is told of steps that no worker takes."""

from __future__ import annotations

from reworker.cli.untaken import FIRST_S, Untaken
from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.parsing import parse
from reworker.fsm.plan import compile_plan
from reworker.fsm.states import AttemptStatus
from reworker.testing.clock import FakeClock

TEXT = """\
group: g
name: n
execution:
- hosts: [a, b]
  steps: ["noop:Run", "sleep:Seconds"]
"""
SENT, STARTED = AttemptStatus.SENT, AttemptStatus.STARTED


def deployment(*attempts: Attempt) -> Deployment:
    return Deployment(id="0" * 24, attempts=attempts)


def said(untaken: Untaken, *attempts: Attempt) -> list[str]:
    return list(untaken.notes(deployment(*attempts)))


def test_wait_is_told_of_after_some_seconds_and_again_when_it_is_twice_as_long() -> None:
    clock = FakeClock()
    untaken = Untaken(compile_plan(parse(TEXT), {}), clock)
    waiting = [Attempt(number=1, step_index=0, status=SENT), Attempt(number=2, step_index=2, status=SENT)]
    assert said(untaken, *waiting) == []
    clock.advance(FIRST_S)
    (line,) = said(untaken, *waiting)
    assert line.startswith("noop:Run on a and 1 more step in the queue of worker noop for 5 s, and no worker")
    clock.advance(FIRST_S - 1)
    assert said(untaken, *waiting) == []
    clock.advance(1)
    assert ["for 10 s" in one for one in said(untaken, *waiting)] == [True]


def test_worker_that_is_there_is_not_asked_for() -> None:
    clock = FakeClock()
    untaken = Untaken(compile_plan(parse(TEXT), {}), clock)
    busy = [Attempt(number=1, step_index=0, status=STARTED), Attempt(number=2, step_index=2, status=SENT)]
    for _ in range(3):
        assert said(untaken, *busy) == []
        clock.advance(60)
    again = Attempt(number=1, step_index=0, status=SENT, is_queued_again=True)
    assert said(untaken, again) == []
    clock.advance(60)
    assert said(untaken, again) == [], "it waits for its next try"


def test_each_step_has_its_own_time_in_the_queue() -> None:
    clock = FakeClock()
    untaken = Untaken(compile_plan(parse(TEXT), {}), clock)
    assert said(untaken, Attempt(number=1, step_index=0, status=SENT)) == []
    clock.advance(4)
    assert said(untaken, Attempt(number=3, step_index=1, status=SENT)) == []
    clock.advance(4)
    assert said(untaken, Attempt(number=3, step_index=1, status=SENT)) == []
    clock.advance(1)
    (line,) = said(untaken, Attempt(number=3, step_index=1, status=SENT))
    assert "sleep:Seconds on a in the queue of worker sleep for 5 s" in line
