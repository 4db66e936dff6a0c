"""What differs between two texts, line by line. Pure."""

from __future__ import annotations

from difflib import SequenceMatcher

import msgspec

#: lines around a difference that are shown, and lines of a text up to which differences are looked for.
CONTEXT_COUNT, LINE_COUNT = 3, 20_000


class Line(msgspec.Struct, frozen=True):
    """A line of a difference: `kind` is same, added, removed, or gap for lines that are left out."""

    kind: str
    text: str
    number: int = 0


def difference(before: str, after: str) -> list[Line]:
    """Return the lines that differ, with some around them; nothing when none does."""
    old, new = before.split("\n")[:LINE_COUNT], after.split("\n")[:LINE_COUNT]
    found: list[Line] = []
    for group in SequenceMatcher(None, old, new, autojunk=True).get_grouped_opcodes(CONTEXT_COUNT):
        if found or group[0][1] > 0:
            found.append(Line("gap", f"line {group[0][3] + 1}"))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                found += [Line("same", text, new_from + n) for n, text in enumerate(new[new_from:new_to], 1)]
                continue
            found += [Line("removed", text) for text in old[old_from:old_to]]
            found += [Line("added", text, new_from + n) for n, text in enumerate(new[new_from:new_to], 1)]
    return found


def counts(lines: list[Line]) -> tuple[int, int]:
    """Return how many lines were added and removed."""
    kinds = [one.kind for one in lines]
    return kinds.count("added"), kinds.count("removed")
