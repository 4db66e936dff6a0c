"""How a plan of a topology is shown: lines for people, one JSON object for programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import msgspec

from reworker.bus.contract import QueueSpec
from reworker.topology.plan import Entry, Plan, State

MARKS = {
    State.CREATE: "+",
    State.SAME: "=",
    State.DIFFERS: "!",
    State.EXTRA: "-",
    State.UNSEEN: "?",
}
_WORDS = {
    State.CREATE: "to create",
    State.SAME: "as in the file",
    State.DIFFERS: "different",
    State.EXTRA: "not in the file",
    State.UNSEEN: "not seen",
}


def lines_of(plan: Plan, path: str) -> Iterator[str]:
    """Yield the whole plan as text."""
    for entry in plan.entries:
        yield line_of(entry)
        for difference in entry.differences:
            yield f"    {difference}"
        if advice := advice_of(entry, path):
            yield f"    -> {advice}"
    for sentence in plan.unseen:
        yield f"not seen: {sentence}"
    counts = [(len(plan.of(state)), word) for state, word in _WORDS.items()]
    yield ", ".join(f"{count} {word}" for count, word in counts if count)


def line_of(entry: Entry) -> str:
    """Return one line about one thing."""
    words = [MARKS[entry.state], entry.kind, entry.name]
    if entry.state is State.CREATE and isinstance(entry.thing, QueueSpec):
        words += [f"{name}={value}" for name, value in sorted(entry.thing.arguments.items())]
    return " ".join(words) + (f": {entry.note}" if entry.note else "")


def advice_of(entry: Entry, path: str) -> str:
    """Return what to do about a difference; nothing where all is well or `apply` does it."""
    if entry.state is not State.DIFFERS:
        return ""
    if any(one.name == "exclusive" for one in entry.differences):
        return "end the program that owns it, or choose another name"
    if not entry.differences:
        return f"the broker does not take what {path}:{entry.line} says; change it"
    words = ["reworker", "topology", "prune", "-f", path, f"--{entry.kind}", entry.name]
    return (
        f"write what is found into {path}:{entry.line}; or delete it (`{shlex.join(words)}`) and apply again"
    )


def json_of(plan: Plan, path: str, **more: Any) -> dict[str, Any]:
    """Return the whole plan as ``{"is_same", "entries": [...], "unseen": [str]}``, and `more` beside it."""
    return {
        "is_same": plan.is_same,
        "entries": [
            {
                "state": entry.state.value,
                "kind": entry.kind,
                "name": entry.name,
                "line": entry.line,
                "differences": [msgspec.structs.asdict(one) for one in entry.differences],
                "note": entry.note,
                "advice": advice_of(entry, path),
            }
            for entry in plan.entries
        ],
        "unseen": list(plan.unseen),
        **more,
    }
