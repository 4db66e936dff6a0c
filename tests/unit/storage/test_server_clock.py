"""The server's clock as this machine sees it: asked now and then, never troubled by jumps of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reworker.errors import StorageUnavailable
from reworker.storage.server_clock import ASK_AFTER_FAILURE_S, ASK_AGAIN_S, ServerClock

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Machine:
    """This machine's clock, and a server whose clock is `ahead_s` of true time."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.elapsed_s = self.jumped_s = 0.0
        self.ahead_s = ahead_s
        self.ask_count = 0
        self.answer_after_s = 0.0
        self.is_away = False

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed_s + self.jumped_s)

    def mono_s(self) -> float:
        return 50.0 + self.elapsed_s

    def ask(self) -> datetime:
        self.ask_count += 1
        if self.is_away:
            raise StorageUnavailable("away")
        self.elapsed_s += self.answer_after_s / 2
        answer = START + timedelta(seconds=self.elapsed_s + self.ahead_s)
        self.elapsed_s += self.answer_after_s / 2
        return answer


def test_offset_is_that_of_the_server() -> None:
    machine = Machine(ahead_s=3.5)
    assert ServerClock(machine, machine.ask).offset_s() == pytest.approx(3.5)


def test_offset_is_right_when_answers_take_long() -> None:
    machine = Machine(ahead_s=-2.0)
    machine.answer_after_s = 0.4
    assert ServerClock(machine, machine.ask).offset_s() == pytest.approx(-2.0)


def test_server_s_time_goes_on_when_this_machine_s_clock_jumps() -> None:
    machine = Machine(ahead_s=1.0)
    clock = ServerClock(machine, machine.ask)
    machine.jumped_s, machine.elapsed_s = 3600.0, machine.elapsed_s + 2
    shown = machine.now() + timedelta(seconds=clock.offset_s())
    assert (shown - START).total_seconds() == pytest.approx(3.0)


def test_server_is_asked_again_after_a_while_and_not_before() -> None:
    machine = Machine()
    clock = ServerClock(machine, machine.ask)
    machine.ask_count, machine.ahead_s = 0, 60.0
    machine.elapsed_s += ASK_AGAIN_S / 2
    assert (clock.offset_s(), machine.ask_count) == (pytest.approx(0.0), 0)
    machine.elapsed_s += ASK_AGAIN_S / 2
    assert (clock.offset_s(), machine.ask_count) == (pytest.approx(60.0), 1)
    assert (clock.offset_s(), machine.ask_count) == (pytest.approx(60.0), 1)


def test_last_offset_holds_when_the_server_is_away_and_it_is_asked_sooner() -> None:
    machine = Machine(ahead_s=5.0)
    clock = ServerClock(machine, machine.ask)
    machine.is_away = True
    machine.elapsed_s += ASK_AGAIN_S
    assert clock.offset_s() == pytest.approx(5.0)
    machine.is_away, machine.ahead_s = False, 6.0
    machine.elapsed_s += ASK_AFTER_FAILURE_S
    assert clock.offset_s() == pytest.approx(6.0)


def test_clock_is_not_made_when_the_first_question_has_no_answer() -> None:
    machine = Machine()
    machine.is_away = True
    with pytest.raises(StorageUnavailable):
        ServerClock(machine, machine.ask)
