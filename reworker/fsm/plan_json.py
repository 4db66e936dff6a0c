"""A plan as plain JSON values and back; what is as usual is left out, so that a large plan stays small.

What an older version wrote is read as well: every field that came later has a default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from reworker.fsm.plan import Plan
from reworker.fsm.playbook import (
    Approval,
    Expectation,
    Notify,
    OnUnknown,
    Retry,
    Sequence,
    SequenceKind,
    Step,
    When,
)
from reworker.fsm.rules import PhaseNotice


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain JSON values; its size is linear in steps plus hosts."""
    kept = _plain(_kept(plan))
    kept["sequences"] = [_sequence_to_json(one) for one in plan.sequences]
    if plan.domains:
        kept["domains"] = {command: list(names) for command, names in plan.domains.items()}
    if plan.notice is not None:
        kept["notice"] = _plain(_kept(plan.notice))
    return kept


def plan_from_json(value: dict[str, Any]) -> Plan:
    """Return the plan that `plan_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: the value was not written by `plan_to_json`.
    """
    sequences = tuple(_sequence_from_json(one) for one in value["sequences"])
    return Plan(**_read(value, _PLAN_PARTS) | {"sequences": sequences})


def steps_to_json(step: Step) -> dict[str, Any]:
    """Return one step as plain JSON values, the same for equal steps; also what its digest is made of."""
    kept = _kept(step)
    for name in ("verify", "rollback"):
        if name in kept:
            kept[name] = steps_to_json(kept[name])
    for name in ("retry", "when", "approval", "expectation"):
        if name in kept:
            kept[name] = _kept(kept[name])
    return _plain(kept)


def _sequence_to_json(sequence: Sequence) -> dict[str, Any]:
    kept = _plain(_kept(sequence))
    return {**kept, "steps": [steps_to_json(step) for step in sequence.steps]}


def _plain(kept: dict[str, Any]) -> dict[str, Any]:
    for name, value in kept.items():
        if isinstance(value, tuple):
            kept[name] = list(value)
    if "notify" in kept:
        kept["notify"] = {
            phase: {transport: list(targets) for transport, targets in transports.items()}
            for phase, transports in kept["notify"].items()
        }
    return kept


def _kept(record: Any) -> dict[str, Any]:
    """Return the fields that are not as usual."""
    usual = _USUAL[type(record)]
    found = {name: value for name, value in vars(record).items() if name in usual}
    return {name: value for name, value in found.items() if usual[name] is _NONE or value != usual[name]}


#: no usual value: the field is always written.
_NONE = object()


def _usual(kind: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in fields(kind):
        made = one.default_factory
        found[one.name] = made() if made is not MISSING else _NONE if one.default is MISSING else one.default
    return found


_USUAL = {
    kind: _usual(kind) for kind in (Plan, Sequence, Step, Retry, When, Approval, Expectation, PhaseNotice)
}


def _read(value: Mapping[str, Any], parts: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    return {name: parts[name](one) if name in parts else one for name, one in value.items()}


def _sequence_from_json(value: dict[str, Any]) -> Sequence:
    return Sequence(**_read(value, _SEQUENCE_PARTS))


def step_from_json(value: dict[str, Any]) -> Step:
    """Return the step that `steps_to_json` wrote."""
    return Step(**_read(value, _STEP_PARTS))


def _notify_from_json(value: Mapping[str, Any]) -> Notify:
    return {
        phase: {transport: tuple(targets) for transport, targets in transports.items()}
        for phase, transports in value.items()
    }


_PLAN_PARTS: dict[str, Callable[[Any], Any]] = {
    "sequences": tuple,
    "locks": tuple,
    "domains": lambda one: {command: tuple(names) for command, names in one.items()},
    "notice": lambda one: one and PhaseNotice(**{**one, "targets": tuple(one.get("targets", ()))}),
}
_SEQUENCE_PARTS: dict[str, Callable[[Any], Any]] = {
    "hosts": tuple,
    "steps": lambda steps: tuple(step_from_json(step) for step in steps),
    "notify": _notify_from_json,
    "kind": SequenceKind,
    "domains": tuple,
    "needs": lambda one: one if one is None else tuple(one),
}
_STEP_PARTS: dict[str, Callable[[Any], Any]] = {
    "notify": _notify_from_json,
    "dynamic_names": tuple,
    "domains": tuple,
    "on_unknown": OnUnknown,
    "retry": lambda one: Retry(**one),
    "when": lambda one: When(**one),
    "verify": step_from_json,
    "rollback": step_from_json,
    "approval": lambda one: Approval(**one),
    "expectation": lambda one: Expectation(**one),
}
