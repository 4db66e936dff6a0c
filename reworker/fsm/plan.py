"""The frozen plan of a deployment: a playbook with its hosts laid out in the order of 2014.

The order is sequence by sequence, host by host, step by step. The plan keeps sequences folded and makes a
step when it is asked for, so its size is hosts plus steps, not hosts times steps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

from reworker.errors import PlaybookInvalid
from reworker.fsm.playbook import OnUnknown, Playbook, Sequence, Step


@dataclass(frozen=True, kw_only=True)
class PlannedStep(Step):
    """One step on one host, with its place in the plan."""

    index: int
    host: str
    sequence_index: int
    sequence_description: str
    is_first_of_sequence: bool
    is_last_of_sequence: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a deployment, in order. `dynamic` holds the values given at submit."""

    group: str
    name: str
    sequences: tuple[Sequence, ...]
    dynamic: Mapping[str, Any] = field(default_factory=dict)
    is_unattended: bool = False

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(len(one.hosts) * len(one.steps) for one in self.sequences))

    @property
    def step_count(self) -> int:
        """Number of steps, each counted once per host."""
        return self._ends[-1] if self._ends else 0

    def step(self, index: int) -> PlannedStep:
        """Return the step at this index.

        Raises:
            IndexError: there is no such step.
        """
        if not 0 <= index < self.step_count:
            raise IndexError(f"step {index} of a plan of {self.step_count}")
        place = bisect_right(self._ends, index)
        sequence = self.sequences[place]
        offset = index - (self._ends[place - 1] if place else 0)
        host_index, step_index = divmod(offset, len(sequence.steps))
        return PlannedStep(
            **vars(sequence.steps[step_index]),
            index=index,
            host=sequence.hosts[host_index],
            sequence_index=place,
            sequence_description=sequence.description,
            is_first_of_sequence=offset == 0,
            is_last_of_sequence=index + 1 == self._ends[place],
        )

    def steps(self) -> Iterator[PlannedStep]:
        """Yield every step in order."""
        return (self.step(index) for index in range(self.step_count))


def compile_plan(playbook: Playbook, dynamic: Mapping[str, Any], *, source: str = "playbook") -> Plan:
    """Return the plan of a playbook.

    Args:
        playbook: what to do.
        dynamic: values for the names that steps list under `dynamic`.
        source: name of the playbook for errors.

    Raises:
        PlaybookInvalid: a dynamic value is missing; the error names all that are.
    """
    steps = (step for sequence in playbook.execution for step in sequence.steps)
    missing = sorted({name for step in steps for name in step.dynamic_names} - dynamic.keys())
    if missing:
        raise PlaybookInvalid(f"dynamic values are missing: {', '.join(missing)}", source=source)
    return Plan(
        group=playbook.group,
        name=playbook.name,
        sequences=playbook.execution,
        dynamic=dict(dynamic),
        is_unattended=playbook.is_unattended,
    )


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain JSON values; its size is linear in steps plus hosts."""
    return {
        "group": plan.group,
        "name": plan.name,
        "sequences": [_sequence_to_json(one) for one in plan.sequences],
        "dynamic": dict(plan.dynamic),
        "is_unattended": plan.is_unattended,
    }


def plan_from_json(value: dict[str, Any]) -> Plan:
    """Return the plan that `plan_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: the value was not written by `plan_to_json`.
    """
    return Plan(**{**value, "sequences": tuple(_sequence_from_json(one) for one in value["sequences"])})


def _sequence_to_json(sequence: Sequence) -> dict[str, Any]:
    steps = [_step_to_json(step) for step in sequence.steps]
    notify = _notify_to_json(sequence.notify)
    return {**vars(sequence), "hosts": list(sequence.hosts), "steps": steps, "notify": notify}


def _step_to_json(step: Step) -> dict[str, Any]:
    """Return what differs from a bare step, so that a plan of many steps stays small."""
    kept = {name: value for name, value in vars(step).items() if value != _BARE_STEP[name]}
    if step.dynamic_names:
        kept["dynamic_names"] = list(step.dynamic_names)
    if step.notify:
        kept["notify"] = _notify_to_json(step.notify)
    return kept


_BARE_STEP = vars(Step(key="", command="", subcommand=""))


def _sequence_from_json(value: dict[str, Any]) -> Sequence:
    steps = tuple(_step_from_json(step) for step in value["steps"])
    notify = _notify_from_json(value["notify"])
    return Sequence(**{**value, "hosts": tuple(value["hosts"]), "steps": steps, "notify": notify})


def _step_from_json(value: dict[str, Any]) -> Step:
    frozen = {
        "dynamic_names": tuple(value.get("dynamic_names", ())),
        "notify": _notify_from_json(value.get("notify", {})),
    }
    if "on_unknown" in value:
        frozen["on_unknown"] = OnUnknown(value["on_unknown"])
    return Step(**{**value, **frozen})


def _notify_to_json(notify: Mapping[str, Mapping[str, tuple[str, ...]]]) -> dict[str, dict[str, list[str]]]:
    return {
        phase: {transport: list(targets) for transport, targets in transports.items()}
        for phase, transports in notify.items()
    }


def _notify_from_json(value: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, ...]]]:
    return {
        phase: {transport: tuple(targets) for transport, targets in transports.items()}
        for phase, transports in value.items()
    }
