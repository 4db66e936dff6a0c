"""What a playbook would do, for people who look before they start it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from reworker.core.plan_words import conditions, domain_words, doubt_words, failure_words
from reworker.fsm.plan import Plan, Role
from reworker.fsm.playbook import SequenceKind
from reworker.fsm.rules import Rules

#: hosts of a sequence that are named.
HOST_COUNT = 12


class StepLine(msgspec.Struct, frozen=True):
    """A step of a sequence, once for all of its hosts; `domains` are empty where none is said."""

    key: str
    domains: str
    parameters: str
    before: tuple[str, ...]
    failure: str
    doubt: str
    rollback: str


class SequenceBlock(msgspec.Struct, frozen=True):
    """A sequence: where it is done, how, and its steps."""

    title: str
    hosts: tuple[str, ...]
    more_count: int
    host_count: int
    how: tuple[str, ...]
    steps: tuple[StepLine, ...]


def blocks(plan: Plan, rules: Rules | None = None) -> list[SequenceBlock]:
    """Return the sequences of a plan."""
    return [_block(plan, number, rules) for number in range(len(plan.sequences))]


def _block(plan: Plan, number: int, rules: Rules | None) -> SequenceBlock:
    sequence = plan.sequences[number]
    hosts = tuple(one for one in sequence.hosts if one)
    default = f"Sequence {number + 1}"
    return SequenceBlock(
        title=sequence.description or sequence.id or default,
        hosts=hosts[:HOST_COUNT],
        more_count=max(len(hosts) - HOST_COUNT, 0),
        host_count=len(hosts),
        how=tuple(_how(plan, number)),
        steps=tuple(_line(plan, number, offset, rules) for offset in range(len(sequence.steps))),
    )


def _how(plan: Plan, number: int) -> Iterator[str]:
    sequence = plan.sequences[number]
    if sequence.kind is SequenceKind.CHECK:
        yield "before anything else"
    if sequence.kind is SequenceKind.ACTION:
        yield "after everything completed"
    if sequence.batch_count > 1:
        yield f"{sequence.batch_count} hosts at once"
    elif len(sequence.hosts) > 1:
        yield "one host after the other"
    if sequence.max_failure_count:
        yield f"up to {sequence.max_failure_count} hosts may fail"
    if sequence.needs:
        yield f"after {', '.join(sequence.needs)}"


def _line(plan: Plan, number: int, offset: int, rules: Rules | None) -> StepLine:
    step = plan.step(plan.first_index(number) + offset)
    back = plan.step(step.index, Role.ROLLBACK).key if step.rollback else ""
    parameters = msgspec.json.encode(dict(step.parameters)).decode() if step.parameters else ""
    return StepLine(
        key="approval" if step.approval else step.key,
        domains=domain_words(step.domains) if step.domains else "",
        parameters=parameters,
        before=tuple(conditions(step, rules)),
        failure=failure_words(plan, step, ()),
        doubt="" if step.approval else doubt_words(plan, step),
        rollback=back,
    )
