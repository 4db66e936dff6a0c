"""Conditions of steps: which of them hold, as facts that the snapshot keeps; see `Deployment.facts`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reworker.fsm.expectation import is_contained
from reworker.fsm.plan import PlannedStep
from reworker.fsm.playbook import When
from reworker.fsm.turn import Turn


def remember(turn: Turn, step: PlannedStep, data: Any) -> None:
    """Note which conditions hold now that a step has completed."""
    watchers = turn.plan.watchers.get(step.id, ()) if step.id else ()
    if watchers:
        number, host_index, _ = turn.plan.place(step.index)
        new = facts_of(watchers, number, host_index, data)
        turn.change(facts=tuple(dict.fromkeys((*turn.deployment.facts, *new))))


def facts_of(
    watchers: Iterable[tuple[int, int, When]], number: int, host_index: int, data: Any
) -> tuple[str, ...]:
    """Return the conditions that a step's outcome fulfils; see `Deployment.facts`.

    Args:
        watchers: of the step's id; see `Plan.watchers`.
        number: of the sequence the step is in.
        host_index: of its host there.
        data: what it returned.
    """
    return tuple(
        f"{sequence}.{offset}" + (f"@{host_index}" if sequence == number else "")
        for sequence, offset, when in watchers
        if when.data is None or is_contained(when.data, data)
    )


def holds(turn: Turn, step: PlannedStep, when: When) -> bool:
    """Tell whether a step is to be done."""
    number, host_index, offset = turn.plan.place(step.index)
    key = f"{number}.{offset}"
    facts = turn.deployment.facts
    return (key in facts or f"{key}@{host_index}" in facts) is not when.is_negated


def forget(turn: Turn, number: int, host_index: int) -> None:
    """Drop what is known of a host's own steps, once it has ended its way through a sequence."""
    facts = turn.deployment.facts
    if facts:
        start, end = f"{number}.", f"@{host_index}"
        turn.change(facts=tuple(one for one in facts if not (one.startswith(start) and one.endswith(end))))


def text_of(when: When) -> str:
    """Return why a step was left out, in words."""
    wanted = f"{when.step} did" if when.is_negated else f"{when.step} did not"
    return f"left out: {wanted} complete" + (" with the data asked for" if when.data is not None else "")
