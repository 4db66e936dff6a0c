"""A plan in words and as JSON: every message, lock, approval and check, and what follows a failure. Pure.

One line per step, so that thousands can be searched; what is as usual is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from reworker.cli.waits import counted
from reworker.core.domain_keys import keys_of
from reworker.core.plan_words import (
    approval_words,
    conditions,
    doubt_words,
    failure_words,
    is_triggered,
    message_words,
    told_words,
    when_words,
)
from reworker.fsm.plan import Plan, PlannedStep, Role
from reworker.fsm.playbook import Notify, Sequence, SequenceKind
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
        parts.append(f"tells {told_words(sequence.notify)}")
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
    what = "waits for people" if step.approval else message_words(step)
    parts = [f"  {step.index + 1:>4}  {step.host or '-'}  {step.key}", what, *conditions(step, rules)]
    if not step.approval:
        parts.append(f"timeout {f'{step.timeout_s:g} s' if step.timeout_s else 'none'}")
    if step.notify:
        parts.append(f"tells {told_words(step.notify)}")
    if step.rollback is not None:
        parts.append(f"way back: {step.rollback.key}  {message_words(plan.step(step.index, Role.ROLLBACK))}")
    follows = f"if it fails: {failure_words(plan, step, back)}"
    if not step.approval:
        follows += f"; if in doubt: {doubt_words(plan, step)}"
    return "  ".join((*parts, follows))


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
        "by_trigger": is_triggered(step, rules),
        "routing_key": None if step.approval else keys_of(step.command, step.domains)[0],
        "domains": list(step.domains),
        "parameters": dict(step.parameters),
        "dynamic": list(step.dynamic_names),
        "notify": _plain(step.notify),
        "timeout_s": step.timeout_s,
        "queue_timeout_s": step.queue_timeout_s,
        "delay_s": step.delay_s,
        "idempotent": step.is_idempotent,
        "when": step.when and when_words(step.when),
        "approval": step.approval and approval_words(step),
        "expectation": step.expectation
        and {"body": step.expectation.body, "subset": step.expectation.is_subset},
        "attempts": step.retry.attempts if step.retry else 1,
        "verify": step.verify and step.verify.key,
        "rollback": step.rollback and step.rollback.key,
        "on_unknown": str(step.on_unknown),
        "if_it_fails": failure_words(plan, step, back),
    }


def _plain(notify: Notify) -> dict[str, dict[str, list[str]]]:
    return {
        phase: {transport: list(targets) for transport, targets in transports.items()}
        for phase, transports in notify.items()
    }
