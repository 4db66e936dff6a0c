"""What a playbook says, read from YAML or JSON text: `parse` and `problems`.

Keys that a later version gives a meaning are refused by name, never ignored: they stand in `_LATER`.
To add one: move it to the keys known at its place, give its dataclass a field, act on it in `machine.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from reworker.errors import PlaybookInvalid
from reworker.fsm import checks
from reworker.fsm.document import Node, Problems, TooManyProblems, read_document

#: seconds a published step may wait for a worker; our choice, outlasts a worker's restart.
QUEUE_TIMEOUT_S = 900.0


class OnUnknown(StrEnum):
    """What to do when it cannot be known whether a step took effect; `verify` will be added here."""

    RETRY = "retry"
    FAIL = "fail"
    ASK = "ask"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step as written: what to do, without where.

    `notify` is ``{phase: {transport: (target, ...)}}``; `dynamic_names` are the values that must be given
    at submit; `timeout_s` None means that the step may run for ever.
    """

    key: str
    command: str
    subcommand: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notify: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    dynamic_names: tuple[str, ...] = ()
    timeout_s: float | None = None
    queue_timeout_s: float = QUEUE_TIMEOUT_S
    is_idempotent: bool = False
    on_unknown: OnUnknown = OnUnknown.ASK
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Steps that are done on one host after the other; `notify` speaks of the sequence as a whole."""

    hosts: tuple[str, ...]
    steps: tuple[Step, ...]
    description: str = ""
    notify: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """A valid playbook; `params` is a JSON-Schema-like mapping of parameter names, kept as it is."""

    group: str
    name: str
    execution: tuple[Sequence, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    is_unattended: bool = False


#: steps of a playbook, each counted once per host; ten times what the project promises to run.
MAX_PLANNED_STEPS = 100_000

_PLAYBOOK_KEYS = ("group", "name", "execution", "params", "unattended")
_SEQUENCE_KEYS = ("hosts", "steps", "description", "notify", "id")
_CONTROL_KEYS = ("timeout", "queue_timeout", "idempotent", "on_unknown", "id")
_LATER = frozenset({"strategy", "needs", "preflight", "retry", "when", "verify", "rollback", "approval"})

#: parameters that the core adds to every step message.
_RESERVED_PARAMETERS = ("command", "subcommand", "hosts")


def parse(text: bytes | str, source: str = "playbook") -> Playbook:
    """Return the playbook that a YAML or JSON text holds.

    Args:
        text: at most 2 MiB; bytes are UTF-8.
        source: file name for errors.

    Raises:
        PlaybookInvalid: the first problem by line; `problems` gives them all.
    """
    playbook, found = _read(text, source)
    if playbook is None or found:
        raise found[0]
    return playbook


def problems(text: bytes | str, source: str = "playbook") -> list[PlaybookInvalid]:
    """Return everything that is wrong with a playbook's text, by line; at most the first 100 problems."""
    return _read(text, source)[1]


def _read(text: bytes | str, source: str) -> tuple[Playbook | None, list[PlaybookInvalid]]:
    gathered = Problems(source)
    playbook = None
    try:
        playbook = _Reader(gathered).playbook(read_document(text, gathered))
    except TooManyProblems:
        pass  # what was found is enough
    except PlaybookInvalid as error:
        gathered.found.append(error)
    return playbook, sorted(gathered.found, key=lambda problem: problem.line)


