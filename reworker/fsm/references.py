"""What the parts of a playbook say of each other by `id`: which sequence needs which, and `when` of steps.

Gathered while a playbook is read and checked when all of it is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.fsm.playbook import Step

#: ids that are looked through for one that is meant, and sequences of a cycle that are shown.
_CANDIDATES, _SHOWN = 500, 10


@dataclass(frozen=True, slots=True)
class _Mention:
    """An id, and where it is spoken of."""

    name: str
    line: int
    path: str
    sequence: int
    offset: int = 0


@dataclass
class References:
    """The ids of one playbook, and who speaks of them."""

    problems: Problems
    _sequences: dict[str, int] = field(default_factory=dict)
    _steps: dict[str, tuple[int, int]] = field(default_factory=dict)
    _needs: list[list[_Mention] | None] = field(default_factory=list)
    _lines: list[int] = field(default_factory=list)
    _whens: list[_Mention] = field(default_factory=list)

    def add_sequence(self, node: Node, name: str, path: str) -> int:
        """Take a sequence in its order, with its id, if any, and what it needs; return its index."""
        index = len(self._needs)
        entries = node.value if isinstance(node.value, dict) else {}
        self._lines.append(node.line)
        self._needs.append(self._mentions(entries["needs"], index, path) if "needs" in entries else None)
        if name and self._is_new(name, entries["id"], path):
            self._sequences[name] = index
        return index

    def add_step(self, node: Node, place: tuple[int, int], step: Step, path: str) -> None:
        """Take a step's id and condition; `place` is the index of its sequence and its own in that."""
        if step.id and self._is_new(step.id, node.value["id"], path):
            self._steps[step.id] = place
        if step.when is not None and step.when.step:
            line = node.value["when"].line
            self._whens.append(_Mention(step.when.step, line, f"{path}.when", *place))

    def needs(self, sequence: int) -> tuple[str, ...] | None:
        """Return the ids of the sequences that one needs; None when it does not say."""
        mentions = self._needs[sequence]
        return None if mentions is None else tuple(one.name for one in mentions)

    def check(self) -> None:
        """Add a problem for each id that is unknown, and for what waits in a circle or asks too early."""
        before = [self._before(index) for index in range(len(self._needs))]
        try:
            order = tuple(TopologicalSorter(dict(enumerate(before))).static_order())
        except CycleError as error:
            # There each is needed by the next one; people read who waits for whom.
            self._explain_cycle(error.args[1][::-1])
            order = ()
        self._check_whens(before, order)

    def _is_new(self, name: str, node: Node, path: str) -> bool:
        if name in self._sequences or name in self._steps:
            self.problems.add(f"id {name!r} is used twice", node.line, f"{path}.id")
            return False
        return True

    def _mentions(self, node: Node, sequence: int, path: str) -> list[_Mention]:
        """Read the ids that a sequence needs; an empty list is one, too."""
        here = f"{path}.needs"
        if not isinstance(node.value, list):
            reason = f"needs must be a list of ids of sequences, not {checks.kind(node)}"
            self.problems.add(f"{reason}; [] starts at once", node.line, here)
            return []
        found: dict[str, _Mention] = {}
        for index, item in enumerate(node.value):
            name = checks.word(self.problems, item, f"{here}[{index}]")
            if name in found:
                self.problems.add(f"{name!r} is listed twice", item.line, f"{here}[{index}]")
            elif name:
                found[name] = _Mention(name, item.line, f"{here}[{index}]", sequence)
        return list(found.values())

    def _before(self, index: int) -> list[int]:
        """Return the sequences that must end before this one begins."""
        names = self._needs[index]
        if names is None:
            return [index - 1] if index else []
        return [one for name in names for one in self._needed(name)]

    def _needed(self, mention: _Mention) -> Iterable[int]:
        """Return the index of the sequence that is needed, if there is such."""
        name, index = mention.name, self._sequences.get(mention.name)
        if index == mention.sequence:
            reason = f"the sequence {name!r} needs itself"
        elif index is not None:
            return (index,)
        elif name in self._steps:
            reason = f"{name!r} is the id of a step; a sequence needs sequences"
        else:
            reason = f"no sequence has the id {name!r}{_near(name, self._sequences)}"
        self.problems.add(reason, mention.line, mention.path)
        return ()

    def _explain_cycle(self, cycle: list[int]) -> None:
        names = {index: name for name, index in self._sequences.items()}
        shown = [names.get(index, f"execution[{index}]") for index in cycle]
        if len(shown) > _SHOWN:
            shown[_SHOWN - 1 : -1] = ["..."]
        reason = f"sequences wait for each other: {' -> '.join(shown)}"
        if any(self._needs[index] is None for index in cycle):
            reason += "; one without `needs` waits for the one written before it"
        first = min(index for index in cycle if self._needs[index])
        self.problems.add(reason, self._lines[first], f"execution[{first}].needs")

    def _check_whens(self, before: list[list[int]], order: tuple[int, ...]) -> None:
        """`order` is empty when there is none; then nobody can say what has ended before."""
        places = {mention.name: self._steps.get(mention.name) for mention in self._whens}
        bits, ended = _ended(before, order, {place[0] for place in places.values() if place})
        for mention in self._whens:
            place = places[mention.name]
            if place is None:
                reason = self._no_step(mention.name)
            elif place[0] != mention.sequence:
                has_ended = not order or ended[mention.sequence] & bits[place[0]]
                reason = "" if has_ended else f"{mention.name!r} need not have ended by then; see `needs`"
            else:
                reason = _too_early(mention, place[1])
            if reason:
                self.problems.add(reason, mention.line, mention.path)

    def _no_step(self, name: str) -> str:
        if name in self._sequences:
            return f"{name!r} is the id of a sequence; `when` asks for a step"
        return f"no step has the id {name!r}{_near(name, self._steps)}"


def _ended(
    before: list[list[int]], order: Iterable[int], targets: Iterable[int]
) -> tuple[dict[int, int], list[int]]:
    """Return a bit for each target, and for each sequence those of the targets that have ended before it."""
    bits = {target: 1 << number for number, target in enumerate(targets)}
    ended = [0] * len(before)
    for index in order:
        for needed in before[index]:
            ended[index] |= ended[needed] | bits.get(needed, 0)
    return bits, ended


def _too_early(mention: _Mention, offset: int) -> str:
    """Say what is wrong when a step asks for one of its own sequence that is not before it."""
    if offset < mention.offset:
        return ""
    whose = "this step" if offset == mention.offset else "a later step"
    return f"{mention.name!r} is the id of {whose}; `when` asks for an earlier one"


def _near(name: str, known: Collection[str]) -> str:
    return checks.did_you_mean(name, islice(known, _CANDIDATES)) if known else "; there is no id"
