"""Whether what the database says of deployments is true: held against the marks that workers left."""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from reworker.core import history
from reworker.core.service import Service
from reworker.drill.orders import Order
from reworker.drill.worker import Mark
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import AttemptRow, Storage

#: a deployment in one of these is over.
OVER = frozenset(str(status) for status in DeploymentStatus if status.is_terminal)


class Fault(enum.StrEnum):
    """How the truth can be missed."""

    #: said to be done, but never done; or vanished.
    LOST = "lost"
    #: done twice, though it must not be repeated.
    DOUBLED = "doubled"
    #: does not end, or leaves something behind that waits for ever.
    STUCK = "stuck"
    #: a step began before the one before it on its host had ended.
    DISORDER = "out of order"
    #: the history does not add up, or a failure has no cause.
    UNTRUE = "untrue"


class Problem(msgspec.Struct, frozen=True):
    """Something that is not as it must be, in words."""

    fault: Fault
    text: str


class Evidence(msgspec.Struct, frozen=True):
    """All that is known of one deployment.

    Args:
        own_id: of the deployment.
        order: what was asked for.
        status: as the database says.
        attempts: every attempt's row.
        history: what is wrong with its events; empty is nothing.
        marks: what workers did, in the order of time.
    """

    own_id: str
    order: Order
    status: str
    attempts: list[AttemptRow]
    history: list[str]
    marks: list[Mark]


def evidence_of(
    storage: Storage, service: Service, own_id: str, order: Order, marks: Iterable[Mark]
) -> Evidence:
    """Read what the database knows of a deployment; `marks` are its own.

    Raises:
        DeploymentNotFound: it has vanished.
    """
    return Evidence(
        own_id=own_id,
        order=order,
        status=str(service.deployment(own_id).row.status),
        attempts=attempts_of(service, own_id),
        history=history.problems(storage.reader, own_id),
        marks=list(marks),
    )


def attempts_of(service: Service, own_id: str) -> list[AttemptRow]:
    """Return the rows of all attempts of a deployment."""
    found: list[AttemptRow] = []
    while page := service.attempts(own_id, after_number=found[-1].number if found else 0):
        found += [one.row for one in page]
    return found


def problems_of(evidence: Evidence) -> list[Problem]:
    """Return what is not true of a deployment; it should be over by now."""
    checks = (_lost, _doubled, _stuck, _disorder, _untrue)
    own = f"{evidence.own_id} ({evidence.order.key}, {evidence.status}; {evidence.order.note})"
    return [
        Problem(fault, f"{fault}: {text}; deployment {own}")
        for check in checks
        for fault, text in check(evidence)
    ]


Findings = Iterator[tuple[Fault, str]]


def _lost(evidence: Evidence) -> Findings:
    kinds = _kinds(evidence.marks)
    done = {row.id for row in evidence.attempts if row.status == AttemptStatus.COMPLETED}
    for own_id in sorted(done):
        if "end" not in kinds[own_id]:
            yield Fault.LOST, f"attempt {own_id} is said to be completed, but it had no effect"
    if evidence.status != DeploymentStatus.COMPLETED:
        return
    ended = {mark.place for mark in evidence.marks if mark.kind == "end"}
    for place in evidence.order.places:
        if place not in ended:
            yield Fault.LOST, f"step {place} never had its effect"
    if len(done) < len(evidence.order.places):
        yield Fault.LOST, f"{len(done)} of {len(evidence.order.places)} steps have a completed attempt"


def _doubled(evidence: Evidence) -> Findings:
    if evidence.order.is_idempotent:
        return
    begun = [mark for mark in evidence.marks if mark.kind == "begin"]
    for attempt, count in Counter(mark.attempt for mark in begun).items():
        if count > 1:
            yield Fault.DOUBLED, f"attempt {attempt} must not be repeated, but began {count} times"
    for place, count in Counter(mark.place for mark in begun).items():
        if count > 1 and evidence.order.is_unattended:
            yield Fault.DOUBLED, f"step {place} must not be repeated, but began {count} times"


def _stuck(evidence: Evidence) -> Findings:
    if evidence.status not in OVER:
        yield Fault.STUCK, "it is not over"
        return
    for row in evidence.attempts:
        if AttemptStatus(row.status).is_live:
            yield Fault.STUCK, f"attempt {row.id} was left {row.status}"


def _disorder(evidence: Evidence) -> Findings:
    ended: set[tuple[str, int]] = set()
    for mark in evidence.marks:
        host, number = mark.place
        if mark.kind == "end":
            ended.add(mark.place)
        elif number and (host, number - 1) not in ended:
            yield Fault.DISORDER, f"step {mark.place} began before {(host, number - 1)} had ended"


def _untrue(evidence: Evidence) -> Findings:
    yield from ((Fault.UNTRUE, text) for text in evidence.history)
    for stranger in _kinds(evidence.marks).keys() - {row.id for row in evidence.attempts}:
        yield Fault.UNTRUE, f"{stranger} had an effect, but there is no such attempt"
    if evidence.status == DeploymentStatus.COMPLETED or evidence.status not in OVER:
        return
    is_doubted = any(row.status == AttemptStatus.UNKNOWN for row in evidence.attempts)
    if evidence.order.is_idempotent or not evidence.order.is_unattended or not is_doubted:
        yield Fault.UNTRUE, "it failed without a cause: only a doubt that nobody was asked about may fail"


def _kinds(marks: Iterable[Mark]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for mark in marks:
        kinds[mark.attempt].add(mark.kind)
    return kinds


def leftovers(storage: Storage) -> list[Problem]:
    """Return what is left in the database, though every deployment is over."""
    found = []
    if count := storage.reader.outbox_count():
        found.append(Problem(Fault.STUCK, f"stuck: {count} messages are left in the outbox"))
    with storage.begin() as unit:
        if unit.next_timer_at() is not None:
            found.append(Problem(Fault.STUCK, "stuck: a timer is left, though everything is over"))
    return found


def messages_left(counts: dict[str, int]) -> list[Problem]:
    """Return what is left in queues; `counts` are their messages."""
    return [
        Problem(Fault.STUCK, f"stuck: {count} messages are left in {name}")
        for name, count in counts.items()
        if count
    ]
