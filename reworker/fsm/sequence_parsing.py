"""Reading the sequences of a playbook; their steps are read by `step_parsing`."""

from __future__ import annotations

from typing import Any

from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.fsm.domains import domains
from reworker.fsm.playbook import Sequence, Step
from reworker.fsm.references import References
from reworker.fsm.step_parsing import StepReader

SEQUENCE_KEYS = (
    *("hosts", "steps", "description", "notify", "id"),
    *("strategy", "needs", "preflight", "domain"),
)
STRATEGY_KEYS = ("batch", "max_failures")


class SequenceReader:
    """Turns the nodes of one playbook's `execution` into sequences, gathering problems."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._steps = StepReader(problems)
        self._references = References(problems)

    def execution(self, node: Node) -> tuple[Sequence, ...]:
        """Return all sequences, whose ids and references are checked."""
        found = checks.items(self._problems, node, "execution", "execution")
        sequences = tuple(self._sequence(item, f"execution[{index}]") for index, item in enumerate(found))
        self._references.check()
        return sequences

    def _sequence(self, node: Node, path: str) -> Sequence:
        checks.mapping(self._problems, node, path, "a sequence")
        entries = checks.keys(self._problems, node, path, SEQUENCE_KEYS, ("hosts", "steps"))
        given: dict[str, Any] = {}
        if "description" in entries:
            given["description"] = checks.text(self._problems, entries["description"], f"{path}.description")
        if "notify" in entries:
            given["notify"] = checks.notify(self._problems, entries["notify"], f"{path}.notify")
        if "id" in entries:
            given["id"] = checks.word(self._problems, entries["id"], f"{path}.id")
        if "domain" in entries:
            given["domains"] = domains(self._problems, entries["domain"], f"{path}.domain")
        if "preflight" in entries:
            reason = (
                "preflight is not used, as in the Release Engine; pre-deploy checks are set up in the core"
            )
            self._problems.note(reason, entries["preflight"].line, path)
        index = self._references.add_sequence(node, given.get("id", ""), path)
        hosts = checks.hosts(self._problems, entries["hosts"], f"{path}.hosts") if "hosts" in entries else ()
        if "strategy" in entries:
            given.update(self._strategy(entries["strategy"], f"{path}.strategy", len(hosts)))
        return Sequence(
            hosts=hosts,
            steps=self._steps_of(entries, index, path),
            needs=self._references.needs(index),
            **given,
        )

    def _strategy(self, node: Node, path: str, host_count: int) -> dict[str, int]:
        checks.mapping(self._problems, node, path, "a strategy")
        entries = checks.keys(self._problems, node, path, STRATEGY_KEYS)
        if node.value == {}:
            self._problems.add(f"a strategy has {' or '.join(STRATEGY_KEYS)}", node.line, path)
        found: dict[str, int] = {}
        for key, name, least in (("batch", "batch_count", 1), ("max_failures", "max_failure_count", 0)):
            if key in entries:
                here = f"{path}.{key}"
                found[name] = checks.host_count(self._problems, entries[key], here, host_count, least=least)
        return found

    def _steps_of(self, entries: dict[str, Node], sequence: int, path: str) -> tuple[Step, ...]:
        if "steps" not in entries:
            return ()
        here = f"{path}.steps"
        nodes = checks.items(self._problems, entries["steps"], here, "steps")
        found: list[Step] = []
        for offset, node in enumerate(nodes):
            step = self._steps.step(node, f"{here}[{offset}]")
            self._references.add_step(node, (sequence, offset), step, f"{here}[{offset}]")
            found.append(step)
        return tuple(found)
