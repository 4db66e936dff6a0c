"""The frozen plan of a deployment: a playbook and the operator's rules, laid out as steps on hosts.

Steps are numbered sequence by sequence, host by host, step by step, as they ran in 2014. Pre-deploy checks
are a sequence before the others and post-deploy actions one behind them, each on one host without a name.
The plan keeps sequences folded and makes a step when it is asked for, so its size is hosts plus steps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from typing import Any

from reworker.errors import PlaybookInvalid
from reworker.fsm import domains as domain_rules
from reworker.fsm.playbook import (
    OnUnknown,
    Playbook,
    Sequence,
    SequenceKind,
    Step,
    When,
    dynamic_names,
    host_key,
)
from reworker.fsm.rules import PhaseNotice, Rules, with_timeout, with_triggers

#: steps that a plan keeps made; more would be memory of each deployment that waits.
MADE_COUNT = 8


class Role(StrEnum):
    """What an attempt is for: the step itself, its check after a doubt, its way back, or people's consent."""

    STEP = "step"
    VERIFY = "verify"
    ROLLBACK = "rollback"
    APPROVAL = "approval"


@dataclass(frozen=True, kw_only=True)
class PlannedStep(Step):
    """One step on one host, with its place in the plan; `host` is empty for checks and actions."""

    index: int
    host: str
    sequence_index: int
    sequence_description: str
    role: Role = Role.STEP

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host, as a step message lists it."""
        return (self.host,) if self.host else ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps of a deployment, in order.

    Args:
        dynamic: the values given at submit.
        locks: names of what nobody else may touch meanwhile, such as ``host:web1``.
        timeout_s: for the whole deployment from its start; None is without limit.
        notice: whom to tell of start and end.
        environment: where it is done, such as ``production``; who may start it there is decided by it.
        domains: by command, as they were given for this deployment alone; its steps have them already.
    """

    group: str
    name: str
    sequences: tuple[Sequence, ...]
    dynamic: Mapping[str, Any] = field(default_factory=dict)
    is_unattended: bool = False
    locks: tuple[str, ...] = ()
    timeout_s: float | None = None
    notice: PhaseNotice | None = None
    environment: str = ""
    domains: domain_rules.ByCommand = field(default_factory=dict)

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(len(one.hosts) * len(one.steps) for one in self.sequences))

    @property
    def step_count(self) -> int:
        """Number of steps, each counted once per host."""
        return self._ends[-1] if self._ends else 0

    @cached_property
    def needs(self) -> tuple[tuple[int, ...], ...]:
        """For each sequence, the indexes of those that must end before it begins."""
        by_id = {one.id: index for index, one in enumerate(self.sequences) if one.id}
        found: list[tuple[int, ...]] = []
        for index, one in enumerate(self.sequences):
            is_first = index == 0 or self.sequences[index - 1].kind is not one.kind
            if one.needs is None:
                found.append(() if is_first else (index - 1,))
            else:
                found.append(tuple(sorted(by_id[name] for name in one.needs)))
        return tuple(found)

    @cached_property
    def dependents(self) -> tuple[tuple[int, ...], ...]:
        """For each sequence, the indexes of those that need it."""
        found: list[list[int]] = [[] for _ in self.sequences]
        for index, needed in enumerate(self.needs):
            for one in needed:
                found[one].append(index)
        return tuple(tuple(one) for one in found)

    @cached_property
    def watchers(self) -> Mapping[str, tuple[tuple[int, int, When], ...]]:
        """For each step id, the steps whose `when` asks for it: (sequence index, place in it, condition)."""
        found: dict[str, list[tuple[int, int, When]]] = {}
        for index, sequence in enumerate(self.sequences):
            for offset, step in enumerate(sequence.steps):
                if step.when is not None:
                    found.setdefault(step.when.step, []).append((index, offset, step.when))
        return {name: tuple(ones) for name, ones in found.items()}

    @cached_property
    def has_rollback(self) -> bool:
        """Whether any step can be taken back."""
        return any(step.rollback for sequence in self.sequences for step in sequence.steps)

    def first_index(self, sequence_index: int) -> int:
        """Return the index of a sequence's first step."""
        return self._ends[sequence_index - 1] if sequence_index else 0

    def place(self, index: int) -> tuple[int, int, int]:
        """Return (sequence index, host index, place in the sequence's steps) of a step.

        Raises:
            IndexError: there is no such step.
        """
        if not 0 <= index < self.step_count:
            raise IndexError(f"step {index} of a plan of {self.step_count}")
        number = bisect_right(self._ends, index)
        sequence = self.sequences[number]
        return (number, *divmod(index - self.first_index(number), len(sequence.steps)))

    def step(self, index: int, role: Role = Role.STEP) -> PlannedStep:
        """Return the step at this index, or the one that verifies it or takes it back.

        Raises:
            IndexError: there is no such step.
        """
        key = (index, role)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= MADE_COUNT:
                self._made.clear()
            made = self._made[key] = self._make_step(index, role)
        return made

    @cached_property
    def _made(self) -> dict[tuple[int, Role], PlannedStep]:
        """Steps that were asked for lately: the events of an attempt ask for the same one again and again."""
        return {}

    def _make_step(self, index: int, role: Role) -> PlannedStep:
        number, host_index, offset = self.place(index)
        sequence = self.sequences[number]
        # Made without its constructor, which takes ten times as long: every event asks for a step or two.
        planned = object.__new__(PlannedStep)
        vars(planned).update(vars(_in_role(sequence.steps[offset], role)))
        vars(planned).update(
            index=index,
            host=sequence.hosts[host_index],
            sequence_index=number,
            sequence_description=sequence.description,
            role=role,
        )
        return planned

    def steps(self) -> Iterator[PlannedStep]:
        """Yield every step in order."""
        return (self.step(index) for index in range(self.step_count))


