"""A plan in words and as JSON: every message, lock, approval and check, and what follows a failure. Pure.

One line per step, so that thousands can be searched; what is as usual is left out.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from reworker.cli.waits import counted
from reworker.fsm.plan import Plan, PlannedStep, Role
from reworker.fsm.playbook import Notify, OnUnknown, Sequence, SequenceKind, When
from reworker.fsm.rules import Rules
from reworker.topology import names

#: ways back that the line of one step names.
_SHOWN_COUNT = 3


class _Back:
    """What would be taken back by now, the last first; shown in part."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._count = plan, 0
        self._last: deque[str] = deque(maxlen=_SHOWN_COUNT)

    def add(self, step: PlannedStep) -> None:
        """Take in the next step of the plan."""
        if step.rollback is not None:
            back = self._plan.step(step.index, Role.ROLLBACK)
            self._last.appendleft(back.key + _on(step))
            self._count += 1

    def texts(self) -> list[str]:
        """Return what is taken back if the next step fails."""
        more = self._count - len(self._last)
        return [*self._last, *([f"and {more} more"] if more else [])]


def plan_lines(plan: Plan, rules: Rules | None = None) -> Iterator[str]:
    """Yield the lines of a plan.

    Args:
        plan: what would be done.
        rules: tell which steps a trigger has put in; None tells none.
    """
    yield from _head(plan)
    shown, back = -1, _Back(plan)
    for step in plan.steps():
        if step.sequence_index != shown:
            shown = step.sequence_index
            yield _sequence_line(plan, shown)
        yield _step_line(plan, step, back.texts(), rules)
        back.add(step)


def plan_objects(plan: Plan, rules: Rules | None = None) -> Iterator[dict[str, Any]]:
    """Yield an object about the plan as a whole, then one for each step; arguments as of `plan_lines`."""
    yield {
        "group": plan.group,
        "name": plan.name,
        "steps": plan.step_count,
        "locks": list(plan.locks),
        "timeout_s": plan.timeout_s,
        "unattended": plan.is_unattended,
        "notice": plan.notice and f"{names.EXCHANGE}/{plan.notice.topic}",
        "sequences": [_sequence_object(plan, number) for number in range(len(plan.sequences))],
    }
    back = _Back(plan)
    for step in plan.steps():
        yield _step_object(plan, step, back.texts(), rules)
        back.add(step)


def _head(plan: Plan) -> Iterator[str]:
    yield f"{plan.group} / {plan.name}: {counted(plan.step_count, 'step')}"
    if plan.locks:
        yield f"locks, all before the first step: {', '.join(plan.locks)}"
    if plan.timeout_s is not None:
        yield f"fails if it has not ended {plan.timeout_s:g} s after its start"
    if plan.notice is not None:
        yield f"start and end are told to {names.EXCHANGE}/{plan.notice.topic}"


def _sequence_line(plan: Plan, number: int) -> str:
    sequence = plan.sequences[number]
    parts = [f"id {sequence.id}"] if sequence.id else []
    if sequence.needs is not None:
        needed = ", ".join(_title(plan, one) for one in plan.needs[number])
        parts.append(f"after {needed}" if needed else "at once")
    if sequence.batch_count > 1:
        parts.append(f"{min(sequence.batch_count, len(sequence.hosts))} hosts at a time")
    if sequence.max_failure_count:
        parts.append(f"{counted(sequence.max_failure_count, 'host')} may fail")
    if sequence.notify:
        parts.append(f"tells {_told(sequence.notify)}")
    more = f"  ({'; '.join(parts)})" if parts else ""
    return f"{_title(plan, number)}{more}"


def _title(plan: Plan, number: int) -> str:
    sequence = plan.sequences[number]
    if sequence.kind is not SequenceKind.EXECUTION:
        return sequence.description
    place = _number(plan, number)
    return f"sequence {place}: {sequence.description or sequence.id or '(no description)'}"


def _number(plan: Plan, number: int) -> int:
    """Return a sequence's number in the playbook, from 1; all checks are one sequence before those."""
    return number + (plan.sequences[0].kind is SequenceKind.EXECUTION)


def _step_line(plan: Plan, step: PlannedStep, back: list[str], rules: Rules | None) -> str:
    what = "waits for people" if step.approval else _message(step)
    parts = [f"  {step.index + 1:>4}  {step.host or '-'}  {step.key}", what, *_conditions(step, rules)]
    if not step.approval:
        parts.append(f"timeout {f'{step.timeout_s:g} s' if step.timeout_s else 'none'}")
    if step.notify:
        parts.append(f"tells {_told(step.notify)}")
    if step.rollback is not None:
        parts.append(f"way back: {step.rollback.key}  {_message(plan.step(step.index, Role.ROLLBACK))}")
    follows = f"if it fails: {_failure(plan, step, back)}"
    if not step.approval:
        follows += f"; if in doubt: {_doubt(plan, step)}"
    return "  ".join((*parts, follows))


def _message(step: PlannedStep) -> str:
    return f"-> {names.EXCHANGE}/{names.step_key(step.command)}  {json.dumps(dict(step.parameters))}"


