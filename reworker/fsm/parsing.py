"""Reading a playbook from YAML or JSON text: `parse`, `problems` and `examine`.

To add a key: give it to the keys known at its place, and its dataclass a field; act on it in the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reworker.errors import PlaybookInvalid
from reworker.fsm import checks
from reworker.fsm.document import Node, Problems, TooManyProblems, read_document
from reworker.fsm.domains import domains
from reworker.fsm.playbook import Playbook
from reworker.fsm.sequence_parsing import SequenceReader

#: steps of a playbook, each counted once per host; ten times what the project promises to run.
MAX_PLANNED_STEPS = 100_000

PLAYBOOK_KEYS = (
    *("group", "name", "execution", "params", "unattended", "environment"),
    *("locks", "timeout", "domain"),
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What there is in a text.

    Args:
        playbook: None when nothing could be read; not to be used when there are problems.
        problems: everything that is wrong, by line; at most the first 100.
        notes: what is worth knowing, though nothing is wrong with it, in the form of errors.
        param_lines: the line of each parameter's schema.
    """

    playbook: Playbook | None
    problems: list[PlaybookInvalid]
    notes: list[str]
    param_lines: Mapping[str, int] = field(default_factory=dict)


def parse(text: bytes | str, source: str = "playbook") -> Playbook:
    """Return the playbook that a YAML or JSON text holds.

    Args:
        text: at most 2 MiB; bytes are UTF-8.
        source: file name for errors.

    Raises:
        PlaybookInvalid: the first problem by line; `problems` gives them all.
    """
    found = examine(text, source)
    if found.playbook is None or found.problems:
        raise found.problems[0]
    return found.playbook


def problems(text: bytes | str, source: str = "playbook") -> list[PlaybookInvalid]:
    """Return everything that is wrong with a playbook's text, by line; at most the first 100 problems."""
    return examine(text, source).problems


def examine(text: bytes | str, source: str = "playbook") -> Reading:
    """Return everything that can be said of a playbook's text."""
    gathered = Problems(source)
    reader = _Reader(gathered)
    playbook = None
    try:
        playbook = reader.playbook(read_document(text, gathered))
    except TooManyProblems:
        pass  # what was found is enough
    except PlaybookInvalid as error:
        gathered.found.append(error)
    return Reading(
        playbook=playbook,
        problems=sorted(gathered.found, key=lambda problem: problem.line),
        notes=gathered.notes,
        param_lines=reader.param_lines,
    )


class _Reader:
    """Turns the top of a document into a playbook, gathering problems."""

    def __init__(self, gathered: Problems) -> None:
        self._problems = gathered
        self.param_lines: dict[str, int] = {}

    def playbook(self, root: Node) -> Playbook:
        checks.mapping(self._problems, root, "", "a playbook")
        top = checks.keys(self._problems, root, "", PLAYBOOK_KEYS, ("group", "name", "execution"))
        given: dict[str, Any] = {}
        if "execution" in top:
            given["execution"] = SequenceReader(self._problems).execution(top["execution"])
        if "params" in top:
            given["params"] = self._params(top["params"])
        if "timeout" in top:
            given["timeout_s"] = checks.duration_s(self._problems, top["timeout"], "timeout")
        if "domain" in top:
            given["domains"] = domains(self._problems, top["domain"], "domain")
        found = Playbook(
            group=self._line(top, "group"),
            name=self._line(top, "name"),
            environment=self._line(top, "environment"),
            is_unattended=self._flag(top, "unattended", default=False),
            takes_locks=self._flag(top, "locks", default=True),
            **{"execution": (), **given},
        )
        count = sum(len(one.hosts) * len(one.steps) for one in found.execution)
        if count > MAX_PLANNED_STEPS:
            reason = f"{count} steps, each counted once per host; the limit is {MAX_PLANNED_STEPS}"
            self._problems.add(f"{reason}; split the playbook", top["execution"].line, "execution")
        return found

    def _line(self, top: dict[str, Node], key: str) -> str:
        return checks.line_of_text(self._problems, top[key], key) if key in top else ""

    def _flag(self, top: dict[str, Node], key: str, *, default: bool) -> bool:
        return checks.flag(self._problems, top[key], key) if key in top else default

    def _params(self, node: Node) -> dict[str, Any]:
        params = checks.mapping(self._problems, node, "params", "params")
        for name, schema in params.items():
            checks.mapping(self._problems, schema, f"params.{name}", "a parameter's schema")
            self.param_lines[name] = schema.line
        return {name: schema.plain() for name, schema in params.items()}
