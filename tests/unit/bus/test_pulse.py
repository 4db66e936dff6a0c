"""Signs of life of a thread, by a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable

from reworker.bus.pulse import EVERY_S, Pulse
from reworker.testing import FakeClock


class Thread:
    """Runs calls when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def run(self) -> None:
        while self.calls:
            self.calls.pop()()


def test_thread_that_answers_has_no_lag() -> None:
    clock, thread = FakeClock(), Thread()
    pulse = Pulse(clock, thread.calls.append)
    for _ in range(10):
        assert pulse.lag_s() == 0
        thread.run()
        clock.advance(EVERY_S)


def test_thread_that_does_not_answer_has_ever_more() -> None:
    clock, thread = FakeClock(), Thread()
    pulse = Pulse(clock, thread.calls.append)
    pulse.lag_s()
    clock.advance(7)
    assert pulse.lag_s() == 7
    clock.advance(60)
    assert pulse.lag_s() == 67
    assert len(thread.calls) == 1, "one question is enough"
    thread.run()
    assert pulse.lag_s() == 0


def test_thread_is_not_asked_more_often_than_that() -> None:
    clock, thread = FakeClock(), Thread()
    pulse = Pulse(clock, thread.calls.append)
    asked = 0
    for _ in range(100):
        pulse.lag_s()
        asked += len(thread.calls)
        thread.run()
        clock.advance(EVERY_S / 10)
    assert asked == 10
