"""Whether what became of random playbooks is true: the rules of the machine, held against effects."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby

import msgspec

from reworker.core import history
from reworker.core.doctor import examine_deployments, examine_waiting
from reworker.core.service import EventView, Service
from reworker.drill.truth import attempts_of, leftovers
from reworker.fsm import ranges
from reworker.fsm.deployment import Deployment
from reworker.fsm.plan import Plan, Role
from reworker.fsm.playbook import OnUnknown, SequenceKind
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import AttemptRow, Storage
from tests.support.chaos_worker import Mark

_A = AttemptStatus


class Case(msgspec.Struct, frozen=True):
    """One deployment: what it had to do, what the database says of it, and what was really done."""

    own_id: str
    plan: Plan
    state: Deployment
    attempts: list[AttemptRow]
    events: list[EventView]
    marks: list[Mark]

    def of_role(self, role: Role) -> list[AttemptRow]:
        """Return its attempts of one role, in order."""
        return [one for one in self.attempts if one.role == role]

    def decisions(self) -> dict[int, str]:
        """Return what people decided of attempts, by number."""
        said = [one.data for one in self.events if one.kind == "Decided" and one.ignored is None]
        return {one["attempt"]: one["decision"] for one in said}

    def story(self) -> str:
        """Return all that is known of it, for the report of a failure."""
        rows = [f"{one.number} {one.role} {one.step_index} {one.host} {one.status}" for one in self.attempts]
        marks = [f"{one.kind} {one.deed} {one.attempt.partition('.')[2]}" for one in self.marks]
        events = [f"{one.seq} {one.kind} {one.data} {one.ignored or ''}" for one in self.events]
        return "\n".join((*rows, " / ".join(marks), *events))


def cases_of(service: Service, ids: list[str], marks: list[Mark]) -> list[Case]:
    """Read all that is known."""
    by_id: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        by_id[mark.deployment_id].append(mark)
    found = []
    for own_id in ids:
        events: list[EventView] = []
        while page := service.events(own_id, after_seq=events[-1].seq if events else 0):
            events += page
        state = service.deployment(own_id).state
        found.append(
            Case(own_id, service.plan(own_id), state, attempts_of(service, own_id), events, by_id[own_id])
        )
    return found


def problems(storage: Storage, service: Service, ids: list[str], marks: list[Mark]) -> list[str]:
    """Return everything that is wrong; all should be over by now."""
    cases = cases_of(service, ids, marks)
    found = [
        f"{case.own_id} ({case.state.status}): {text}\n{case.story()}"
        for case in cases
        for check in (_stuck, _lost, _doubled, _disorder, _repeated, _rollback, _conditions)
        for text in check(case)
    ]
    found += [f"{own_id}: {text}" for own_id in ids for text in history.problems(storage.reader, own_id)]
    found += list(_locks(cases, marks))
    found += [one.text for one in leftovers(storage)]
    found += [f"lock left: {one}" for one in storage.reader.locks()]
    with storage.begin() as unit:
        now = max(row.updated_at for row in unit.deployments(ids).values())
    findings = [*examine_waiting(storage.reader, now), *examine_deployments(storage, lambda: None)]
    return found + [f"doctor: {one.text}" for one in findings if not one.is_ok]


def _stuck(case: Case) -> Iterator[str]:
    if not case.state.status.is_terminal:
        yield f"it is not over: {case.state.reason} {case.state.attempts} {case.state.tracks}"
        return
    for row in case.attempts:
        if AttemptStatus(row.status).is_live:
            yield f"attempt {row.number} was left {row.status}"
    total = case.state.completed_count + case.state.failed_count + case.state.skipped_count
    if total != case.plan.step_count:
        yield f"its counts give {total} of {case.plan.step_count} steps"


def _lost(case: Case) -> Iterator[str]:
    ended = {mark.attempt for mark in case.marks if mark.kind == "end"}
    begun = {mark.attempt for mark in case.marks}
    decided = case.decisions()
    for row in case.attempts:
        is_deed = row.role in (Role.STEP, Role.ROLLBACK)
        if is_deed and row.status == _A.COMPLETED and row.id not in ended and row.number not in decided:
            yield f"attempt {row.number} is said to be completed, but had no effect"
    for stranger in begun - {row.id for row in case.attempts}:
        yield f"{stranger} had an effect, but there is no such attempt"
    if case.state.status is not DeploymentStatus.COMPLETED or case.state.failed_count:
        return
    known = {row.step_index for row in case.attempts if row.status in (_A.COMPLETED, _A.SKIPPED)}
    known |= {row.step_index for row in case.attempts if decided.get(row.number) == "skip"}
    for index in range(case.plan.step_count):
        passed = ranges.contains(case.state.completed, index) or ranges.contains(case.state.left_out, index)
        if index not in known and not passed:
            yield f"it is completed, but nothing is known of step {index}"


def _is_idempotent(case: Case, row: AttemptRow) -> bool:
    return case.plan.step(row.step_index, Role(row.role)).is_idempotent


def _doubled(case: Case) -> Iterator[str]:
    """No attempt at what must not be repeated begins twice, nor after its end was noted otherwise."""
    rows = {row.id: row for row in case.attempts}
    begun = Counter(mark.attempt for mark in case.marks if mark.kind == "begin")
    for own_id, count in begun.items():
        if count > 1 and own_id in rows and not _is_idempotent(case, rows[own_id]):
            yield f"attempt {own_id} must not be repeated, but began {count} times"
    places: dict[tuple[int, str], list[AttemptRow]] = defaultdict(list)
    order = {mark.attempt: at for at, mark in enumerate(case.marks) if mark.kind == "begin"}
    for row in case.attempts:
        if row.id in order:
            places[row.step_index, row.role].append(row)
    for rows_there in places.values():
        numbers = [row.number for row in sorted(rows_there, key=lambda row: order[row.id])]
        if numbers != sorted(numbers) and not _is_idempotent(case, rows_there[0]):
            yield f"attempts at one step began in the order {numbers}"
    for row in case.attempts:
        is_never = row.status in (_A.TIMED_OUT, _A.UNROUTABLE, _A.SKIPPED) and row.started_at is None
        if is_never and begun[row.id]:
            yield f"attempt {row.number} is {row.status}, but it began"


def _repeated(case: Case) -> Iterator[str]:
    """A step is tried again only for a reason that its playbook or a person gives."""
    decided = case.decisions()
    for role in (Role.STEP, Role.ROLLBACK):
        last: dict[int, AttemptRow] = {}
        failures: Counter[int] = Counter()
        for row in case.of_role(role):
            before = last.get(row.step_index)
            last[row.step_index] = row
            if before is None:
                continue
            failures[row.step_index] += before.status in (
                _A.FAILED,
                _A.TIMED_OUT,
                _A.UNROUTABLE,
                _A.CANCELLED,
            )
            if not _may_repeat(case, before, row, decided, failures[row.step_index]):
                yield f"attempt {row.number} repeats attempt {before.number}, which is {before.status}"


def _may_repeat(
    case: Case, before: AttemptRow, row: AttemptRow, decided: dict[int, str], failure_count: int
) -> bool:
    planned = case.plan.step(before.step_index, Role(before.role))
    between = [
        one
        for one in case.of_role(Role.VERIFY)
        if one.step_index == row.step_index and before.number < one.number < row.number
    ]
    if before.status in (_A.FAILED, _A.TIMED_OUT, _A.UNROUTABLE, _A.CANCELLED):
        return planned.retry is not None and failure_count < planned.retry.attempts
    if before.status != _A.UNKNOWN:
        return False
    is_told = decided.get(before.number) == "retry" or any(
        decided.get(one.number) == "retry" for one in between
    )
    is_seen = any(one.status == _A.FAILED for one in between)
    return is_told or is_seen or planned.on_unknown is OnUnknown.RETRY


def _disorder(case: Case) -> Iterator[str]:
    """On one host of a sequence, no step begins before those before it have ended; needs are kept."""
    rows = {row.id: row for row in case.of_role(Role.STEP)}
    open_steps: dict[tuple[int, int], dict[int, str]] = defaultdict(dict)
    for mark in case.marks:
        if mark.attempt not in rows:
            continue
        row = rows[mark.attempt]
        states = open_steps[case.plan.place(row.step_index)[:2]]
        is_first = mark.kind == "begin" and row.step_index not in states
        if is_first:
            yield from _begins(case, row, states)
        if mark.kind != "begin" or is_first:
            states[row.step_index] = mark.kind
    yield from _needs(case, rows)


def _begins(case: Case, row: AttemptRow, states: dict[int, str]) -> Iterator[str]:
    """Judge the first begin of a step; `states` are the last marks of the others on its host."""
    for other, kind in states.items():
        if other > row.step_index and not _is_idempotent(case, row):
            yield f"step {row.step_index} began after step {other} on {row.host}"
        is_done = ranges.contains(case.state.completed, other) and other not in _doubts(case)
        if other < row.step_index and kind == "begin" and is_done:
            yield f"step {row.step_index} began while step {other} was under way on {row.host}"


def _doubts(case: Case) -> set[int]:
    decided = case.decisions()
    is_doubted = (_A.UNKNOWN, _A.CANCELLED)
    return {row.step_index for row in case.attempts if row.status in is_doubted or row.number in decided}


def _needs(case: Case, rows: dict[str, AttemptRow]) -> Iterator[str]:
    begun: set[int] = set()
    for mark in case.marks:
        row = rows.get(mark.attempt)
        if row is None or row.role != Role.STEP or mark.kind != "begin":
            continue
        number = case.plan.place(row.step_index)[0]
        begun.add(number)
        after = [one for one in begun if number in case.plan.needs[one]]
        if after and not _is_idempotent(case, row):
            yield f"sequence {number} was at work after sequence {after[0]}, which needs it"


def _rollback(case: Case) -> Iterator[str]:
    """What took effect is taken back, each step once, the last first; and nothing else."""
    back = [index for index, _ in groupby(row.step_index for row in case.of_role(Role.ROLLBACK))]
    if back != sorted(set(back), reverse=True):
        yield f"it was taken back in the order {back}"
    state = case.state
    if back and state.status is DeploymentStatus.COMPLETED:
        yield "it was taken back, though it is completed"
    ended = {mark.attempt for mark in case.marks if mark.kind == "end"}
    begun = {mark.attempt for mark in case.marks}
    sure = {r.step_index for r in case.of_role(Role.STEP) if r.id in ended and r.status != _A.FAILED}
    sure |= {index for start, end in state.completed for index in range(start, end)}
    maybe = {
        r.step_index
        for r in case.of_role(Role.STEP)
        if r.id in begun or r.status in (_A.UNKNOWN, _A.CANCELLED)
    } | sure
    for index in set(back) - maybe:
        yield f"step {index} was taken back, but was never begun"
    if state.status is not DeploymentStatus.ROLLED_BACK:
        return
    for index in sure - set(back):
        if _can_roll_back(case, index):
            yield f"step {index} took effect, but was not taken back: {back}"


def _can_roll_back(case: Case, index: int) -> bool:
    number = case.plan.place(index)[0]
    is_own = case.plan.sequences[number].kind is SequenceKind.EXECUTION
    return is_own and case.plan.step(index).rollback is not None


def _conditions(case: Case) -> Iterator[str]:
    """A step with a `when` begins only if that holds."""
    begun = {
        row.step_index for row in case.of_role(Role.STEP) if any(m.attempt == row.id for m in case.marks)
    }
    for index in begun:
        planned = case.plan.step(index)
        if planned.when is None:
            continue
        number, _, offset = case.plan.place(index)
        names = [one.id for one in case.plan.sequences[number].steps]
        other = index - offset + names.index(planned.when.step)
        if ranges.contains(case.state.completed, other) is planned.when.is_negated:
            yield f"step {index} was done, though it depends on step {other}"


def _locks(cases: list[Case], marks: list[Mark]) -> Iterator[str]:
    """No two deployments that take locks are at work on one host at a time."""
    locked = {case.own_id for case in cases if case.plan.locks}
    rows = {row.id: (case, row) for case in cases for row in case.attempts}
    by_host: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        if mark.host and mark.deployment_id in locked:
            by_host[mark.host].append(mark)
    for found in by_host.values():
        firsts = [next(group) for _, group in groupby(found, key=lambda mark: mark.deployment_id)]
        first_of = {mark.deployment_id: mark for mark in reversed(firsts)}
        for mark in firsts:
            if first_of[mark.deployment_id] is not mark:
                yield _late(*rows[mark.attempt], mark)


def _late(case: Case, row: AttemptRow, mark: Mark) -> str:
    kind = "idempotent" if _is_idempotent(case, row) else "not idempotent"
    what = f"{mark.kind} of attempt {row.number} ({row.role}, {row.status}, {kind}, {row.message})"
    return f"lock: {case.own_id} was at work on {mark.host} after another had begun there: {what}"
