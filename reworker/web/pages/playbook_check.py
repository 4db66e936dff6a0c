"""What is wrong with a playbook's text, at which lines. Pure."""

from __future__ import annotations

import msgspec

from reworker.core import parameters
from reworker.errors import PlaybookInvalid
from reworker.fsm.parsing import examine
from reworker.fsm.playbook import Playbook


class Wrong(msgspec.Struct, frozen=True):
    """A problem; line 0 is the text as a whole."""

    line: int
    text: str


class Checked(msgspec.Struct, frozen=True):
    """A text that was looked at: its problems and notes, and the playbook when it has no problem."""

    problems: tuple[Wrong, ...]
    notes: tuple[str, ...]
    playbook: Playbook | None

    @property
    def lines(self) -> frozenset[int]:
        """The lines with problems."""
        return frozenset(one.line for one in self.problems)

    def with_problem(self, error: PlaybookInvalid) -> Checked:
        """Return this with a problem that was found later."""
        return msgspec.structs.replace(self, problems=(*self.problems, _wrong(error)))


def checked(text: str) -> Checked:
    """Look at a playbook's text."""
    reading = examine(text, "playbook")
    found = list(reading.problems)
    if reading.playbook is not None:
        found += parameters.problems(reading.playbook, reading.param_lines, source="playbook")
    problems = tuple(_wrong(one) for one in sorted(found, key=lambda one: one.line))
    return Checked(problems, tuple(reading.notes), None if problems else reading.playbook)


def _wrong(error: PlaybookInvalid) -> Wrong:
    where = f"{error.path}: " if error.path else ""
    return Wrong(error.line, f"{where}{error.reason}")
