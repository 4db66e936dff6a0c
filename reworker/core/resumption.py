"""What a deployment passes over that continues one that has ended. Pure: two plans in, ranges of steps out.

A step counts as done only where its digest is the same in both plans, at the same place of the same host.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from reworker.errors import NotResumable
from reworker.fsm import ranges
from reworker.fsm.conditions import facts_of
from reworker.fsm.plan import Plan
from reworker.fsm.plan_json import steps_to_json
from reworker.fsm.playbook import Sequence, SequenceKind, Step, dynamic_names
from reworker.fsm.ranges import Ranges

#: places that an error lists.
_LISTED_COUNT = 5


class Past(msgspec.Struct, frozen=True):
    """What became of the deployment that is continued.

    Args:
        plan: its plan.
        completed: indexes of the steps that were done and not taken back.
        left_out: indexes of the steps that were not to be done.
        skipped: indexes of the steps passed over, by their `when` or by a decision.
        failed_hosts: where a step did not succeed.
        outcomes: what steps that have an id returned: ``{(id, host): data}``, earlier deployments included.
    """

    plan: Plan
    completed: Ranges = ()
    left_out: Ranges = ()
    skipped: frozenset[int] = frozenset()
    failed_hosts: frozenset[str] = frozenset()
    outcomes: Mapping[tuple[str, str], Any] = {}


class Resumption(msgspec.Struct, frozen=True):
    """How a deployment begins that continues another one; see `events.Submitted`."""

    resumes: str = ""
    done: Ranges = ()
    left_out: Ranges = ()
    facts: tuple[str, ...] = ()


class Scope(msgspec.Struct, frozen=True):
    """What is to be done, in the words of a person.

    Args:
        start: ``--from``: a step's number as `plan` prints it, its id or its key, the latter two with
            ``@<host>`` if need be; empty begins on each host where it stopped.
        hosts: names; empty is all. The one name ``failed`` is the hosts on which a step failed.
    """

    start: str = ""
    hosts: tuple[str, ...] = ()


class _Way:
    """How far one host of one sequence came, held against the new plan."""

    def __init__(self, past: Past, plan: Plan, number: int, host_index: int) -> None:
        self._past, self._plan = past, plan
        self.sequence = plan.sequences[number]
        self.host = self.sequence.hosts[host_index]
        self.first = plan.first_index(number) + host_index * len(self.sequence.steps)
        self._old: Sequence | None = None
        self._old_indexes = range(0)

    @property
    def title(self) -> str:
        """What people call the sequence."""
        return self.sequence.description or self.sequence.id or "(no description)"

    def compare(self, number: int, host_index: int) -> None:
        """Say which host of which sequence of the old plan this is."""
        self._old = self._past.plan.sequences[number]
        size = len(self._old.steps)
        first = self._past.plan.first_index(number) + host_index * size
        self._old_indexes = range(first, first + size)

    def is_left_out(self) -> bool:
        """Tell whether the host had nothing to do any more, because it was not to be touched."""
        past = self._past
        states = [
            (ranges.contains(past.left_out, one), ranges.contains(past.completed, one))
            for one in self._old_indexes
        ]
        return any(is_left for is_left, _ in states) and all(any(one) for one in states)

    def passed(self, *, with_left_out: bool) -> Iterator[tuple[int, str]]:
        """Yield (offset, ``done``, ``skipped`` or ``left out``) of the first steps, up to an open one."""
        past = self._past
        for offset, index in enumerate(self._old_indexes):
            if ranges.contains(past.completed, index):
                yield offset, "done"
            elif index in past.skipped:
                yield offset, "skipped"
            elif with_left_out and ranges.contains(past.left_out, index):
                yield offset, "left out"
            else:
                return

    def reads_the_same(self, offset: int) -> bool:
        """Tell whether the step at this place is the one that it was."""
        if self._old is None or offset >= len(self.sequence.steps):
            return False
        before, now = self._old.steps[offset], self.sequence.steps[offset]
        return before is now or _digest(before, self._past.plan) == _digest(now, self._plan)

    def old_key(self, offset: int) -> str:
        """Return the name of the step that was at this place."""
        return self._old.steps[offset].key if self._old is not None else ""


def resumption(past: Past, plan: Plan, scope: Scope, resumes: str = "") -> Resumption:
    """Return what a deployment of `plan` passes over to continue the one of `past`.

    Pre-deploy checks and post-deploy actions belong to every deployment and are done anew, unless the scope
    begins behind them.

    Args:
        past: what became of the earlier deployment.
        plan: of the new one; that of the earlier one, or of the edited playbook.
        scope: what is to be done.
        resumes: id of the earlier deployment.

    Raises:
        NotResumable: a step that was done reads otherwise now, the scope names what is not there, or
            nothing is left to be done.
    """
    hosts = _hosts(past, plan, scope.hosts)
    start = index_of(plan, scope.start, hosts) if scope.start else -1
    done: list[int] = []
    left_out: list[int] = list(range(max(start, 0)))
    for way in _ways(past, plan):
        is_meant = hosts is None or way.host in hosts
        found = _passed(way, is_strict=start < 0 and is_meant, is_named=hosts is not None and is_meant)
        indexes = range(way.first, way.first + len(way.sequence.steps))
        done += (index for index in indexes if found.get(index) == "done" and not 0 <= start <= index)
        if not is_meant:
            left_out += indexes
        elif start < 0:
            left_out += (index for index in indexes if found.get(index, "done") != "done")
    done_ranges = ranges.of(done)
    left_ranges = ranges.of(index for index in left_out if not ranges.contains(done_ranges, index))
    if not _is_anything_left(plan, done_ranges, left_ranges):
        raise NotResumable("nothing is left to be done of it; start the playbook anew: reworker run PLAYBOOK")
    facts = tuple(_facts(past, plan, done_ranges, left_ranges))
    return Resumption(resumes, done_ranges, left_ranges, facts)


def _passed(way: _Way, *, is_strict: bool, is_named: bool) -> dict[int, str]:
    """Return what a host passes over, by index in the new plan; strictly, an edited step is an error."""
    found: dict[int, str] = {}
    with_left_out = not (is_named and way.is_left_out())
    for offset, state in way.passed(with_left_out=with_left_out):
        index = way.first + offset
        if state == "left out" or way.reads_the_same(offset):
            if offset < len(way.sequence.steps):
                found[index] = state
        elif is_strict:
            where = f"sequence {way.title!r}, host {way.host}: step {offset + 1}, {way.old_key(offset)},"
            reason = f"{where} was {state} and reads otherwise now; undo this edit, or say with --from STEP"
            raise NotResumable(f"{reason} where to begin, by a number that `reworker plan` prints")
    return found


def _ways(past: Past, plan: Plan) -> Iterator[_Way]:
    matches = _matched(past.plan, plan)
    for number, sequence in _execution(plan).items():
        old_number = matches.get(number)
        old_hosts = () if old_number is None else past.plan.sequences[old_number].hosts
        places = {host: index for index, host in enumerate(old_hosts)}
        for host_index, host in enumerate(sequence.hosts):
            way = _Way(past, plan, number, host_index)
            if old_number is not None and host in places:
                way.compare(old_number, places[host])
            yield way


def _matched(old: Plan, new: Plan) -> dict[int, int]:
    """Return which sequence of the old plan each of the new one is: by id, else description, else place."""
    before, after = _execution(old), _execution(new)
    found: dict[int, int] = {}
    taken: set[int] = set()

    def match(number: int, old_number: int | None) -> None:
        if number not in found and old_number is not None and old_number not in taken:
            found[number] = old_number
            taken.add(old_number)

    for name in ("id", "description"):
        named = _alone(before, name)
        for number, sequence in after.items():
            match(number, named.get(getattr(sequence, name)))
    for number, old_number in zip(after, before, strict=False):
        match(number, old_number)
    return found


def _alone(sequences: Mapping[int, Sequence], field: str) -> dict[str, int]:
    """Return the number of each sequence by its id or description, of those that no other has as well."""
    values = {number: str(getattr(one, field)) for number, one in sequences.items()}
    counts = Counter(values.values())
    return {value: number for number, value in values.items() if value and counts[value] == 1}


def _execution(plan: Plan) -> dict[int, Sequence]:
    return {number: one for number, one in enumerate(plan.sequences) if one.kind is SequenceKind.EXECUTION}


def _digest(step: Step, plan: Plan) -> bytes:
    """Return the SHA-256 of everything that a step does; equal steps, wherever they stand, have the same."""
    used = {name: plan.dynamic.get(name) for name in dynamic_names([step])}
    said = [_without_domains(steps_to_json(step)), used]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


def _without_domains(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a step does, wherever it is done: a step of a domain that is gone was done all the same."""
    kept = {name: value for name, value in step.items() if name != "domains"}
    for name in ("verify", "rollback"):
        if name in kept:
            kept[name] = _without_domains(kept[name])
    return kept