def _conditions(step: PlannedStep, rules: Rules | None) -> Iterator[str]:
    """Yield where a step comes from, and what comes before it."""
    if _is_triggered(step, rules):
        yield f"by a trigger{f': {step.title}' if step.title else ''}"
    elif step.title:
        yield step.title
    if step.id:
        yield f"id {step.id}"
    if step.when is not None:
        yield _when(step.when)
    if step.delay_s:
        yield f"{step.delay_s:g} s later"
    if step.dynamic_names:
        yield f"with {', '.join(step.dynamic_names)}"
    if step.expectation is not None:
        wanted = "contain" if step.expectation.is_subset else "be"
        yield f"its reply must {wanted} {json.dumps(step.expectation.body)}"
    if step.approval is not None:
        yield _approval(step)


def _is_triggered(step: PlannedStep, rules: Rules | None) -> bool:
    own = vars(step)
    triggers = rules.triggers if rules else ()
    return any(all(own[name] == value for name, value in vars(one.step).items()) for one in triggers)


def _when(when: When) -> str:
    data = f" with {json.dumps(when.data)}" if when.data is not None else ""
    return f"only if {when.step} {'did not complete' if when.is_negated else 'completed'}{data}"


def _approval(step: PlannedStep) -> str:
    approval = step.approval
    assert approval is not None
    who = "one person" if approval.of == 1 else f"{approval.of} people"
    other = ", not who started it" if approval.is_not_self else ""
    limit = f", within {approval.expires_s:g} s" if approval.expires_s is not None else ""
    return f"{who} must approve{other}{limit}: {approval.text}"


def _failure(plan: Plan, step: PlannedStep, back: list[str]) -> str:
    """Return what happens when a step fails."""
    if step.approval and plan.is_unattended:
        return "it does, for nobody can be asked, and the deployment fails"
    sequence = plan.sequences[step.sequence_index]
    end = "the deployment fails"
    if sequence.max_failure_count:
        end = f"its host is left; {sequence.max_failure_count + 1} such hosts fail the deployment"
    if back and sequence.kind is SequenceKind.EXECUTION:
        end += f", and what was done of this is taken back: {', '.join(back)}"
    if step.retry is not None:
        then = ", then at doubled intervals" if step.retry.attempts > 2 else ""
        pause = f" {step.retry.backoff_s:g} s later{then},"
        return f"it is tried {step.retry.attempts} times in all,{pause} then {end}"
    return end


def _doubt(plan: Plan, step: PlannedStep) -> str:
    if step.on_unknown is OnUnknown.VERIFY and step.verify is not None:
        verify = plan.step(step.index, Role.VERIFY)
        return f"verify by {step.verify.key}  {_message(verify)}"
    if step.on_unknown is OnUnknown.ASK and plan.is_unattended:
        return "fail, for nobody can be asked"
    return str(step.on_unknown)


def _told(notify: Notify) -> str:
    return ", ".join(
        f"{phase} to {transport} {'/'.join(targets)}"
        for phase, transports in notify.items()
        for transport, targets in transports.items()
    )


def _on(step: PlannedStep) -> str:
    return f" on {step.host}" if step.host else ""


def _sequence_object(plan: Plan, number: int) -> dict[str, Any]:
    sequence: Sequence = plan.sequences[number]
    return {
        "id": sequence.id,
        "description": sequence.description,
        "kind": str(sequence.kind),
        "hosts": len(sequence.hosts),
        "batch": sequence.batch_count,
        "max_failures": sequence.max_failure_count,
        "needs": list(plan.needs[number]),
        "notify": _plain(sequence.notify),
    }


def _step_object(plan: Plan, step: PlannedStep, back: list[str], rules: Rules | None) -> dict[str, Any]:
    """Return ``{"index", "sequence", "host", "step", "routing_key", "parameters", ...}``."""
    kind = plan.sequences[step.sequence_index].kind
    return {
        "index": step.index,
        "sequence": step.sequence_description or step.sequence_index + 1,
        "kind": str(kind),
        "host": step.host,
        "step": step.key,
        "id": step.id,
        "title": step.title,
        "by_trigger": _is_triggered(step, rules),
        "routing_key": None if step.approval else names.step_key(step.command),
        "parameters": dict(step.parameters),
        "dynamic": list(step.dynamic_names),
        "notify": _plain(step.notify),
        "timeout_s": step.timeout_s,
        "queue_timeout_s": step.queue_timeout_s,
        "delay_s": step.delay_s,
        "idempotent": step.is_idempotent,
        "when": step.when and _when(step.when),
        "approval": step.approval and _approval(step),
        "expectation": step.expectation
        and {"body": step.expectation.body, "subset": step.expectation.is_subset},
        "attempts": step.retry.attempts if step.retry else 1,
        "verify": step.verify and step.verify.key,
        "rollback": step.rollback and step.rollback.key,
        "on_unknown": str(step.on_unknown),
        "if_it_fails": _failure(plan, step, back),
    }


def _plain(notify: Notify) -> dict[str, dict[str, list[str]]]:
    return {
        phase: {transport: list(targets) for transport, targets in transports.items()}
        for phase, transports in notify.items()
    }
