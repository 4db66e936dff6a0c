"""Whether what the database says of deployments is true: held against the marks that workers left."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

from reworker.core import history
from reworker.core.service import DeploymentView
from reworker.fsm.events import Decision
from reworker.fsm.plan import Plan, PlannedStep
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from tests.support.effects import Mark
from tests.support.system import System

#: how a deployment may fail when the only fault is a process or a connection that is lost.
DOUBT = "it is not known whether the step took effect"


def settle_doubts(system: System) -> int:
    """Decide, as a person would, to try again what is in doubt; return how many decisions were asked."""
    decision_count = 0
    while waiting := [one for one in system.wait_for_rest() if one.state.status is DeploymentStatus.WAITING]:
        for view in waiting:
            doubtful = [one for one in view.state.attempts if one.status is AttemptStatus.UNKNOWN]
            assert len(doubtful) == 1, f"{view.row.id} waits, but for no decision"
            assert view.state.reason, f"{view.row.id} does not say why it waits"
            system.service.decide(view.row.id, doubtful[0].number, Decision.RETRY, actor="test")
            decision_count += 1
    return decision_count


def check_all(system: System) -> Counter[str]:
    """Wait for the end of every deployment, stop everything, and check all of it; count the outcomes."""
    settle_doubts(system)
    views = system.wait_for_rest()
    left = system.stop()
    found = [problem for view in views for problem in problems(system, view)]
    found += [f"{count} messages are left in {name}" for name, count in left.items() if count]
    found += _leftovers(system)
    assert not found, "\n".join([*found, system.words()])
    return Counter(str(view.state.status) for view in views)


def problems(system: System, view: DeploymentView) -> Iterator[str]:
    """Yield what is not true of a deployment that is over."""
    marks = [mark for mark in system.marks() if mark.deployment_id == view.row.id]
    plan = system.service.plan(view.row.id)
    name = f"deployment {view.row.id} ({plan.name}, {view.state.status})"
    checks = (
        _wrong_end(view, plan),
        history.problems(system.storage.reader, view.row.id),
        _open_attempts(system, view),
        _wrong_effects(view, plan, marks),
        _wrong_order(plan, marks),
        _false_attempts(system, view, marks),
    )
    yield from (f"{name}: {problem}" for check in checks for problem in check)


def _wrong_end(view: DeploymentView, plan: Plan) -> Iterator[str]:
    state = view.state
    if state.status is DeploymentStatus.COMPLETED:
        if state.completed_count != plan.step_count:
            yield f"{state.completed_count} of {plan.step_count} steps are completed"
    elif state.status is not DeploymentStatus.FAILED:
        yield "is not over"
    elif plan.step(0).is_idempotent:
        yield f"a step that may be repeated failed: {state.failure}"
    elif state.failure is None or DOUBT not in state.failure.reason:
        yield f"failed for another reason than a doubt: {state.failure}"


def _open_attempts(system: System, view: DeploymentView) -> Iterator[str]:
    for one in system.service.attempts(view.row.id):
        if AttemptStatus(one.row.status).is_live:
            yield f"attempt {one.row.number} was left {one.row.status}"
    if view.state.attempts:
        yield f"the snapshot has open attempts: {view.state.attempts}"


def _wrong_effects(view: DeploymentView, plan: Plan, marks: Collection[Mark]) -> Iterator[str]:
    begun, ended = _counts(marks, "begin"), _counts(marks, "end")
    for place in _places(plan) if view.state.status is DeploymentStatus.COMPLETED else ():
        if not ended[place]:
            yield f"completed, but step {place} never had its effect"
    if plan.step(0).is_idempotent:
        return
    for attempt, count in Counter(mark.attempt for mark in marks if mark.kind == "begin").items():
        if count > 1:
            yield f"attempt {attempt} of a step that must not be repeated began {count} times"
    for place, count in begun.items():
        if count > 1 and view.state.is_unattended:
            yield f"step {place} must not be repeated, but began {count} times"


def _wrong_order(plan: Plan, marks: Collection[Mark]) -> Iterator[str]:
    """A step begins after the one before it has ended at least once, as the plan has them."""
    previous = dict(zip(_places(plan)[1:], _places(plan), strict=False))
    ended: set[tuple[str, int]] = set()
    for mark in marks:
        before = previous.get(mark.place)
        if mark.kind == "end":
            ended.add(mark.place)
        elif before is not None and before not in ended:
            yield f"step {mark.place} began before {before} had ended"


def _false_attempts(system: System, view: DeploymentView, marks: Collection[Mark]) -> Iterator[str]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for mark in marks:
        kinds[mark.attempt].add(mark.kind)
    rows = [one.row for one in system.service.attempts(view.row.id)]
    for row in rows:
        if row.status == AttemptStatus.COMPLETED and "end" not in kinds[row.id]:
            yield f"attempt {row.number} is said to be completed, but it had no effect"
    for unheard_of in kinds.keys() - {row.id for row in rows}:
        yield f"{unheard_of} had an effect, but there is no such attempt"


def _leftovers(system: System) -> Iterator[str]:
    if count := system.storage.reader.outbox_count():
        yield f"{count} messages are left in the outbox"
    with system.storage.begin() as unit:
        if unit.next_timer_at() is not None:
            yield "a timer is left, though everything is over"


def _counts(marks: Collection[Mark], kind: str) -> Counter[tuple[str, int]]:
    return Counter(mark.place for mark in marks if mark.kind == kind)


def _places(plan: Plan) -> list[tuple[str, int]]:
    return [_place(step) for step in plan.steps()]


def _place(step: PlannedStep) -> tuple[str, int]:
    return step.host, int(step.parameters["number"])