def _hosts(past: Past, plan: Plan, names: tuple[str, ...]) -> frozenset[str] | None:
    if not names:
        return None
    if names == ("failed",):
        if not past.failed_hosts:
            raise NotResumable("no host failed; leave --hosts out, or name the hosts")
        return past.failed_hosts
    known = {host for one in _execution(plan).values() for host in one.hosts}
    missing = sorted(set(names) - known)
    if missing:
        raise NotResumable(f"no such host in the playbook: {', '.join(missing)}")
    return frozenset(names)


def index_of(plan: Plan, text: str, hosts: frozenset[str] | None = None) -> int:
    """Return the index of the step that a person names; see `Scope.start`.

    Raises:
        NotResumable: there is none, or more than one.
    """
    if text.isdecimal():
        if not 1 <= int(text[:9]) <= plan.step_count:
            raise NotResumable(f"there is no step {text[:9]}: the plan has 1 to {plan.step_count}")
        return int(text[:9]) - 1
    name, sign, host = text.rpartition("@")
    found = [
        index
        for index, where in _named(plan, name if sign else text)
        if (not sign or where == host) and (hosts is None or where in hosts)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotResumable(f"no step is called {text[:100]}; `reworker plan PLAYBOOK` prints all of them")
    places = ", ".join(f"{index + 1} ({plan.step(index).host})" for index in found[:_LISTED_COUNT])
    more = ", ..." if len(found) > _LISTED_COUNT else ""
    raise NotResumable(f"{text[:100]} is more than one step: {places}{more}; give the number, or add @HOST")


def _named(plan: Plan, name: str) -> Iterator[tuple[int, str]]:
    """Yield (index, host) of each step of this name."""
    for number, sequence in enumerate(plan.sequences):
        offsets = [offset for offset, one in enumerate(sequence.steps) if name in (one.id, one.key)]
        for first, host in _starts(plan, number):
            yield from ((first + offset, host) for offset in offsets)


def _starts(plan: Plan, number: int) -> Iterator[tuple[int, str]]:
    """Yield (index of the first step, host) for each host of a sequence."""
    sequence, first = plan.sequences[number], plan.first_index(number)
    for host_index, host in enumerate(sequence.hosts):
        yield first + host_index * len(sequence.steps), host


def _is_anything_left(plan: Plan, done: Ranges, left_out: Ranges) -> bool:
    return ranges.count(done) + ranges.count(left_out) < plan.step_count


def _facts(past: Past, plan: Plan, done: Ranges, left_out: Ranges) -> Iterator[str]:
    """Yield which conditions hold because of what was done.

    Of a host that is through with a sequence, only those that other sequences ask for.
    """
    for number, sequence in enumerate(plan.sequences):
        watched = [(offset, one.id) for offset, one in enumerate(sequence.steps) if one.id in plan.watchers]
        for host_index, (first, host) in enumerate(_starts(plan, number) if watched else ()):
            indexes = range(first, first + len(sequence.steps))
            is_over = all(ranges.contains(done, one) or ranges.contains(left_out, one) for one in indexes)
            known = [name for offset, name in watched if ranges.contains(done, first + offset)]
            facts = (
                fact
                for name in known
                for fact in facts_of(plan.watchers[name], number, host_index, past.outcomes.get((name, host)))
            )
            yield from (fact for fact in facts if not (is_over and "@" in fact))