class _Reader:
    """Turns nodes into the dataclasses above, gathering problems."""

    def __init__(self, gathered: Problems) -> None:
        self._problems = gathered
        self._ids: set[str] = set()

    def playbook(self, root: Node) -> Playbook:
        top = checks.mapping(self._problems, root, "", "a playbook")
        if isinstance(root.value, dict):
            self._check_keys(top, _PLAYBOOK_KEYS, ("group", "name", "execution"), "", root.line)
        found = Playbook(
            group=self._line(top, "group"),
            name=self._line(top, "name"),
            execution=self._execution(top["execution"]) if "execution" in top else (),
            params=self._params(top["params"]) if "params" in top else {},
            is_unattended=self._flag(top, "unattended", ""),
        )
        count = sum(len(one.hosts) * len(one.steps) for one in found.execution)
        if count > MAX_PLANNED_STEPS:
            reason = f"{count} steps, each counted once per host; the limit is {MAX_PLANNED_STEPS}"
            self._problems.add(f"{reason}; split the playbook", top["execution"].line, "execution")
        return found

    def _line(self, top: dict[str, Node], key: str) -> str:
        return checks.line_of_text(self._problems, top[key], key) if key in top else ""

    def _flag(self, entries: dict[str, Node], key: str, path: str) -> bool:
        return key in entries and checks.flag(self._problems, entries[key], f"{path}{key}")

    def _params(self, node: Node) -> dict[str, Any]:
        params = checks.mapping(self._problems, node, "params", "params")
        for name, schema in params.items():
            checks.mapping(self._problems, schema, f"params.{name}", "a parameter's schema")
        return {name: schema.plain() for name, schema in params.items()}

    def _execution(self, node: Node) -> tuple[Sequence, ...]:
        found = checks.items(self._problems, node, "execution", "execution")
        return tuple(self._sequence(item, f"execution[{index}]") for index, item in enumerate(found))

    def _sequence(self, node: Node, path: str) -> Sequence:
        entries = checks.mapping(self._problems, node, path, "a sequence")
        if isinstance(node.value, dict):
            self._check_keys(entries, _SEQUENCE_KEYS, ("hosts", "steps"), path, node.line)
        given: dict[str, Any] = {}
        if "description" in entries:
            given["description"] = checks.text(self._problems, entries["description"], f"{path}.description")
        if "notify" in entries:
            given["notify"] = checks.notify(self._problems, entries["notify"], f"{path}.notify")
        return Sequence(
            hosts=self._hosts(entries, path),
            steps=self._steps(entries, path),
            id=self._id(entries, path),
            **given,
        )

    def _hosts(self, entries: dict[str, Node], path: str) -> tuple[str, ...]:
        here = f"{path}.hosts"
        return checks.hosts(self._problems, entries["hosts"], here) if "hosts" in entries else ()

    def _steps(self, entries: dict[str, Node], path: str) -> tuple[Step, ...]:
        if "steps" not in entries:
            return ()
        here = f"{path}.steps"
        found = checks.items(self._problems, entries["steps"], here, "steps")
        return tuple(self._step(item, f"{here}[{index}]") for index, item in enumerate(found))

    def _id(self, entries: dict[str, Node], path: str) -> str:
        if "id" not in entries:
            return ""
        node, here = entries["id"], f"{path}.id"
        name = checks.word(self._problems, node, here)
        if name in self._ids:
            self._problems.add(f"id {name!r} is used twice", node.line, here)
        self._ids.add(name)
        return name

    def _step(self, node: Node, path: str) -> Step:
        if isinstance(node.value, str):
            return Step(**self._names(node.value, node.line, path))
        entries = checks.mapping(self._problems, node, path, "a step")
        keys = [key for key in entries if ":" in key]
        if len(keys) != 1:
            self._explain_keys(entries, keys, node, path)
            return Step(key="", command="", subcommand="")
        body = entries[keys[0]]
        controls = {key: value for key, value in entries.items() if key != keys[0]}
        if body.value is None:
            controls = self._explain_indentation(controls, keys[0], path)
        self._check_keys(controls, _CONTROL_KEYS, (), path, node.line)
        return Step(
            **self._names(keys[0], body.line, path),
            **self._body(body, f"{path}.{keys[0]}"),
            **self._controls(controls, path),
        )

    def _explain_keys(self, entries: dict[str, Node], keys: list[str], node: Node, path: str) -> None:
        """Say why a mapping is no step: it needs one key with a colon."""
        later = [key for key in entries if key in _LATER]
        if keys:
            reason = f"one step per item, not {len(keys)}: {', '.join(keys[:5])}"
        elif later:
            reason = f"{later[0]!r} is not supported by this version"
        else:
            reason = 'a step is "command:Subcommand"'
            split = [(key, value.value) for key, value in entries.items() if key not in _CONTROL_KEYS]
            if split and isinstance(split[0][1], str) and checks.is_word(split[0][0] + split[0][1]):
                reason += f"; did you mean {split[0][0]}:{split[0][1]}, without a space?"
        self._problems.add(reason, node.line, path)

    def _explain_indentation(self, entries: dict[str, Node], key: str, path: str) -> dict[str, Node]:
        """Refuse what should stand under a step that has nothing under it; return the other keys."""
        for name, node in entries.items():
            if name not in (*_CONTROL_KEYS, *_LATER):
                reason = f"parameters stand under their step: indent {name!r} further than {key!r}"
                self._problems.add(reason, node.line, path)
        return {name: node for name, node in entries.items() if name in (*_CONTROL_KEYS, *_LATER)}

    def _names(self, key: str, line: int, path: str) -> dict[str, Any]:
        command, _, subcommand = key.partition(":")
        if not (checks.is_word(command) and checks.is_word(subcommand)):
            shown = ascii(key[:60])
            self._problems.add(
                f"step {shown} is not command:Subcommand, each of 1 to {checks.WORD_CHARACTERS} "
                "letters, digits, _ or -",
                line,
                path,
            )
        return {"key": key, "command": command, "subcommand": subcommand}

    def _body(self, node: Node, path: str) -> dict[str, Any]:
        """Read what stands under a step: its parameters, and `notify` and `dynamic` among them."""
        if node.value is None:
            return {}
        entries = dict(checks.mapping(self._problems, node, path, "the parameters of a step"))
        found: dict[str, Any] = {}
        if "notify" in entries:
            found["notify"] = checks.notify(self._problems, entries.pop("notify"), f"{path}.notify")
        if "dynamic" in entries:
            names = checks.texts(self._problems, entries.pop("dynamic"), f"{path}.dynamic", "dynamic")
            found["dynamic_names"] = names
        for name in _RESERVED_PARAMETERS:
            if name in entries:
                reason = f"parameter {name!r} is set by the core; choose another name"
                self._problems.add(reason, entries[name].line, path)
        found["parameters"] = {name: value.plain() for name, value in entries.items()}
        return found

    def _controls(self, entries: dict[str, Node], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self._id(entries, path)}
        for key in ("timeout", "queue_timeout"):
            if key in entries:
                found[f"{key}_s"] = checks.duration_s(self._problems, entries[key], f"{path}.{key}")
        is_idempotent = self._flag(entries, "idempotent", f"{path}.")
        default = OnUnknown.RETRY if is_idempotent else OnUnknown.ASK
        policy = self._policy(entries["on_unknown"], path) if "on_unknown" in entries else default
        return {**found, "is_idempotent": is_idempotent, "on_unknown": policy}

    def _policy(self, node: Node, path: str) -> OnUnknown:
        known = [policy.value for policy in OnUnknown]
        if node.value in known:
            return OnUnknown(node.value)
        name = checks.text(self._problems, node, f"{path}.on_unknown")
        reason = f"unknown value{checks.did_you_mean(name, known)}"
        if name in _LATER:
            reason = f"{name!r} is not supported by this version; known: {', '.join(known)}"
        self._problems.add(reason, node.line, f"{path}.on_unknown")
        return OnUnknown.ASK

    def _check_keys(
        self,
        entries: dict[str, Node],
        known: tuple[str, ...],
        required: tuple[str, ...],
        path: str,
        line: int,
    ) -> None:
        later = {key: node for key, node in entries.items() if key in _LATER}
        for key, node in later.items():
            self._problems.add(f"{key!r} is not supported by this version", node.line, path)
        others = {key: node for key, node in entries.items() if key not in later}
        checks.refuse_unknown(self._problems, others, known, path)
        for key in required:
            if key not in entries:
                self._problems.add(f"{key!r} is missing", line, path)
