"""The plan of a deployment for a page: each sequence once, its steps as they are on every host. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from reworker.core.domain_keys import keys_of
from reworker.core.plan_words import conditions, failure_words, told_words
from reworker.core.tasks.filtering import shown
from reworker.fsm.plan import Plan, PlannedStep
from reworker.fsm.playbook import OnUnknown, Step
from reworker.fsm.rules import Rules
from reworker.topology import names
from reworker.web.pages.deployment_matrix import notes_of, title_of

#: hosts of a sequence that are named.
HOST_COUNT = 60


class StepView(msgspec.Struct, frozen=True):
    """A step on any host of its sequence.

    Args:
        number: as people count it, on the first host.
        key: what to do.
        routing_key: of its message; empty for an approval.
        parameters: JSON, secrets masked; empty without.
        notes: what comes before it, and how it is watched.
        follows: what a failure and a doubt lead to.
    """

    number: int
    key: str
    routing_key: str
    parameters: str
    notes: tuple[str, ...]
    follows: tuple[str, ...]


class SequencePlan(msgspec.Struct, frozen=True):
    """A sequence: where it is done, and its steps."""

    number: int
    title: str
    kind: str
    notes: tuple[str, ...]
    hosts: tuple[str, ...]
    host_count: int
    steps: tuple[StepView, ...]


class PlanView(msgspec.Struct, frozen=True):
    """A plan: what holds for all of it, as (name, text), then its sequences."""

    facts: tuple[tuple[str, str], ...]
    dynamic: str
    sequences: tuple[SequencePlan, ...]


def plan_view(plan: Plan, rules: Rules | None) -> PlanView:
    """Return a plan as it is shown; `rules` tell which steps a trigger has put in."""
    dynamic = _json(dict(plan.dynamic)) if plan.dynamic else ""
    sequences = (_sequence(plan, number, rules) for number in range(len(plan.sequences)))
    return PlanView(tuple(_facts(plan)), dynamic, tuple(sequences))


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "Steps", f"{plan.step_count:,}"
    if plan.environment:
        yield "Environment", plan.environment
    if plan.locks:
        more = f" and {len(plan.locks) - HOST_COUNT} more" if len(plan.locks) > HOST_COUNT else ""
        yield "Locks", ", ".join(plan.locks[:HOST_COUNT]) + more
    if plan.timeout_s is not None:
        yield "Fails after", f"{plan.timeout_s:g} s"
    if plan.is_unattended:
        yield "Unattended", "nobody is asked; a doubt fails it"
    if plan.notice is not None:
        yield "Start and end are told to", f"{names.EXCHANGE}/{plan.notice.topic}"


def _sequence(plan: Plan, number: int, rules: Rules | None) -> SequencePlan:
    sequence, first = plan.sequences[number], plan.first_index(number)
    notes = [*notes_of(plan, number)]
    if sequence.notify:
        notes.append(f"tells {told_words(sequence.notify)}")
    back: list[str] = []
    steps = []
    for index in range(first, first + len(sequence.steps)):
        step = plan.step(index)
        steps.append(_step(plan, step, back, rules))
        if step.rollback is not None:
            back.insert(0, step.rollback.key)
    return SequencePlan(
        number=number + 1,
        title=title_of(plan, number),
        kind=str(sequence.kind),
        notes=tuple(notes),
        hosts=tuple(host for host in sequence.hosts[:HOST_COUNT] if host),
        host_count=len(sequence.hosts),
        steps=tuple(steps),
    )


def _step(plan: Plan, step: PlannedStep, back: list[str], rules: Rules | None) -> StepView:
    keys = " or ".join(keys_of(step.command, step.domains))
    return StepView(
        number=step.index + 1,
        key=step.key,
        routing_key="" if step.approval else f"{names.EXCHANGE}/{keys}",
        parameters=_json(dict(step.parameters)) if step.parameters else "",
        notes=tuple(_notes(step, rules)),
        follows=tuple(_follows(plan, step, back)),
    )


def _notes(step: PlannedStep, rules: Rules | None) -> Iterator[str]:
    yield from conditions(step, rules)
    if step.approval is None:
        yield f"timeout {step.timeout_s:g} s" if step.timeout_s else "no timeout"
    if step.is_idempotent:
        yield "may be repeated"
    if step.notify:
        yield f"tells {told_words(step.notify)}"


def _follows(plan: Plan, step: PlannedStep, back: list[str]) -> Iterator[str]:
    yield f"if it fails: {failure_words(plan, step, back)}"
    if step.approval is None:
        yield f"in doubt: {_doubt(plan, step)}"
    if step.rollback is not None:
        yield f"way back: {_short(step.rollback)}"


def _doubt(plan: Plan, step: PlannedStep) -> str:
    if step.on_unknown is OnUnknown.VERIFY and step.verify is not None:
        return f"verify by {_short(step.verify)}"
    if step.on_unknown is OnUnknown.ASK:
        return "fail, for nobody can be asked" if plan.is_unattended else "ask people"
    return str(step.on_unknown)


def _short(step: Step) -> str:
    return f"{step.key} {_json(dict(step.parameters))}" if step.parameters else step.key


def _json(value: Any) -> str:
    return msgspec.json.encode(shown(value)).decode("utf-8")
