"""The checker finds what is wrong: true evidence, doctored in every way that matters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from reworker.drill.orders import Order, mixed_orders
from reworker.drill.truth import Evidence, Fault, messages_left, problems_of
from reworker.drill.worker import AGAIN, ONCE, Mark
from reworker.fsm.states import AttemptStatus
from reworker.storage.contract import AttemptRow

OWN_ID = "0" * 24
NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOSTS = ("a", "b")
STEP_COUNT = 2


def row(number: int, host: str, step: int, status: str = "completed") -> AttemptRow:
    """Return the row of an attempt."""
    return AttemptRow(
        id=f"{OWN_ID}.{number}",
        deployment_id=OWN_ID,
        number=number,
        step_index=step,
        step=ONCE,
        host=host,
        status=status,
        tries=1,
        worker="",
        message="",
        percent=None,
        data=b"null",
        created_at=NOW,
        sent_at=None,
        started_at=None,
        ended_at=None,
    )


def mark(kind: str, number: int, host: str, step: int) -> Mark:
    return Mark(kind, f"{OWN_ID}.{number}", host, step, 1)


def truth(*, key: str = ONCE, is_unattended: bool = True) -> Evidence:
    """Return what a deployment leaves that went well: attempt 1 and 2 on the first host, then the second."""
    places = [(host, step) for host in HOSTS for step in range(STEP_COUNT)]
    numbered = list(enumerate(places, 1))
    return Evidence(
        own_id=OWN_ID,
        order=Order(key, HOSTS, STEP_COUNT, is_unattended),
        status="completed",
        attempts=[row(number, host, step) for number, (host, step) in numbered],
        history=[],
        marks=[
            mark(kind, number, host, step) for number, (host, step) in numbered for kind in ("begin", "end")
        ],
    )


def failed_in_doubt(**options: bool) -> Evidence:
    """Return what a deployment leaves whose second step was in doubt, so that it failed."""
    whole = truth(**options)  # type: ignore[arg-type]  # `is_unattended` is the only one
    return replaced(
        whole,
        status="failed",
        attempts=[whole.attempts[0], row(2, "a", 1, "unknown")],
        marks=whole.marks[:3],
    )


def replaced(evidence: Evidence, **changes: object) -> Evidence:
    return msgspec.structs.replace(evidence, **changes)


def faults(evidence: Evidence) -> set[Fault]:
    return {problem.fault for problem in problems_of(evidence)}


@pytest.mark.parametrize("key", [ONCE, AGAIN])
def test_nothing_is_found_when_all_went_well(key: str) -> None:
    assert problems_of(truth(key=key)) == []


def test_nothing_is_found_when_a_doubt_failed_it_and_nobody_could_be_asked() -> None:
    assert problems_of(failed_in_doubt()) == []


def test_nothing_is_found_when_a_step_that_may_be_repeated_was() -> None:
    whole = truth(key=AGAIN)
    assert problems_of(replaced(whole, marks=[*whole.marks[:1], *whole.marks])) == []


def test_nothing_is_found_when_somebody_had_a_step_tried_again() -> None:
    whole = truth(is_unattended=False)
    again = [*whole.attempts, row(5, "b", 1)]
    again[3] = row(4, "b", 1, "unknown")
    marks = [*whole.marks[:-1], mark("begin", 5, "b", 1), mark("end", 5, "b", 1)]
    assert problems_of(replaced(whole, attempts=again, marks=marks)) == []


DOCTORED: dict[str, tuple[Fault, Callable[[Evidence], Evidence]]] = {
    "an effect is missing": (
        Fault.LOST,
        lambda whole: replaced(whole, marks=whole.marks[:-1]),
    ),
    "a step was never tried": (
        Fault.LOST,
        lambda whole: replaced(whole, attempts=whole.attempts[:-1], marks=whole.marks[:-2]),
    ),
    "completed without any effect": (Fault.LOST, lambda whole: replaced(whole, marks=[])),
    "an attempt began twice": (
        Fault.DOUBLED,
        lambda whole: replaced(whole, marks=[*whole.marks, *whole.marks[-2:]]),
    ),
    "a step began in two attempts": (
        Fault.DOUBLED,
        lambda whole: replaced(
            whole,
            attempts=[*whole.attempts, row(5, "b", 1, "unknown")],
            marks=[*whole.marks, mark("begin", 5, "b", 1)],
        ),
    ),
    "it goes on": (Fault.STUCK, lambda whole: replaced(whole, status="running")),
    "it waits": (Fault.STUCK, lambda whole: replaced(whole, status="waiting")),
    **{
        f"an attempt was left {status}": (
            Fault.STUCK,
            lambda whole, status=str(status): replaced(
                whole, attempts=[*whole.attempts, row(5, "b", 1, status)]
            ),
        )
        for status in AttemptStatus
        if status.is_live
    },
    "a step began too early": (
        Fault.DISORDER,
        lambda whole: replaced(whole, marks=[whole.marks[2], *whole.marks[:2], *whole.marks[3:]]),
    ),
    "a step began while the one before it ran": (
        Fault.DISORDER,
        lambda whole: replaced(
            whole, marks=[whole.marks[0], whole.marks[2], whole.marks[1], *whole.marks[3:]]
        ),
    ),
    "the history does not add up": (
        Fault.UNTRUE,
        lambda whole: replaced(whole, history=["event 3 is not what was written after event 2"]),
    ),
    "an effect without an attempt": (
        Fault.UNTRUE,
        lambda whole: replaced(whole, marks=[*whole.marks, mark("end", 9, "a", 0)]),
    ),
    "failed without a doubt": (
        Fault.UNTRUE,
        lambda whole: replaced(
            whole, status="failed", attempts=[*whole.attempts[:-1], row(4, "b", 1, "failed")]
        ),
    ),
}


@pytest.mark.parametrize("what", DOCTORED)
def test_fault_is_found_when_the_evidence_shows_it(what: str) -> None:
    fault, doctor = DOCTORED[what]
    assert fault in faults(doctor(truth())), what


def test_failure_is_untrue_when_somebody_could_be_asked_or_the_step_be_repeated() -> None:
    assert faults(failed_in_doubt(is_unattended=False)) == {Fault.UNTRUE}
    doubted = failed_in_doubt()
    assert faults(replaced(doubted, order=truth(key=AGAIN).order)) == {Fault.UNTRUE}


def test_problem_names_the_deployment_and_what_was_done_to_it() -> None:
    struck = msgspec.structs.replace(truth().order, note="core.before-ack:7:kill")
    (problem, *_) = problems_of(replaced(truth(), order=struck, marks=[]))
    assert OWN_ID in problem.text
    assert "core.before-ack:7:kill" in problem.text


def test_messages_are_stuck_when_they_are_left_in_a_queue() -> None:
    assert messages_left({"a": 0}) == []
    (problem,) = messages_left({"a": 0, "re.dead": 3})
    assert (problem.fault, "3" in problem.text, "re.dead" in problem.text) == (Fault.STUCK, True, True)


def test_orders_have_hosts_of_their_own_when_they_are_mixed() -> None:
    orders = [*mixed_orders("one"), *mixed_orders("two")]
    hosts = [host for order in orders for host in order.hosts]
    assert len(hosts) == len(set(hosts))
    kinds = {(order.is_idempotent, order.is_unattended) for order in orders}
    assert kinds == {(True, True), (False, True), (False, False)}