def _in_role(step: Step, role: Role) -> Step:
    if role is Role.VERIFY and step.verify is not None:
        # It only looks, so it may be sent twice; its own doubt is a doubt about the step.
        return replace(step.verify, is_idempotent=True, on_unknown=OnUnknown.ASK)
    if role is Role.ROLLBACK and step.rollback is not None:
        return step.rollback
    return step


def compile_plan(
    playbook: Playbook,
    dynamic: Mapping[str, Any],
    *,
    rules: Rules | None = None,
    domains: domain_rules.ByCommand | None = None,
    source: str = "playbook",
) -> Plan:
    """Return the plan of a playbook.

    Args:
        playbook: what to do.
        dynamic: values for the names that steps list under `dynamic`.
        rules: what the operator adds to every playbook; where that is done, the playbook does not say.
        domains: by command; they hold before those of the playbook.
        source: name of the playbook for errors.

    Raises:
        PlaybookInvalid: a dynamic value is missing, and the error names all that are; or a domain is given
            for a command that no step has.
    """
    rules = rules or Rules()
    execution = tuple(
        replace(one, steps=with_triggers(one.steps, rules.triggers))
        for one in domain_rules.placed(playbook, domains or {}, source=source)
    )
    checks, actions = _apart(rules.checks, SequenceKind.CHECK), _apart(rules.actions, SequenceKind.ACTION)
    sequences = tuple(
        replace(one, steps=with_timeout(one.steps, rules.step_timeout_s))
        for one in (*checks, *execution, *actions)
    )
    missing = sorted(dynamic_names(step for one in sequences for step in one.steps) - dynamic.keys())
    if missing:
        raise PlaybookInvalid(f"dynamic values are missing: {', '.join(missing)}", source=source)
    return Plan(
        group=playbook.group,
        name=playbook.name,
        sequences=sequences,
        dynamic=dict(dynamic),
        is_unattended=playbook.is_unattended,
        locks=_locks(playbook) if playbook.takes_locks else (),
        timeout_s=playbook.timeout_s,
        notice=rules.notice,
        environment=playbook.environment,
        domains=dict(domains or {}),
    )


def _apart(steps: tuple[Step, ...], kind: SequenceKind) -> tuple[Sequence, ...]:
    """Return the sequence of checks or actions, which have no host; none without steps."""
    titles = {SequenceKind.CHECK: "pre-deploy checks", SequenceKind.ACTION: "post-deploy actions"}
    return (Sequence(hosts=("",), steps=steps, description=titles[kind], kind=kind),) if steps else ()


def _locks(playbook: Playbook) -> tuple[str, ...]:
    hosts = {host_key(host) or host for sequence in playbook.execution for host in sequence.hosts}
    names = {f"host:{host}" for host in hosts}
    if playbook.environment:
        names.add(f"environment:{playbook.environment}")
    return tuple(sorted(names))
