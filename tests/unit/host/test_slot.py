"""The life of a slot: starts, pauses, replacements and drains, by a clock that stands still."""

from __future__ import annotations

import pytest

from reworker.host.slot import MARGIN_S, RETRY_BASE_S, RETRY_CAP_S, WELL_S, Phase, Slot, words_of


def slot(rand: float = 0.999999) -> Slot:
    return Slot("sleep", 10.0, lambda: rand)


def test_slot_is_due_at_once_when_new() -> None:
    made = slot()
    assert made.is_due(0.0)
    made.started(7, 0.0)
    assert (made.phase, made.pid, made.is_due(1e9), made.is_overdue(1e9)) == (Phase.RUNNING, 7, False, False)


def test_pause_doubles_up_to_its_limit_when_a_process_ends_again_and_again() -> None:
    made, now, pauses = slot(), 0.0, []
    for _ in range(10):
        made.started(7, now)
        made.ended(1, now)
        pauses.append(round(made.due_mono_s - now, 1))
        assert not made.is_due(now)
        now = made.due_mono_s
        assert made.is_due(now)
    assert pauses == [0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]


def test_pause_lies_between_its_bounds_when_chance_decides() -> None:
    for rand in (0.0, 0.5, 0.999999):
        made = slot(rand)
        for _ in range(20):
            made.started(7, 0.0)
            made.ended(1, 0.0)
            assert RETRY_BASE_S <= made.due_mono_s <= RETRY_CAP_S


def test_earlier_ends_are_forgiven_when_a_process_was_well() -> None:
    made = slot()
    for _ in range(6):
        made.started(7, 0.0)
        made.ended(1, 0.0)
    made.started(7, 0.0)
    made.ended(1, WELL_S)
    assert made.due_mono_s - WELL_S == pytest.approx(0.4, abs=0.01)
    made.started(7, 0.0)
    made.ended(1, WELL_S - 1)
    assert made.due_mono_s - WELL_S + 1 == pytest.approx(0.8, abs=0.01)


def test_process_is_replaced_at_once_when_it_asks_for_that() -> None:
    made = slot()
    made.started(7, 0.0)
    assert made.ended(75, 5.0) == "ended with exit code 75 after 5.0 s, and is replaced"
    assert made.is_due(5.0)
    assert made.failed_count == 0


def test_slot_waits_when_no_process_can_be_started() -> None:
    made = slot()
    assert made.failed(3.0) == pytest.approx(0.4, abs=0.01)
    assert not made.is_due(3.0)
    assert made.is_due(3.5)


def test_slot_is_overdue_when_its_drain_takes_too_long() -> None:
    made = slot()
    made.started(7, 0.0)
    assert made.stop(100.0)
    assert not made.is_overdue(100.0 + 10.0 + MARGIN_S - 0.1)
    assert made.is_overdue(100.0 + 10.0 + MARGIN_S)
    assert not made.stop(101.0)
    assert made.ended(0, 105.0) == "stopped"
    assert (made.phase, made.pid) == (Phase.STOPPED, 0)


def test_drain_is_as_long_as_the_process_says_when_it_has_read_its_settings_again() -> None:
    made = slot()
    made.started(7, 0.0)
    made.drain_s = 50.0
    made.stop(100.0)
    assert not made.is_overdue(100.0 + 50.0 + MARGIN_S - 0.1)
    assert made.is_overdue(100.0 + 50.0 + MARGIN_S)


def test_process_is_given_its_drain_when_it_is_to_be_replaced() -> None:
    made = slot()
    assert not made.replace(0.0)
    made.started(7, 0.0)
    assert made.replace(100.0)
    assert not made.replace(101.0)
    assert not made.is_overdue(100.0 + 10.0 + MARGIN_S - 0.1)
    assert made.is_overdue(100.0 + 10.0 + MARGIN_S)
    made.ended(0, 103.0)
    assert made.phase is Phase.WAITING


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (-9, "SIGKILL"), (-250, "signal 250")])
def test_end_is_said_in_words_when_it_was_no_clean_one(code: int, words: str) -> None:
    made = slot()
    made.started(7, 0.0)
    made.stop(1.0)
    assert made.ended(code, 2.0) == f"ended with {words} after 2.0 s"
    assert words_of(code) == words


def test_nothing_is_started_any_more_when_a_waiting_slot_is_stopped() -> None:
    made = slot()
    assert not made.stop(0.0)
    assert made.phase is Phase.STOPPED
    assert not made.is_due(1e9)
